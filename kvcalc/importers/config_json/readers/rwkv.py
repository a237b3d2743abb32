"""RWKV-5, -6 and -7: every layer keeps a matrix for each head, and the inputs of two token shifts.

Sources: modeling_rwkv6.py beside https://huggingface.co/RWKV/v6-Finch-3B-HF, and modeling_rwkv5.py;
flash-linear-attention 0.6.0, fla/layers/rwkv6.py and rwkv7.py, fla/models/rwkv6 and rwkv7.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvcalc.importers.config_json.heads import HIDDEN
from kvcalc.importers.config_json.layer_lists import num_layers
from kvcalc.importers.imported_layer import AttentionBlock, ImportedLayer
from kvcalc.importers.sourced import Sourced

if TYPE_CHECKING:
    from kvcalc.importers.config import Config

_HEAD_SIZE = Sourced(64, "head_size is absent: the class's default")
_KEYS_AND_VALUES = {"expand_k": 0.5, "expand_v": 1.0}
"""Widths of flash-linear-attention's RWKV-6, in hidden_size, where a file leaves them out."""


def rwkv(config: Config) -> list[ImportedLayer]:
    """RWKV-5 and -6, whose num_attention_heads is the width of a head in published files, and which nobody reads.

    Raises:
        KvcalcError: a head is no whole number of elements, or no square.
    """
    if "num_heads" in config.values or "expand_k" in config.values:
        return _of_fla6(config)
    config.ignore("num_attention_heads")
    width = config.optional_count("head_size", "head_dim") or _HEAD_SIZE
    wide = config.optional_count("attention_hidden_size") or config.count(*HIDDEN)
    return _layers(config, _quotient(config, wide, width), width)


def rwkv7(config: Config) -> list[ImportedLayer]:
    """RWKV-7: head_dim, else num_heads; values may be wider than keys, which is not expressed.

    Raises:
        KvcalcError: a head is no whole number of elements, or no square, or its width is not clear.
    """
    hidden, width = config.count(*HIDDEN), config.optional_count("head_dim", "head_size")
    stated = config.optional_count("num_heads")
    if width is None:
        width = _HEAD_SIZE if stated is None else _quotient(config, hidden, stated)
        if "head_dim" not in config.values and width.value != _HEAD_SIZE.value:  # the class reads num_heads beside null
            raise config.refusal(
                f"it has no head_dim, whose default is {_HEAD_SIZE.value}, and num_heads asks for {width.value}",
                config.deciding("head_dim"),
            )
    heads = _quotient(config, hidden, width)
    values = config.get("value_dim")
    each = [] if values is None else values.value if isinstance(values.value, list) else [values.value]
    if any(one != hidden.value for one in each):
        raise config.refusal("value_dim is not hidden_size, and states of such heads are not understood")
    return _layers(config, heads, width)


def _of_fla6(config: Config) -> list[ImportedLayer]:
    heads, hidden = config.count("num_heads"), config.count(*HIDDEN)
    stated = {name: (config.get(name) or Sourced(usual, "")).value for name, usual in _KEYS_AND_VALUES.items()}
    if stated != dict.fromkeys(_KEYS_AND_VALUES, 1):
        raise config.refusal("expand_k and expand_v are not both 1, and states of such heads are not understood")
    return _layers(config, heads, _quotient(config, hidden, heads))


def _quotient(config: Config, whole: Sourced, part: Sourced) -> Sourced:
    if whole.value % part.value:
        raise config.refusal(f"{whole.value} / {part.value} is no whole number of heads, or of their elements")
    return Sourced(whole.value // part.value, f"{whole.reason} / {part.reason}")


def _layers(config: Config, heads: Sourced, width: Sourced) -> list[ImportedLayer]:
    config.ignore("num_heads")
    fields = (("hidden_size", config.count(*HIDDEN)), ("num_heads", heads), ("head_dim", width))
    return [ImportedLayer((AttentionBlock("rwkv", fields),))] * num_layers(config)
