"""Is what a layer keeps enough, and is all of it used? Shown in float64, with small widths and the model's heads.

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
    from collections.abc import Iterable

    from kvcalc.mechanisms import Mechanism
    from kvcalc.model import Layer
    from kvcalc.reference import ReferenceAttention

TOLERANCE = 1e-10
"""Largest difference, relative to the largest output, between the two ways: float64 rounds at 1e-16."""

NEEDED = 1e-6
"""Least relative change of an output from which something that is kept is taken away: float64 rounds at 1e-16."""

_CHUNKS = (5, 3, 1, 1, 4, 1, 1, 1)
_TOKENS = sum(_CHUNKS)
_WINDOW = 6
"""Shorter than the sequence, so that a ring is full, turns, and is crossed by several tokens at a time."""
_HIDDEN = 24
_SEQUENCES = 2


class Part(NamedTuple):
    """What some ranks of a layer computed.

    Attributes:
        outputs_BTD: of their parts, added up, from caches; not numbers where a part could not decode.
        expected_BTD: of the whole layer, by the textbook.
        least_change: of the last output, when something kept is taken away; see `_least_change`.
        problem: why a part could not decode, if one could not.
    """

    outputs_BTD: Tensor
    expected_BTD: Tensor
    least_change: float
    problem: str


class Proof(NamedTuple):
    """What came out.

    Attributes:
        difference: between decoding from the cache and the textbook, relative to the largest output; None where a
            layer could not decode from what it had kept.
        least_change: of an output when something kept is taken away; None likewise.
        problem: why there is no difference, if there is none.
    """

    difference: float | None
    least_change: float | None
    problem: str = ""


def combine(proofs: list[Proof]) -> Proof:
    """The worst of what several processes found."""
    for proof in proofs:
        if proof.difference is None or proof.least_change is None:
            return proof
    differences = [proof.difference for proof in proofs if proof.difference is not None]
    changes = [proof.least_change for proof in proofs if proof.least_change is not None]
    return Proof(max(differences), min(changes))


class _AsIs(Packing):
    """Rows in float64, as they are: the proof is of what is kept, not of how it is rounded."""

    def pack(self, rows: Tensor) -> Tensor:
        return rows

    def unpack(self, stored: Tensor, row: tuple[int, ...], dtype: torch.dtype) -> Tensor:  # noqa: ARG002  # as stored
        return stored


def compute(layer: Layer, tp: int, places: Iterable[int]) -> Part:
    """Decode the parts of some ranks from their caches.

    Args:
        layer: its kind; widths are made small, heads stay.
        tp: tensor-parallel ranks.
        places: those whose part is computed here.
    """
    window = None if layer.window is None else _WINDOW
    whole = build(_small(layer.attention), _HIDDEN, window, device="cpu", dtype=torch.float64)
    generator = torch.Generator().manual_seed(len(_CHUNKS))
    x_BTD = torch.randn(_SEQUENCES, _TOKENS, _HIDDEN, dtype=torch.float64, generator=generator)
    expected_BTD = whole(x_BTD)
    outputs_BTD, changes, problem = torch.zeros_like(expected_BTD), [math.inf], ""
    try:
        for place in places:
            of_part_BTD, change = _decode(whole.shard(place, tp), x_BTD, window)
            outputs_BTD += of_part_BTD
            changes.append(change)
    except (KeyError, RuntimeError, IndexError) as error:
        outputs_BTD.fill_(torch.nan)
        problem = f"decoding from what is kept failed: {type(error).__name__}: {error}".splitlines()[0]
    return Part(outputs_BTD, expected_BTD, min(changes), problem)


def prove(part: Part, total_BTD: Tensor) -> Proof:
    """What a part, and the sum of all parts' outputs, show."""
    difference = _relative(total_BTD, part.expected_BTD)
    if not math.isfinite(difference):
        return Proof(None, None, part.problem or "decoding from what is kept gave no number")
    return Proof(difference, part.least_change)


def _decode(part: ReferenceAttention, x_BTD: Tensor, window: int | None) -> tuple[Tensor, float]:
    """The outputs of one rank, from its cache alone, and the least change when something kept is taken away."""
    cache = _cache(part.keep(x_BTD[:, :1], 0), _TOKENS if window is None else window)
    outputs, start = list[Tensor](), 0
    for tokens in _CHUNKS:
        x_chunk = x_BTD[:, start : start + tokens]
        rows = cache.extend(part.keep(x_chunk, start), start, torch.float64)
        outputs.append(part.attend(x_chunk, start, rows))
        start += tokens
    return torch.cat(outputs, dim=1), _least_change(part, x_chunk, start - tokens, rows)


def _least_change(part: ReferenceAttention, x_B1D: Tensor, start: int, rows: Rows) -> float:
    """The least change of the last output: without the oldest row; and without an element, for each that is kept.

    What leaving out an element changes is told to first order: the largest of gradient x value over its rows, relative
    to that of the element which matters most.
    """
    output_B1D = part.attend(x_B1D, start, rows)
    oldest = rows.positions_S == rows.positions_S.min()
    shorter = rows._replace(positions_S=rows.positions_S.masked_fill(oldest, -1))
    without_oldest = _relative(part.attend(x_B1D, start, shorter), output_B1D)
    with torch.enable_grad():
        tensors = {name: tensor.clone().requires_grad_() for name, tensor in rows.tensors.items()}
        some = torch.randn(output_B1D.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
        seen = (part.attend(x_B1D, start, rows._replace(tensors=tensors)) * some).sum()
        gradients = torch.autograd.grad(seen, list(tensors.values()), allow_unused=True, materialize_grads=True)
    uses = [
        (gradient * tensor.detach()).abs().amax(dim=(0, 1)).flatten()
        for gradient, tensor in zip(gradients, tensors.values(), strict=True)
    ]
    used = torch.cat(uses)
    return min(without_oldest, float(used.min() / (used.max() or 1)))


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
    """The largest difference, relative to the largest element; of nothing but zeros, as it is."""
    return float((found - expected).abs().max() / (expected.abs().max() or 1))
