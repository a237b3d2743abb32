"""Experts: how many, how many a token passes through, how wide, and which layers have them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kvcalc.importers.config import Given
from kvcalc.importers.layer_lists import number_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from kvcalc.importers.config import Config

EXPERTS = ("num_local_experts", "n_routed_experts", "num_experts", "moe_num_experts")
PER_TOKEN = ("num_experts_per_tok", "num_experts_per_token", "moe_topk", "moe_k", "top_k_experts")
SHARED = ("n_shared_experts", "num_shared_experts", "moe_num_shared_experts", "num_shared_expert")

_WIDTHS: Mapping[str, tuple[str, ...]] = {
    **dict.fromkeys(
        ("mixtral", "minimax", "minimax_text_01", "minimax_m2", "gpt_oss", "llama4_text", "phimoe", "olmoe"),
        ("intermediate_size",),
    ),
    "longcat_flash": ("expert_ffn_hidden_size",),
}
"""Families whose experts' width has another name than moe_intermediate_size."""

_ZERO_EXPERTS = {"longcat_flash"}
"""Some experts of these compute nothing, and so how many a token passes through differs."""


def expert_fields(config: Config) -> Iterator[tuple[str, Given]]:
    """The fields of a model with experts; none of a model without."""
    experts = config.optional_uniform(*EXPERTS, least=0)
    if experts is None or experts.value <= 1:
        return
    yield "num_experts", experts
    per_token = config.optional_uniform(*PER_TOKEN)
    if per_token is not None and config.model_type not in _ZERO_EXPERTS:
        yield "num_experts_per_tok", per_token
    shared = config.optional_uniform(*SHARED, least=0)
    if shared is not None:
        yield "num_shared_experts", shared
    dense = dense_layers(config)
    if dense is None:
        return
    if dense.value:
        yield "first_k_dense", dense
    width = config.optional_uniform(*_WIDTHS.get(config.model_type, ("moe_intermediate_size",)))
    if width is not None:
        yield "moe_intermediate_size", width


def dense_layers(config: Config) -> Given | None:
    """How many layers without experts come first; None where others have none too, or experts of another shape."""
    steps = ("interleave_moe_layer_step", "decoder_sparse_step", "expert_layer_period", "moe_layer_interval")
    if config.model_type == "nemotron_h" or any(_value(config, name) not in (None, 1) for name in steps):
        return None
    if any(_value(config, name) for name in ("mlp_only_layers", "moe_latent_size", "routed_expert_hidden_size")):
        return None
    layers = number_of(config)
    types, frequency = _value(config, "mlp_layer_types"), _value(config, "moe_layer_freq")
    if isinstance(types, list):
        return _leading([each == "dense" for each in types], layers, "mlp_layer_types")
    if isinstance(frequency, list):
        return _leading([each == 0 for each in frequency], layers, "moe_layer_freq")
    if frequency not in (None, 1) or _value(config, "moe_layer_end_index") not in (None, -1, layers - 1):
        return None
    names = ("first_k_dense_replace", "moe_layer_start_index", "num_dense_layers")
    return config.optional_uniform(*names, least=0) or Given(0, "no key says that a layer has none")


def _leading(dense: list[bool], layers: int, name: str) -> Given | None:
    first = dense.index(False) if False in dense else len(dense)
    return None if any(dense[first:layers]) else Given(first, name)


def _value(config: Config, name: str) -> Any:
    found = config.get(name)
    return None if found is None else found.value
