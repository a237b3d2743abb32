"""Layers that share another's cache: SGLang gives each of them rows of its own in the pool all the same.

Of Gemma-3n and Gemma-4: set_kv_buffer of sglang/srt/mem_cache/memory_pool.py has a buffer for every layer of the model.
A model's file does not say of which kind a sharing layer is. It follows from the order of the others, which repeats.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvcalc.errors import KvcalcError
from kvcalc.mechanisms import Shared

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kvcalc.model.layers import Layer


def with_own_rows(layers: Sequence[tuple[Layer, ...]]) -> dict[int, Layer]:
    """The layers that share, by their place, each as if it kept what others of its kind do.

    Raises:
        KvcalcError: the order of the others does not tell its kind.
    """
    sharing = [place for place, caches in enumerate(layers) if any(isinstance(c.attention, Shared) for c in caches)]
    if not sharing:
        return {}
    kept = {place: found for place, caches in enumerate(layers) if (found := _keeps(caches)) is not None}
    for period in range(1, len(layers) + 1):
        kinds = _kinds(kept, period)
        if kinds is not None and all(place % period in kinds for place in sharing):
            return {place: kinds[place % period] for place in sharing}
    raise KvcalcError(
        "--engine sglang: layers that share a cache have rows of their own there, and of which kind does not follow "
        "from the order of the model's layers"
    )


def _keeps(caches: tuple[Layer, ...]) -> Layer | None:
    return next((layer for layer in caches if layer.attention.elements_per_token), None)


def _kinds(kept: dict[int, Layer], period: int) -> dict[int, Layer] | None:
    """The kind of each place of a period; None where the layers do not repeat so."""
    found: dict[int, Layer] = {}
    for place, layer in kept.items():
        if found.setdefault(place % period, layer).label != layer.label:
            return None
    return found
