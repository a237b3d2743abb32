"""The figures in SGLang's start-up log, and how its sizes and counts are written. Its GB are 2^30 bytes."""

from __future__ import annotations

from types import MappingProxyType

from kvcalc.logs.dialect import Figure, Unit

BEFORE_LOADING = "free memory before loading"
AFTER_LOADING = "free memory after loading"
POOL_TOKENS = "tokens of a pool"
BOTH_POOLS = "both pools"
WINDOW_TOKENS = "tokens of windows"

_GIB = r"-?\d{1,7}(?:\.\d{1,20})?"
COUNT = r"\d{1,18}"


def gib(group: str) -> str:
    """The pattern of a size with its unit, as a group of that name."""
    return rf"(?P<{group}>{_GIB}) ?GB"


def _size(name: str) -> Figure:
    return Figure(name, Unit.GIB, decimals=2)


FIGURES = MappingProxyType(
    {
        "before": _size(BEFORE_LOADING),
        "after": _size(AFTER_LOADING),
        "weights": _size("weights"),
        "k": _size("keys"),
        "v": _size("values"),
        "kv": _size("keys and values"),
        "both": _size(BOTH_POOLS),
        "conv": _size("convolution states"),
        "ssm": _size("states"),
        "slots": Figure("slots of states", Unit.TOKENS),
        "pool_tokens": Figure(POOL_TOKENS, Unit.TOKENS),
        "window_tokens": Figure(WINDOW_TOKENS, Unit.TOKENS),
        "tokens": Figure("tokens", Unit.TOKENS),
        "context": Figure("longest request", Unit.TOKENS),
        "requests": Figure("sequences at once", Unit.TOKENS),
        "graphs": _size("CUDA graphs"),
        "left": _size("free memory"),
    }
)
"""Each by the name of its group in the patterns of `lines`."""
