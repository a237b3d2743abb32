"""What packing costs: the error of storing normally distributed values in a format and reading them back."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch

from kvcalc.reference.packing import packing
from kvcalc.verification.result import Measurement

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kvcalc.verification.scope import Case

_ROWS, _HEADS, _WIDTH = 256, 4, 128


def round_trips(case: Case) -> Iterator[Measurement]:
    """The error of every format that the cache is kept in."""
    names = [case.format_of(layer, tensor.name) for layer in case.kinds for tensor in layer.attention.cached()]
    for name in dict.fromkeys(names):
        error = round_trip_error(name)
        yield Measurement(
            "round trip",
            name,
            None,
            round(error, 6) if math.isfinite(error) else None,
            "relative error",
            "Euclidean norm, of normally distributed values stored and read back; not a model's loss of quality",
        )


def round_trip_error(format_name: str) -> float:
    """The Euclidean norm of the error over that of the values."""
    rows = torch.randn(1, _ROWS, _HEADS, _WIDTH, generator=torch.Generator().manual_seed(1))
    stored_as = packing(format_name)
    back = stored_as.unpack(stored_as.pack(rows), tuple(rows.shape[2:]), torch.float32)
    return float((back - rows).norm() / rows.norm())
