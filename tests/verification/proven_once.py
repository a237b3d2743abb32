"""Proofs in float64 that are made once for all layers that are alike, where tests are of what comes beside them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import pytest

from kvcalc.model.layers import Layer
from kvcalc.verification import proof, run
from kvcalc.verification.proof import Part


@contextmanager
def proven_once() -> Iterator[None]:
    """As verify does it for the layers of one model, for those of all models that are verified meanwhile."""
    known: dict[object, Part] = {}

    def compute(layer: Layer, tp: int, places: Iterable[int]) -> Part:
        key = proof.made_small(layer, tp), tp, tuple(places)
        if key not in known:
            known[key] = proof.compute(layer, tp, key[2])
        return known[key]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(run, "compute", compute)
        yield
