"""How long requests hold how much together whose bytes are lines, exactly."""

from __future__ import annotations

from bisect import bisect_left
from itertools import compress
from typing import TYPE_CHECKING

from kvcalc.verbs.demand.over_time import BUCKETS, OverTime, Rising, bucket_edges
from kvcalc.verbs.demand.sweep import Sweep

if TYPE_CHECKING:
    from kvcalc.verbs.demand.pieces import Pieces
    from kvcalc.verbs.demand.stays import Stays
    from kvcalc.verbs.demand.sweep import Stretches


def lines_over_time(stays: Stays, each: Pieces, base: int) -> OverTime:
    """What requests hold together.

    Args:
        stays: the requests.
        each: what one holds.
        base: what is there without any.
    """
    lines = _Lines(each, base, stays)
    return lines.swept(bucket_edges(stays.end)).over_time()


class _Lines(Sweep):
    def __init__(self, each: Pieces, base: int, stays: Stays) -> None:
        super().__init__(each, base, stays)
        self._level, self._rising, self._slopes = dict[int, int](), Rising([], [], []), dict[int, int]()
        self._buckets = [base * self.scale] * BUCKETS
        self._edges = bucket_edges(stays.end)

    def _keep(self, some: Stretches) -> None:
        begins, ticks, lows, highs, _, slopes = some
        level, steepness = self._level, self._slopes
        for slope, lasting in zip(slopes, ticks, strict=True):
            steepness[slope] = steepness.get(slope, 0) + lasting
        if 0 in slopes:
            for value, lasting, slope in zip(lows, ticks, slopes, strict=True):
                if not slope:
                    level[value] = level.get(value, 0) + lasting
        for every, some_of_it in zip(self._rising, (lows, highs, ticks), strict=True):
            every.extend(compress(some_of_it, slopes))
        self._peaks(begins, highs)

    def _peaks(self, begins: list[int], highs: list[int]) -> None:
        edges, end = self._edges, self._stays.end
        for bucket in range(begins[0] * BUCKETS // end, begins[-1] * BUCKETS // end + 1) if begins else ():
            there = highs[bisect_left(begins, edges[bucket]) : bisect_left(begins, edges[bucket + 1])]
            self._buckets[bucket] = max(self._buckets[bucket], *there)

    def over_time(self) -> OverTime:
        """What was found of all the time."""
        low, high, ticks = self._rising
        flat = sum(value * lasting for value, lasting in self._level.items())
        rising = sum(map(int.__mul__, map(int.__add__, low, high), ticks))
        found = 2 * flat + rising
        return OverTime(
            self.scale, self._stays.end, self._level, self._rising, self._slopes, tuple(self._buckets), found
        )
