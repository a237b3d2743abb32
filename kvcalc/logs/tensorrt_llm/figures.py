"""The figures in TensorRT-LLM's start-up log, and how its sizes and counts are written. Its GiB are 2^30 bytes."""

from __future__ import annotations

from types import MappingProxyType

from kvcalc.logs.dialect import Figure, Unit

_GIB = r"\d{1,7}\.\d{2}"
COUNT = r"\d{1,18}"


def gib(group: str) -> str:
    """The pattern of a size with its unit, as a group of that name."""
    return rf"(?P<{group}>{_GIB}) GiB"


def _size(name: str) -> Figure:
    return Figure(name, Unit.GIB, decimals=2)


FIGURES = MappingProxyType(
    {
        "total": _size("total memory"),
        "weights": _size("weights"),
        "temporary": _size("temporary"),
        "outside": _size("non-torch memory"),
        "kv": _size("cache memory"),
        "tokens": Figure("tokens", Unit.TOKENS),
        "blocks": Figure("blocks", Unit.BLOCKS),
        "block": Figure("block size", Unit.TOKENS),
        "longest": Figure("longest request", Unit.TOKENS),
    }
)
"""Each by the name of its group in the patterns of `lines`."""
