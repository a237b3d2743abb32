"""A layer computing through its cache, whatever kind of memory it has."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvcalc.reference import ReferenceAttention, ReferenceState
from kvcalc.reference.cache import LayerCache
from kvcalc.reference.state_cache import StateCache

if TYPE_CHECKING:
    from torch import Tensor

    from kvcalc.reference import ReferenceLayer

Cache = LayerCache | StateCache


def begin(module: ReferenceLayer, cache: Cache, sequences: int) -> None:
    """Put there what is kept before the first token."""
    if isinstance(module, ReferenceState) and isinstance(cache, StateCache):
        cache.save(module.begin(sequences))


def step(module: ReferenceLayer, cache: Cache, x_BTD: Tensor, start: int) -> Tensor:
    """The output (B, T, D) of tokens at positions start, ..., from the cache, which holds them afterwards."""
    match module, cache:
        case ReferenceAttention(), LayerCache():
            rows = cache.extend(module.keep(x_BTD, start), start, x_BTD.dtype)
            return module.attend(x_BTD, start, rows)
        case ReferenceState(), StateCache():
            output_BTD, kept = module.advance(x_BTD, cache.load(x_BTD.dtype))
            cache.save(kept)
            return output_BTD
        case _:
            raise TypeError(f"{type(module).__name__} does not keep its memory in a {type(cache).__name__}")


def fill(module: ReferenceLayer, cache: Cache, x_BTD: Tensor, start: int) -> None:
    """Leave in the cache what tokens at positions start, ... leave there."""
    if isinstance(module, ReferenceAttention) and isinstance(cache, LayerCache):
        cache.store(module.keep(x_BTD, start), start)
    else:
        step(module, cache, x_BTD, start)
