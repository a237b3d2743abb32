"""The figures in vLLM's start-up log, and how its sizes, counts and versions are written."""

from __future__ import annotations

from types import MappingProxyType

from kvcalc.logs.dialect import Figure, Unit

GIB = r"-?\d{1,7}(?:\.\d{1,20})?"
COUNT = r"(?:\d{1,3}(?:,\d{3}){1,5}|\d{1,18})"
VERSION = r"v?\d{1,4}\.\d{1,4}[\w.+-]{0,60}"


def gib(group: str) -> str:
    """The pattern of a size with its unit, as a group of that name."""
    return rf"(?P<{group}>{GIB}) ?Gi?[Bb]"


def _size(name: str) -> Figure:
    """Rounded to two decimals, of which trailing zeros are left out (format_gib in utils/mem_utils.py)."""
    return Figure(name, Unit.GIB, decimals=2)


FIGURES = MappingProxyType(
    {
        "total": _size("total memory"),
        "free": _size("free memory"),
        "requested": _size("usable memory"),
        "weights": _size("weights"),
        "activation": _size("temporary"),
        "activation_with_graphs": _size("temporary and CUDA graphs"),
        "non_torch": _size("non-torch memory"),
        "consumed": _size("weights and non-torch memory"),
        "peak_torch": _size("weights and temporary"),
        "graphs_estimate": _size("CUDA graphs, estimated"),
        "graphs": _size("CUDA graphs"),
        "kv": _size("cache memory"),
        "kv_bytes": Figure("cache memory", Unit.BYTES),
        "kv_given": _size("cache memory, as given"),
        "needed": _size("cache of one request"),
        "blocks": Figure("blocks", Unit.BLOCKS),
        "block_size": Figure("block size", Unit.TOKENS),
        "tokens": Figure("tokens", Unit.TOKENS),
        "concurrency": Figure("concurrency", Unit.SEQUENCES, decimals=2),
        "context": Figure("longest request", Unit.TOKENS),
        "batched_tokens": Figure("tokens of a step", Unit.TOKENS),
        "batched_sequences": Figure("sequences of a step", Unit.SEQUENCES),
        "share": Figure("utilization", Unit.SHARE, decimals=2),
        "share_without": Figure("utilization without graphs", Unit.SHARE, decimals=4),
        "share_with": Figure("utilization with graphs", Unit.SHARE, decimals=4),
    }
)
"""Each by the name of its group in the patterns of `lines`."""
