"""Is what a layer keeps enough, and is all of it used? Shown in float64, with small widths and the model's heads.

The textbook computes a short sequence at once, without a cache. Then every tensor-parallel rank's part of the layer
computes it from its own cache, several tokens at a time and one by one, and the parts are added up. What is used is
asked in kvcalc/verification/proof_of_use.py.
"""

from __future__ import annotations

import math
from dataclasses import fields, replace
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor

from kvcalc.model.span import Span
from kvcalc.reference import ReferenceAttention, ReferenceLayer, ReferenceParts, ReferenceState, build, reference_of
from kvcalc.reference.cache import LayerCache, PartsCache, Stored
from kvcalc.reference.packing import Packing
from kvcalc.verification.proof_of_use import needed_parts, needed_rows, needed_state, relative

if TYPE_CHECKING:
    from collections.abc import Iterable

    from kvcalc.mechanisms import Mechanism
    from kvcalc.model.layers import Layer

TOLERANCE = 1e-10
"""Largest difference, relative to the largest output, between the two ways: float64 rounds at 1e-16."""

NEEDED = 1e-9
"""Least relative change of an output from which something that is kept is taken away: float64 rounds at 1e-16, and of
the thousands of elements of a state, some weights make one small."""

_CHUNKS = (5, 3, 1, 1, 4, 1, 1, 1, 1)
_TOKENS = sum(_CHUNKS)
_SPAN = 6
"""Shorter than the sequence, so that a ring is full, turns, and is crossed by several tokens at a time; it divides the
sequence, so that the last token's chunk is full."""
_HIDDEN = 24
_SEQUENCES, _STATES = 2, 8
"""More where every element of a state is asked for: in one sequence, some of them are close to zero."""


class Part(NamedTuple):
    """What some ranks of a layer computed.

    Attributes:
        outputs_BTD: of their parts, added up, from caches; not numbers where a part could not decode.
        expected_BTD: of the whole layer, by the textbook.
        least_change: of the last output, when something kept is taken away.
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
    small, span = made_small(layer, tp)
    whole = build(small, _HIDDEN, span, device="cpu", dtype=torch.float64)
    generator = torch.Generator().manual_seed(_TOKENS)
    sequences = _STATES if isinstance(whole, ReferenceState) else _SEQUENCES
    x_BTD = torch.randn(sequences, _TOKENS, _HIDDEN, dtype=torch.float64, generator=generator)
    expected_BTD = whole(x_BTD)
    outputs_BTD, changes, problem = torch.zeros_like(expected_BTD), [math.inf], ""
    try:
        for place in places:
            of_part_BTD, change = _decode(whole.shard(place, tp), x_BTD, span)
            outputs_BTD += of_part_BTD
            changes.append(change)
    except (KeyError, RuntimeError, IndexError) as error:
        outputs_BTD.fill_(torch.nan)
        problem = f"decoding from what is kept failed: {type(error).__name__}: {error}".splitlines()[0]
    return Part(outputs_BTD, expected_BTD, min(changes), problem)


def made_small(layer: Layer, tp: int) -> tuple[Mechanism, Span | None]:
    """What is proven of a layer: its mechanism with small widths, and a short span. Those of many kinds are equal."""
    return _small(layer.attention, tp), None if layer.span is None else type(layer.span)(_SPAN)


def prove(part: Part, total_BTD: Tensor) -> Proof:
    """What a part, and the sum of all parts' outputs, show."""
    difference = relative(total_BTD, part.expected_BTD)
    if not math.isfinite(difference):
        return Proof(None, None, part.problem or "decoding from what is kept gave no number")
    return Proof(difference, part.least_change)


def _decode(part: ReferenceLayer, x_BTD: Tensor, span: Span | None) -> tuple[Tensor, float]:
    """The outputs of one rank, from its cache alone, and the least change when something kept is taken away."""
    if isinstance(part, ReferenceState):
        return _decode_state(part, x_BTD)
    if isinstance(part, ReferenceParts):
        return _decode_parts(part, x_BTD)
    assert isinstance(part, ReferenceAttention)  # noqa: S101  # there are no others
    cache = _cache(part.keep(x_BTD[:, :1], 0), _TOKENS if span is None else span.tokens)
    outputs, start = list[Tensor](), 0
    for tokens in _CHUNKS:
        x_chunk = x_BTD[:, start : start + tokens]
        rows = cache.extend(part.keep(x_chunk, start), start, torch.float64)
        outputs.append(part.attend(x_chunk, start, rows))
        start += tokens
    return torch.cat(outputs, dim=1), needed_rows(part, x_chunk, start - tokens, rows)


def _decode_state(part: ReferenceState, x_BTD: Tensor) -> tuple[Tensor, float]:
    kept = {name: first.double() for name, first in part.begin(len(x_BTD)).items()}
    outputs, start = list[Tensor](), 0
    for tokens in _CHUNKS:
        before, x_chunk = kept, x_BTD[:, start : start + tokens]
        output, kept = part.advance(x_chunk, before)
        outputs.append(output)
        start += tokens
    return torch.cat(outputs, dim=1), needed_state(part, x_chunk, before)


def _decode_parts(part: ReferenceParts, x_BTD: Tensor) -> tuple[Tensor, float]:
    """A last token that completes an entry shows what entries are made of."""
    rows = part.keep(x_BTD, 0)
    entries = part.pool({name: rows[name] for name in part.pooled}, 0) if part.entries else {}
    slots = {name: most or _TOKENS for name, most in part.rings.items()}
    slots |= {name: made.shape[1] for name, made in entries.items()}
    caches = {name: _cache({name: tensor}, slots[name]) for name, tensor in (rows | entries).items()}
    cache, outputs, start = PartsCache(caches), list[Tensor](), 0
    for tokens in _CHUNKS:
        x_chunk = x_BTD[:, start : start + tokens]
        found = cache.extend(part, x_chunk, start)
        outputs.append(part.attend(x_chunk, start, found))
        start += tokens
    return torch.cat(outputs, dim=1), needed_parts(part, x_chunk, start - tokens, found)


def _cache(one_token: dict[str, Tensor], slots: int) -> LayerCache:
    return LayerCache(
        {
            name: Stored(
                torch.zeros(len(rows), slots, *rows.shape[2:], dtype=rows.dtype),
                tuple(rows.shape[2:]),
                _AsIs(),
            )
            for name, rows in one_token.items()
        },
        slots,
    )


def _small(mechanism: Mechanism, tp: int) -> Mechanism:
    """With small widths. Of channels, which ranks divide, there are as many for each as of few for one."""
    limits = reference_of(mechanism).small
    described: Any = mechanism
    given = {each.name: getattr(mechanism, each.name) for each in fields(described)}
    divided = {factor.name for factor in mechanism.divided}
    changed: Any = {}
    for name, most in limits.items():
        if given.get(name) is not None:
            changed[name] = min(given[name], tp * max(1, most // tp) if name in divided else most)
    return replace(described, **changed)  # type: ignore[no-any-return]  # torch: Any
