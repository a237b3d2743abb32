"""A model's fields but its layers, from a config.json: sizes, experts, context, dtype."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from kvcalc.importers.config import shown_value
from kvcalc.importers.config_json.dense_width import as_built
from kvcalc.importers.config_json.experts import expert_fields
from kvcalc.importers.config_json.heads import HEADS, HIDDEN
from kvcalc.importers.key_checks import refuse_differing
from kvcalc.importers.sourced import Sourced
from kvcalc.units import MAX_CONTEXT

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from kvcalc.importers.config import Config

MAX_VOCABULARY = 10**8
VOCABULARY = ("vocab_size", "padded_vocab_size")

_COUNTS: Mapping[str, tuple[tuple[str, ...], int]] = {
    "hidden_size": (HIDDEN, 10**6),
    "intermediate_size": (("block_ff_dim", "intermediate_size", "n_inner", "ffn_hidden_size", "ffn_dim"), 10**6),
    "vocab_size": (VOCABULARY, MAX_VOCABULARY),
    "max_context": (
        (
            "max_position_embeddings",
            "n_positions",
            "seq_length",
            "max_seq_len",
            "n_ctx",
            "max_context_length",
            "model_max_length",
        ),
        MAX_CONTEXT,
    ),
}
"""Fields of a model, the keys that families have for them, and the most."""

DTYPES: Mapping[str, str] = {"float32": "fp32", "bfloat16": "bf16", "float16": "fp16"}
_DTYPE_ALIASES = {"float": "float32", "half": "float16"}
"""torch's other names."""


def model_fields(config: Config, outer: Mapping[str, Any]) -> Iterator[tuple[str, Sourced]]:
    """Those that the file gives.

    Args:
        config: the text model's part.
        outer: the file.

    Raises:
        KvcalcError: values that cannot be, or that contradict each other.
    """
    refuse_differing(config, *HIDDEN)
    refuse_differing(config, *HEADS)
    for field, (names, most) in _COUNTS.items():
        found = config.optional_uniform(*names, most=most)
        if found is not None:
            yield field, as_built(config, found) if field == "intermediate_size" else found
    yield from expert_fields(config)
    drafts = config.optional_count("num_nextn_predict_layers", "mtp_num_hidden_layers", least=0, most=10**4)
    blocks = config.optional_count("dspark_block_size", least=0)  # DeepSeek-V4.1's draft a block at once, otherwise
    if drafts is not None and drafts.value and not (blocks and blocks.value):
        yield "mtp_layers", drafts
    tied = either(config, outer, "tie_word_embeddings", "tie_embedding")
    if tied is not None:
        if not isinstance(tied.value, bool):
            raise config.refusal("tie_word_embeddings is neither true nor false")
        yield "tie_word_embeddings", tied
    if config.flag("attention_k_eq_v"):
        yield "attention_k_eq_v", Sourced(value=True, reason="attention_k_eq_v")
    dtype = either(config, outer, "torch_dtype", "dtype")
    if dtype is not None and dtype.value != "auto":  # which says no dtype
        yield "dtype", dtype_of(config, dtype)
    towers = [kind for kind, key in (("image", "vision_config"), ("audio", "audio_config")) if outer.get(key)]
    if towers:
        yield "modalities", Sourced(("text", *towers), "vision_config or audio_config")


def either(config: Config, outer: Mapping[str, Any], *names: str) -> Sourced | None:
    """A key inside or around the text model's part; around it, it wins over what the text model's class fills in.

    Raises:
        KvcalcError: it is in both, or under two names, and they differ.
    """
    refuse_differing(config, *names)
    inside = config.get(*names)
    if any(name in config.assumed for name in names):
        return inside
    around = next((Sourced(outer[name], name) for name in names if outer.get(name) is not None), None)
    is_told = any(name in config.values for name in names)
    is_written = (
        inside is not None and inside.value is True and any(config.defaults.get(name) is True for name in names)
    )
    filled_in = is_written or not is_told  # transformers writes a text model's true default beside what decides
    if inside is not None and around is not None and inside.value != around.value and not filled_in:
        if inside.value is False and around.value is True and "tie_word_embeddings" in names:
            return None  # a wrapper's default, as transformers writes it: the file does not show which of them counts
        raise config.refusal(
            f"{inside.reason} is {str(inside.value)[:40]} in text_config, and {str(around.value)[:40]} around it",
            f"--assume {inside.reason}={json.dumps(inside.value)[:40]} or {json.dumps(around.value)[:40]} decides it",
        )
    return around or inside


def dtype_of(config: Config, found: Sourced) -> Sourced:
    """The element format that a file's word for a dtype means.

    Raises:
        KvcalcError: it is another word.
    """
    word = found.value.removeprefix("torch.") if isinstance(found.value, str) else ""
    word = _DTYPE_ALIASES.get(word, word)
    if word not in DTYPES:
        raise config.refusal(
            f"{found.reason} is {shown_value(found.value)}, not one of {', '.join(DTYPES)}",
            f"--assume {found.reason}=bfloat16 decides it, or =null takes it as absent",
        )
    return Sourced(DTYPES[word], found.reason)
