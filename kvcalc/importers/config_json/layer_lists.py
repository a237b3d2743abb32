"""What files say of each layer: how many there are, lists of their types, a window."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvcalc.importers.key_checks import refuse_differing
from kvcalc.model.layers import MAX_LAYERS
from kvcalc.units import MAX_CONTEXT

if TYPE_CHECKING:
    from kvcalc.importers.config import Config
    from kvcalc.importers.sourced import Sourced

LAYERS = ("num_hidden_layers", "n_layer", "n_layers", "num_layers", "num_transformer_layers")

FULL, SLIDING, LINEAR = "full_attention", "sliding_attention", "linear_attention"

_LEGACY = {"mamba": LINEAR, "attention": FULL, "deepseek_sparse_attention": "indexed_attention"}
"""Layer types that transformers' classes have renamed, and call by the newer name when they write a file."""


def num_layers(config: Config) -> int:
    """How many layers there are.

    Raises:
        KvcalcError: it is missing, or too many.
    """
    refuse_differing(config, *LAYERS)
    found = config.count(*LAYERS)
    if found.value > MAX_LAYERS:
        raise config.refusal(f"{found.value:,} layers are beyond the limit of {MAX_LAYERS:,}")
    return int(found.value)


def words_of(config: Config, name: str) -> list[str] | None:
    """A list of layer types by their newer names, or None.

    Raises:
        KvcalcError: it is something else.
    """
    types = config.words(name)
    return None if types is None else [_LEGACY.get(each, each) for each in types]


def listed_types(config: Config, known: set[str], name: str = "layer_types") -> list[str] | None:
    """The type of each layer by the file's list, without those of multi-token-prediction layers at its end.

    Raises:
        KvcalcError: a type that is not known, or a list of another length.
    """
    types = words_of(config, name)
    if types is None:
        return None
    layers = num_layers(config)
    drafts = config.optional_count("num_nextn_predict_layers", "mtp_num_hidden_layers", least=0)
    if not layers <= len(types) <= layers + (0 if drafts is None else drafts.value):
        raise config.refusal(
            f"{name} is a list of {len(types)}, for {layers} layers",
            f"--assume num_hidden_layers={len(types)} takes the list's, --assume {name}=null the class's own rule",
        )
    for each in types:
        if each not in known:
            raise config.refusal(
                f"{name} has '{each[:40]}', which is not one of {', '.join(sorted(known))}", config.without(name)
            )
    return types[:layers]


def stated_window(config: Config) -> Sourced | None:
    """sliding_window; None where there is none, which some files say with 0.

    vLLM takes 0 as none since 0.19.0 (vllm/config/model.py, ModelConfig.__post_init__); in transformers' classes a
    window of 0 would hide every token.

    Raises:
        KvcalcError: it is something else.
    """
    _refuse_negative(config)
    found = config.optional_count("sliding_window", least=0, most=MAX_CONTEXT)
    return found if found is not None and found.value else None


def window_of_listed(config: Config) -> Sourced:
    """sliding_window, which must be there where a layer is listed as sliding.

    Raises:
        KvcalcError: it is not.
    """
    _refuse_negative(config)
    return config.tokens("sliding_window")


def _refuse_negative(config: Config) -> None:
    found = config.get("sliding_window")
    if found is not None and isinstance(found.value, int) and found.value < 0:
        what = f"sliding_window is {found.value}, with which the class would hide every token"
        raise config.refusal(what, config.without("sliding_window"))


def nemotron_types(config: Config) -> list[str]:
    """layers_block_type, or the letters of hybrid_override_pattern: M is Mamba-2, * attention; others keep nothing.

    Raises:
        KvcalcError: neither is there, or one has something else.
    """
    types = words_of(config, "layers_block_type")
    if types is None:
        letters = {"M": LINEAR, "*": FULL, "-": "mlp", "E": "moe"}
        marks = config.need("hybrid_override_pattern").value
        if not isinstance(marks, str | list) or {str(mark) for mark in marks} - set(letters):
            raise config.refusal("hybrid_override_pattern has other letters than M * - E")
        types = [letters[mark] for mark in marks]
    else:
        config.ignore("hybrid_override_pattern")
    stated = config.optional_count("num_hidden_layers")
    if stated is not None and stated.value != len(types):
        raise config.refusal(f"{len(types)} layers are listed, and num_hidden_layers is {stated.value}")
    return types
