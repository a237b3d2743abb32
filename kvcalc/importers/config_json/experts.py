"""Experts: how many, how many a token passes through, how wide, and which layers have them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kvcalc.importers.config_json.expert_defaults import DENSE_UP_TO, EXPERT_DEFAULTS
from kvcalc.importers.config_json.layer_lists import nemotron_types, num_layers
from kvcalc.importers.sourced import Sourced

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from kvcalc.importers.config import Config

EXPERTS = ("num_local_experts", "n_routed_experts", "num_experts", "moe_num_experts")
PER_TOKEN = ("num_experts_per_tok", "num_experts_per_token", "moe_topk", "moe_k", "top_k_experts", "moe_top_k")
SHARED = ("n_shared_experts", "num_shared_experts", "moe_num_shared_experts", "num_shared_expert")
_SHARED_WIDTH = ("shared_expert_intermediate_size", "moe_shared_expert_intermediate_size", "shared_intermediate_size")
_EACH_SHARED_WIDTH = ("shared_experts_intermediate_size",)
"""Of one shared expert, where that is of them all (Dots3NoteTextMoE)."""

_WIDTHS: Mapping[str, tuple[str, ...]] = {
    **dict.fromkeys(
        (
            "mixtral",
            "minimax",
            "minimax_text_01",
            "minimax_m1",
            "minimax_m2",
            "gpt_oss",
            "llama4_text",
            "phimoe",
            "olmoe",
            "jamba",
            "granitemoe",
            "granitemoeshared",
            "granitemoe_swa",
            "granitemoehybrid",
            "flex_olmo",
            "aria_text",
        ),
        ("intermediate_size",),
    ),
    "longcat_flash": ("expert_ffn_hidden_size",),
    "dbrx": ("ffn_hidden_size",),
    "hunyuan_v1_moe": ("intermediate_size", "moe_intermediate_size"),
}
"""Families whose experts' width has another name than moe_intermediate_size, or both, which must agree."""

_SPARSE = {"sparse", "moe", "hash_moe"}
"""Types of blocks with experts; the last two are DeepSeek-V4's, whose first layers choose them by the token."""

_ZERO_EXPERTS = {"longcat_flash"}
"""Some experts of these compute nothing, and so how many a token passes through differs."""


def of_experts(config: Config) -> Config:
    """The part of the file with the experts' number and width: ffn_config in DBRX, else the file."""
    return config.part("ffn_config", optional=True) if config.model_type == "dbrx" else config


def expert_fields(config: Config) -> Iterator[tuple[str, Sourced]]:
    """The fields of a model with experts; none of a model without."""
    experts = of_experts(config).optional_uniform(*EXPERTS, least=0)
    if experts is None or experts.value <= 1 or _has_dense_blocks_alone(config):
        return
    yield "num_experts", experts
    per_token = of_experts(config).optional_uniform(*PER_TOKEN)
    if per_token is not None and config.model_type not in _ZERO_EXPERTS:
        yield "num_experts_per_tok", per_token
    width = expert_width(config)
    shared = _shared_experts(config, width)
    if shared is not None:
        yield "num_shared_experts", shared
    dense = dense_layers(config)
    if dense is None:
        return
    if dense.value:
        yield "first_k_dense", dense
    if width is not None:
        yield "moe_intermediate_size", width


def _shared_experts(config: Config, width: Sourced | None) -> Sourced | None:
    """As many of a routed expert's width as shared ones have together; None where that is no whole number.

    A width of their own decides it: Nemotron-3's one shared expert is as wide as two.
    """
    told, own = config.optional_uniform(*SHARED, least=0), shared_width(config)
    if own is None or width is None or (told is not None and not told.value):
        return told
    if own.value % width.value:
        return None
    return Sourced(own.value // width.value, f"{own.reason} / {width.reason}")


def shared_width(config: Config) -> Sourced | None:
    """How wide shared experts are together, where a key of their own says so."""
    number, each = config.optional_uniform(*SHARED, least=0), config.optional_count(*_EACH_SHARED_WIDTH, least=0)
    if each is not None and number is not None:
        return Sourced(each.value * number.value, f"{number.reason} x {each.reason}")
    return config.optional_count(*_SHARED_WIDTH, least=0)


def _has_dense_blocks_alone(config: Config) -> bool:
    """Nemotron-H whose pattern has no experts: its class states a number of them all the same."""
    return config.model_type == "nemotron_h" and "moe" not in nemotron_types(config)


def number_of_experts(config: Config) -> int | None:
    """How many experts a layer has that has any: 0 in a dense model; None where that is not known.

    Raises:
        KvcalcError: no whole number.
    """
    if config.model_type not in EXPERT_DEFAULTS:
        return None if any(_tells_of_experts(*each) for each in config.values.items()) else 0
    found = of_experts(config).optional_uniform(*EXPERTS, least=0)
    if found is None:
        return None
    return 0 if found.value <= DENSE_UP_TO.get(config.model_type, -1) else int(found.value) or None


def _tells_of_experts(key: str, value: Any) -> bool:
    return ("expert" in key or "moe" in key) and value not in (None, False, 0, 1, [], {})


def expert_width(config: Config) -> Sourced | None:
    """How wide an expert is; None where no key has it, or several differ."""
    name, *others = _WIDTHS.get(config.model_type, ("moe_intermediate_size",))
    width = of_experts(config).optional_uniform(name)
    for other in others:
        beside = config.optional_uniform(other)
        if config.get(other) is not None and (beside is None or width is None or beside.value != width.value):
            return None
    return width


def dense_layers(config: Config) -> Sourced | None:
    """How many layers without experts come first; None where others have none too, or experts of another shape."""
    if config.model_type == "nemotron_h" or any(
        _value(config, name) for name in ("moe_latent_size", "routed_expert_hidden_size")
    ):
        return None
    sparse = sparse_layers(config)
    if sparse is None:
        return None
    first = sparse.index(True) if True in sparse else len(sparse)
    return Sourced(first, "layers before the first with experts") if all(sparse[first:]) else None


def sparse_layers(config: Config) -> list[bool] | None:
    """Whether each layer has experts; None where the keys' meaning is not known."""
    layers = num_layers(config)
    types, frequency = _value(config, "mlp_layer_types"), _value(config, "moe_layer_freq")
    listed = _value(config, "moe_layers") if config.model_type == "llama4_text" else None
    if isinstance(types, list):
        told = len(types) >= layers and all(isinstance(each, str) for each in types)
        return [each in _SPARSE for each in types[:layers]] if told else None
    if isinstance(frequency, list):
        return [each == 1 for each in frequency[:layers]] if len(frequency) >= layers else None
    if isinstance(listed, list):
        return [index in listed for index in range(layers)]
    if frequency in (None, 1):
        return _sparse_by_rule(config, layers)
    return None


def _sparse_by_rule(config: Config, layers: int) -> list[bool] | None:
    """The same where no key lists layers."""
    if config.get("expert_layer_period") is not None:
        period = config.count("expert_layer_period").value
        offset = config.count("expert_layer_offset", least=0).value
        return [index % period == offset for index in range(layers)]
    step = config.optional_count("decoder_sparse_step", "interleave_moe_layer_step", "moe_layer_interval")
    every, without = 1 if step is None else step.value, _value(config, "mlp_only_layers") or []
    first = config.optional_uniform("first_k_dense_replace", "moe_layer_start_index", "num_dense_layers", least=0)
    last = _value(config, "moe_layer_end_index")
    start, end = 0 if first is None else first.value, layers - 1 if last in (None, -1) else last
    if not isinstance(end, int) or not isinstance(without, list):
        return None
    return [start <= index <= end and (index + 1) % every == 0 and index not in without for index in range(layers)]


def _value(config: Config, name: str) -> Any:
    found = config.get(name)
    return None if found is None else found.value
