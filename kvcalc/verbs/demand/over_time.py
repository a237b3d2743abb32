"""How long requests hold how much."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping

BUCKETS = 60
"""Equal parts of the time, of each of which the most is kept, for a picture."""


class Rising(NamedTuple):
    """Stretches of time in which the sum rises steadily, as three lists of one length.

    Attributes:
        low: at the beginning, times the scale.
        high: at the end.
        ticks: how long.
    """

    low: list[int]
    high: list[int]
    ticks: list[int]


class OverTime(NamedTuple):
    """How long so much is held.

    Attributes:
        scale: of all values.
        ticks: of all the time.
        level: value -> ticks in which it is just that.
        rising: the rest of the time.
        slopes: slope -> ticks in which the sum rises so: of tokens, one for each request.
        buckets: the most in each equal part of the time.
        sum: of value times ticks, times 2 and the scale.
    """

    scale: int
    ticks: int
    level: Mapping[int, int]
    rising: Rising
    slopes: Mapping[int, int]
    buckets: tuple[int, ...]
    sum: int

    @property
    def highest(self) -> int:
        """The most."""
        return max(self.buckets)


def bucket_edges(end: int) -> list[int]:
    """When each bucket begins, and when the last ends."""
    return [-(-part * end // BUCKETS) for part in range(BUCKETS + 1)]
