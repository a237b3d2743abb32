"""A model's fields but its layers, from a config.json: sizes, experts, context, dtype."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kvcalc.importers.config import Given
from kvcalc.importers.heads import HIDDEN
from kvcalc.units import MAX_CONTEXT

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from kvcalc.importers.config import Config

MAX_VOCABULARY = 10**8

_COUNTS: Mapping[str, tuple[tuple[str, ...], int, int]] = {
    "hidden_size": (HIDDEN, 1, 10**6),
    "intermediate_size": (("intermediate_size", "n_inner", "ffn_hidden_size", "ffn_dim"), 1, 10**6),
    "vocab_size": (("vocab_size", "padded_vocab_size"), 1, MAX_VOCABULARY),
    "max_context": (
        ("max_position_embeddings", "n_positions", "seq_length", "max_seq_len", "n_ctx"),
        1,
        MAX_CONTEXT,
    ),
    "num_experts": (("num_local_experts", "n_routed_experts", "num_experts", "moe_num_experts"), 0, 10**6),
    "num_experts_per_tok": (
        ("num_experts_per_tok", "num_experts_per_token", "moe_topk", "moe_k", "top_k_experts"),
        0,
        10**6,
    ),
    "num_shared_experts": (("n_shared_experts", "num_shared_experts"), 0, 10**6),
    "first_k_dense": (("first_k_dense_replace",), 0, 10**4),
    "mtp_layers": (("num_nextn_predict_layers", "mtp_num_hidden_layers"), 0, 10**4),
}
"""Fields of a model, the keys that families have for them, the least and the most."""

_EXPERTS_OF_INTERMEDIATE_SIZE = {"mixtral", "minimax_m2", "gpt_oss", "llama4_text"}
"""Families whose experts are as wide as intermediate_size says."""

DTYPES: Mapping[str, str] = {"float32": "fp32", "bfloat16": "bf16", "float16": "fp16"}


def model_fields(config: Config, outer: Mapping[str, Any]) -> Iterator[tuple[str, Given]]:
    """Those that the file gives.

    Args:
        config: the text model's part.
        outer: the file.

    Raises:
        KvcalcError: values that cannot be, or that contradict each other.
    """
    for field, (names, least, most) in _COUNTS.items():
        found = config.optional_count(*names, least=least, most=most)
        if found is not None and (found.value or field.startswith(("first", "mtp", "num_shared"))):
            yield field, found
    width = config.optional_count(
        "intermediate_size" if config.model_type in _EXPERTS_OF_INTERMEDIATE_SIZE else "moe_intermediate_size"
    )
    if width is not None and experts_are_regular(config):
        yield "moe_intermediate_size", width
    tied = either(config, outer, "tie_word_embeddings")
    if tied is not None:
        if not isinstance(tied.value, bool):
            raise config.refusal("tie_word_embeddings is neither true nor false")
        yield "tie_word_embeddings", tied
    dtype = either(config, outer, "torch_dtype", "dtype")
    if dtype is not None:
        yield "dtype", config.chosen(dtype, DTYPES)
    towers = [kind for kind, key in (("image", "vision_config"), ("audio", "audio_config")) if outer.get(key)]
    if towers:
        yield "modalities", Given(("text", *towers), "vision_config or audio_config")


def experts_are_regular(config: Config) -> bool:
    """Whether every layer after the first dense ones has experts of three matrices of hidden_size.

    Only then do the model's dims tell what experts take.
    """
    steps = ("interleave_moe_layer_step", "decoder_sparse_step", "moe_layer_freq", "expert_layer_period")
    others = ("mlp_only_layers", "moe_latent_size", "routed_expert_hidden_size")
    if config.model_type == "nemotron_h" or any(config.values.get(name) for name in others):
        return False
    dense = config.optional_count("first_k_dense_replace", least=0)
    types = config.values.get("mlp_layer_types")
    first = 0 if dense is None else dense.value
    if isinstance(types, list) and types != ["dense"] * first + ["sparse"] * (len(types) - first):
        return False
    return all(config.values.get(name) in (None, 1) for name in steps)


def either(config: Config, outer: Mapping[str, Any], *names: str) -> Given | None:
    """A key that may stand inside or around the text model's part.

    Raises:
        KvcalcError: it stands in both, and they differ.
    """
    inside = config.get(*names)
    if any(name in config.assumed for name in names):
        return inside
    around = next((Given(outer[name], name) for name in names if outer.get(name) is not None), None)
    is_default = inside is not None and not any(name in config.values for name in names)
    if inside is not None and around is not None and inside.value != around.value and not is_default:
        raise config.refusal(
            f"{inside.why} is {str(inside.value)[:40]} in text_config, and {str(around.value)[:40]} around it"
        )
    return around or inside
