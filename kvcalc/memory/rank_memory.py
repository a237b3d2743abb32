"""The memory of one rank with its cache, as terms, and whether that fits."""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING

from kvcalc.named_tuple import NamedTuple
from kvcalc.term import Sum

if TYPE_CHECKING:
    from kvcalc.engines import Temporary


class Fit(Enum):
    """Whether ranks stay within what is usable."""

    FITS = "fits"
    """Even with the high temporary figure."""
    TIGHT = "tight"
    """Only with less temporary memory than the high figure."""
    NO = "no"


class RankMemory(NamedTuple):
    """The memory of one rank; the tensor-parallel ranks of a pipeline stage are alike.

    Attributes:
        stage: the pipeline stage, from 0.
        weights: None where the model's parameters are not known.
    """

    stage: int
    weights: Sum | None
    cache: Sum
    temporary: Temporary
    overhead: Sum
    reserve: Sum

    @property
    def tree(self) -> Sum:
        """Everything counted, as one tree of terms."""
        weights = () if self.weights is None else (self.weights,)
        reserve = (self.reserve,) if self.reserve.parts else ()
        return Sum("rank", (*weights, self.cache, self.temporary.term, self.overhead, *reserve))

    @property
    def total_bytes(self) -> int | None:
        """With the usual temporary figure; None where weights are not known."""
        return None if self.weights is None else self.tree.bytes
