"""Is what a layer keeps enough, and is all of it needed? Shown in float64, with small widths and the model's heads.

The textbook computes a short sequence at once, without a cache. Then every tensor-parallel rank's part of the layer
computes it from its own cache, several tokens at a time and one by one, and the parts are added up.
"""

from __future__ import annotations

import math
from dataclasses import fields, replace
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor

from kvcalc.reference import REFERENCES, Rows, build
from kvcalc.reference.cache import LayerCache, Stored
from kvcalc.reference.packing import Packing

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from kvcalc.mechanisms import Mechanism
    from kvcalc.model import Layer
    from kvcalc.reference import ReferenceAttention

TOLERANCE = 1e-10
"""Largest difference, relative to the largest output, between the two ways: float64 rounds at 1e-16."""

NEEDED = 1e-6
"""Least relative change of an output from which something that is kept is taken away."""

_CHUNKS = (5, 3, 1, 1, 4, 1, 1, 1)
_TOKENS = sum(_CHUNKS)
_WINDOW = 6
"""Shorter than the sequence, so that a ring is full, turns, and is crossed by several tokens at a time."""
_HIDDEN = 24
_SEQUENCES = 2


class Proof(NamedTuple):
    """What came out.

    Attributes:
        difference: between decoding from the cache and the textbook, relative to the largest output; None where a
            layer could not decode from what it had kept.
        least_change: of the last output, when one of the kept tensors is zeroed or the oldest row left out.
        problem: why there is no difference, if there is none.
    """

    difference: float | None
    least_change: float | None
    problem: str = ""


class _AsIs(Packing):
    """Rows in float64, as they are: the proof is of what is kept, not of how it is rounded."""

    def pack(self, rows: Tensor) -> Tensor:
        return rows

    def unpack(self, stored: Tensor, row: tuple[int, ...], dtype: torch.dtype) -> Tensor:  # noqa: ARG002  # as stored
        return stored


def prove(layer: Layer, tp: int, places: Iterable[int], add_up: Callable[[Tensor], Tensor]) -> Proof:
    """Decode from a cache and compare with the textbook.

    Args:
        layer: its kind; widths are made small, heads stay.
        tp: tensor-parallel ranks.
        places: those whose part is computed here.
        add_up: adds the parts of the ranks that are computed elsewhere.
    """
    window = None if layer.window is None else _WINDOW
    whole = build(_small(layer.attention), _HIDDEN, window, device="cpu", dtype=torch.float64)
    generator = torch.Generator().manual_seed(len(_CHUNKS))
    x_BTD = torch.randn(_SEQUENCES, _TOKENS, _HIDDEN, dtype=torch.float64, generator=generator)
    expected_BTD = whole(x_BTD)
    decoded_BTD, changes = torch.zeros_like(expected_BTD), list[float]()
    try:
        for place in places:
            outputs_BTD, change = _decode(whole.shard(place, tp), x_BTD, window)
            decoded_BTD += outputs_BTD
            changes.append(change)
    except (KeyError, RuntimeError, IndexError) as error:
        decoded_BTD.fill_(torch.nan)
        problem = f"decoding from what is kept failed: {type(error).__name__}: {error}".splitlines()[0]
    else:
        problem = ""
    difference = _relative(add_up(decoded_BTD), expected_BTD)
    if math.isnan(difference):
        return Proof(None, None, problem or "decoding from what is kept gave no number")
    return Proof(difference, min(changes))


def _decode(part: ReferenceAttention, x_BTD: Tensor, window: int | None) -> tuple[Tensor, float]:
    """The outputs of one rank, from its cache alone, and the least change when something kept is taken away."""
    cache = _cache(part.keep(x_BTD[:, :1], 0), _TOKENS if window is None else window)
    outputs, start = list[Tensor](), 0
    for tokens in _CHUNKS:
        x_chunk = x_BTD[:, start : start + tokens]
        rows = cache.extend(part.keep(x_chunk, start), start, torch.float64)
        outputs.append(part.attend(x_chunk, start, rows))
        start += tokens
    changes = [_relative(part.attend(x_chunk, start - tokens, less), outputs[-1]) for less in _with_less(rows)]
    return torch.cat(outputs, dim=1), min(changes)


def _with_less(rows: Rows) -> list[Rows]:
    """The rows without one of their tensors, for each, and without the oldest token."""
    oldest = rows.positions_S == rows.positions_S.min()
    missing = [
        rows._replace(tensors={**rows.tensors, name: torch.zeros_like(tensor)}) for name, tensor in rows.tensors.items()
    ]
    return [*missing, rows._replace(positions_S=rows.positions_S.masked_fill(oldest, -1))]


def _cache(one_token: dict[str, Tensor], slots: int) -> LayerCache:
    return LayerCache(
        {
            name: Stored(
                torch.zeros(_SEQUENCES, slots, *rows.shape[2:], dtype=rows.dtype),
                tuple(rows.shape[2:]),
                _AsIs(),
            )
            for name, rows in one_token.items()
        },
        slots,
    )


def _small(mechanism: Mechanism) -> Mechanism:
    limits = REFERENCES[type(mechanism)].small
    described: Any = mechanism
    given = {each.name: getattr(mechanism, each.name) for each in fields(described)}
    changed: Any = {name: min(given[name], most) for name, most in limits.items() if given[name] is not None}
    return replace(described, **changed)  # type: ignore[no-any-return]


def _relative(found: Tensor, expected: Tensor) -> float:
    return float((found - expected).abs().max() / expected.abs().max())
