"""Flags and words by which a file says what kind of layers it has: use_mamba, arch: hybrid, attention_class: RWKV."""

from __future__ import annotations

import re
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from kvcalc.importers.imported_layer import ImportedLayer


def _set(names: str) -> frozenset[str]:
    return frozenset(names.split())


_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z0-9]+")

_OF_LAYERS = _set(
    """
    arch architecture attention attn backbone block core design kind layer layers mixer mixing operator structure
    topology variant
    """
)
_BESIDE = _set("class enable enabled has impl is method mode model module sequence token type use with")
"""Words that may stand beside one of those."""

_KINDS = _set(
    """
    based conv delta deltanet diff differential dsa fft fnet forgetting fox gated gdn gla gru gta hgrn hybrid hyena
    infini kda landmark linear linformer local longlora lru lstm mamba mamba1 mamba2 mega mfa mla mlra mlstm moba mta
    nsa performer product recurrent retention retnet rnn rwkv rwkv6 rwkv7 s4 s6 shift short slstm sliding sparse ssd
    ssm streaming swa swin titans tpa ttt window
    """
)
"""Kinds of attention that keep something else than keys and values of all tokens."""
_NOT_ALONE = _set("based conv gated local product shift short window")
_ALSO = _set("net rule tensor")
"""Words that name one only together with others."""

_LINEAR = _set("delta deltanet gated gdn hybrid kda linear recurrent")
_SAME: Mapping[str, frozenset[str]] = MappingProxyType(
    {
        "mla": _set("mla"),
        "gated_deltanet": _LINEAR,
        "kda": _LINEAR,
        **dict.fromkeys(("mamba1", "mamba2"), _set("hybrid mamba mamba1 mamba2 recurrent s6 ssd ssm")),
        "short_conv": _set("conv hybrid short"),
        "lightning": _set("hybrid linear recurrent"),
        "rwkv": _set("linear recurrent rwkv rwkv6 rwkv7"),
    }
)
"""What layers that were read are called."""
_WINDOWS = _set("hybrid local sliding swa window")


def words_of(name: str) -> set[str]:
    """The words of a name, in lower case: of num_kv_heads, numKVHeads."""
    return {word.lower() for word in _WORD.findall(name)}


def kind_named(words: set[str], value: object) -> set[str]:
    """Words for a kind of layers that a key with its value names; none where it names none.

    Args:
        words: of the key, in lower case.
        value: true, or text.
    """
    if value is True:
        left = words - _OF_LAYERS - _BESIDE
        named = left & _KINDS
        alone = left <= _NOT_ALONE and len(left) == 1
        return named if named and left <= _KINDS | _ALSO and not alone else set()
    if isinstance(value, str) and words & _OF_LAYERS and words <= _OF_LAYERS | _BESIDE:
        return words_of(value) & _KINDS
    return set()


def kinds_of(layers: Sequence[ImportedLayer]) -> set[str]:
    """What layers that were read are called."""
    said = {word for layer in layers for block in layer.blocks for word in _SAME.get(block.kind, ())}
    return said | _WINDOWS if any(layer.window or layer.chunk for layer in layers) else said


def kinds_repeated(values: Mapping[str, Any], layers: Sequence[ImportedLayer]) -> set[str]:
    """Keys that name the kinds of the layers that were read, and no other.

    Args:
        values: of the file.
        layers: the layers as they were read.
    """
    said = kinds_of(layers)
    named = ((name, kind_named(words_of(name), value)) for name, value in values.items())
    return {name for name, kinds in named if kinds and kinds <= said}
