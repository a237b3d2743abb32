"""The sum over time of what requests hold whose bytes jump as a block begins, looked at jump by jump."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import defaultdict
from itertools import accumulate, compress, pairwise, repeat
from math import gcd
from operator import sub
from typing import TYPE_CHECKING

from kvcalc.verbs.demand.over_time import BUCKETS, OverTime, Sweep

if TYPE_CHECKING:
    from kvcalc.verbs.demand.held import Steps
    from kvcalc.verbs.demand.stays import Stays


LISTED = 1 << 20
"""Values below it are looked up in a list."""


class Jumps(Sweep):
    """Requests whose bytes jump as the first token of a block begins: many times as many events as requests.

    All jumps are multiples of one unit, often a block, so that sums of them are small integers.
    """

    def __init__(self, each: Steps, base: int, stays: Stays) -> None:
        self._unit, self._base = gcd(*each.bytes) or 1, base
        self._corners, held = each.tokens[1:], [taken // self._unit for taken in each.bytes]
        reached = [high - low for low, high in pairwise(held)]
        self._changes = [*reached, *held, *(-taken for taken in held)]
        self._begins, self._ends = len(reached), len(reached) + len(held)
        super().__init__(0, 1, stays, len(self._changes).bit_length())
        self._small: list[int] = []
        self._large: dict[int, int] = defaultdict(int)
        self._reaching = [(at * self._token << self._shift) + place for place, at in enumerate(self._corners)]

    def events(self, start: int, prompt: int, whole: int) -> list[int]:
        token, shift = self._token, self._shift
        first = bisect_right(self._corners, prompt + 1)  # a block is taken as its first token begins
        last = bisect_right(self._corners, whole, first)
        origin = start - (prompt + 1) * token << shift
        end = start + (whole - prompt) * token
        return [
            (start << shift) + self._begins + first,
            (end << shift) + self._ends + last,
            *[origin + each for each in self._reaching[first:last]],
        ]

    def _over(self, codes: list[int]) -> None:
        shift, mask, changes = self._shift, (1 << self._shift) - 1, self._changes
        values = [*accumulate([changes[code & mask] for code in codes], initial=self._value)]
        times = [self._now, *[code >> shift for code in codes]]
        lasting = [*map(sub, times[1:], times)]
        self._value, self._now = values[-1], times[-1]
        held, begins = [*compress(values, lasting)], [*compress(times, lasting)]
        level = self._ticks(max(held, default=0))
        for value, ticks in zip(held, filter(None, lasting), strict=True):
            level[value] += ticks
        self._peaks(held, begins)

    def _ticks(self, most: int) -> list[int] | dict[int, int]:
        """By value, where none is more than that: a list of small ones takes half the time of a mapping."""
        if most >= LISTED:
            return self._large
        self._small.extend(repeat(0, most + 1 - len(self._small)))
        return self._small

    def _peaks(self, held: list[int], begins: list[int]) -> None:
        """Notes the most in each bucket, of so much from each of these times until now."""
        end = self._end
        for each in range(begins[0] * BUCKETS // end, -(-self._now * BUCKETS // end)) if begins else ():
            start, stop = (-(-edge * end // BUCKETS) for edge in (each, each + 1))
            most = max(held[max(0, bisect_right(begins, start) - 1) : bisect_left(begins, stop)])
            self.buckets[each] = max(self.buckets[each], most)

    def over_time(self) -> OverTime:
        unit, base = self._unit, self._base
        for value, ticks in enumerate(self._small):
            self._large[value] += ticks
        level = {base + value * unit: ticks for value, ticks in self._large.items() if ticks}
        buckets = tuple(base + value * unit for value in self.buckets)
        total = 2 * sum(value * ticks for value, ticks in level.items())
        return OverTime(1, self._end, level, self.rising, {}, buckets, total)
