"""What a fast path is: a way to attend to a cache, with a name, an order of memory and a condition."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor

if TYPE_CHECKING:
    from kvcalc.speed.mechanism import Measured
    from kvcalc.speed.storage import Storage


class Query(NamedTuple):
    """One token of each sequence: rotated, and not scaled.

    Attributes:
        q: (B, H, K); of MLA the part that is not rotated, (B, H, N).
        rope: of MLA, (B, H, P), where keys are rotated.
    """

    q: Tensor
    rope: Tensor | None = None


class Kept(NamedTuple):
    """A filled cache, and what a path must know of its layer.

    Attributes:
        rows: views (B, S, ...), as storage.py gives them.
        mechanism: its dims.
        scale: that scores are multiplied by.
        expansion: of MLA, the projections from the latent to keys (H, N, R) and to values (H, V, R) of every head.
    """

    rows: Mapping[str, Tensor]
    mechanism: Measured
    scale: float
    expansion: tuple[Tensor, Tensor] | None = None

    @property
    def values(self) -> Tensor:
        """(B, S, G, V): the keys themselves where those are the values."""
        return self.rows["v"] if "v" in self.rows else self.rows["k"]


Attend = Callable[[Query], Tensor]
"""The output (B, H, V) of every head."""


class Facts(NamedTuple):
    """What a condition may depend on.

    Attributes:
        device: cpu or cuda.
        dtype: of cache and computing.
        mechanism: its dims.
        positions: rows of each sequence that a step reads.
        compiling: whether torch.compile was asked for.
    """

    device: str
    dtype: torch.dtype
    mechanism: Measured
    positions: int
    compiling: bool


def always(facts: Facts) -> str | None:  # noqa: ARG001  # as every condition is called
    """No condition."""
    return None


class Path(NamedTuple):
    """A way to attend.

    Attributes:
        name: as it is printed.
        kinds: of the mechanisms that it serves.
        call: what it calls, for people.
        storage: the order in memory that it reads.
        prepare: makes, of a filled cache, the function that is timed.
        why_not: why it cannot be taken here; None where it can.
        in_float64: whether it computes in float64, and is proven there; else in the dtype that is measured.
    """

    name: str
    kinds: tuple[str, ...]
    call: str
    storage: Storage
    prepare: Callable[[Kept], Attend]
    why_not: Callable[[Facts], str | None] = always
    in_float64: bool = True
