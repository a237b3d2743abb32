"""The sum over time of what requests hold whose bytes grow along lines."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from typing import TYPE_CHECKING

from kvcalc.verbs.demand.over_time import BEGINS, BUCKETS, ENDS, KIND, REACHES, REMEMBERED, OverTime, Sweep

if TYPE_CHECKING:
    from kvcalc.verbs.demand.held import Slopes
    from kvcalc.verbs.demand.stays import Stays


class Lines(Sweep):
    """Requests whose bytes grow along lines."""

    def __init__(self, each: Slopes, base: int, stays: Stays) -> None:
        super().__init__(base, stays.token * each.every, stays, (stays.longest + 2).bit_length() + KIND)
        self._each, self._corners, self._slope = each, each.tokens[1:], 0
        self._known: dict[int, tuple[int, int]] = {}

    def events(self, start: int, prompt: int, whole: int) -> list[int]:
        token, shift, corners = self._token, self._shift, self._corners
        end = start + (whole - prompt) * token
        codes = [start << shift | prompt << KIND | BEGINS, end << shift | whole << KIND | ENDS]
        if corners and corners[-1] > prompt:
            first = bisect_right(corners, prompt)
            origin = start - prompt * token
            reached = corners[first : bisect_left(corners, whole, first)]
            codes += [(origin + at * token) << shift | at << KIND | REACHES for at in reached]
        return codes

    def _over(self, codes: list[int]) -> None:
        value, slope, now, shift = self._value, self._slope, self._now, self._shift
        level, slopes, buckets = self.level, self.slopes, self.buckets
        low, high, lasting = (each.append for each in self.rising)
        mask, known = (1 << shift) - 1, self._known
        if len(known) > REMEMBERED:
            known.clear()
        edge = peak = bucket = 0
        for code in codes:
            at = code >> shift
            if at != now:
                before = value
                ticks = at - now
                if slope:
                    value += slope * ticks
                    low(before)
                    high(value)
                    lasting(ticks)
                else:
                    level[value] = level.get(value, 0) + ticks
                slopes[slope] = slopes.get(slope, 0) + ticks
                if at > edge:
                    edge = self._peak(now, at, before, slope)
                    bucket = min(BUCKETS, edge * BUCKETS // self._end) - 1
                    peak = buckets[bucket]
                elif value > peak:
                    peak = buckets[bucket] = value
                now = at
            what = code & mask
            change = known.get(what)
            if change is None:
                change = known[what] = self._change(what)
            value += change[0]
            slope += change[1]
        self._value, self._slope, self._now = value, slope, now

    def _peak(self, now: int, at: int, value: int, slope: int) -> int:
        """Notes the most in each bucket from `now` to `at`, and gives the time until which the last one lasts."""
        end = self._end
        first, last = now * BUCKETS // end, (at - 1) * BUCKETS // end
        for each in range(first, last + 1):
            there = value + slope * (min(at, -(-(each + 1) * end // BUCKETS)) - now)
            self.buckets[each] = max(self.buckets[each], there)
        return -(-(last + 1) * end // BUCKETS)

    def _change(self, what: int) -> tuple[int, int]:
        """By how much an event changes the sum, and its slope."""
        shape, tokens, kind = self._each, what >> KIND, what & ((1 << KIND) - 1)
        corners, rates = shape.tokens, shape.rates
        if kind == REACHES:
            at = bisect_right(corners, tokens) - 1
            return 0, rates[at] - rates[at - 1]
        at = (bisect_left if kind == ENDS else bisect_right)(corners, tokens) - 1
        at = max(at, 0)
        value = shape.bytes[at] * self.scale + rates[at] * self._token * (tokens - corners[at])
        return (value, rates[at]) if kind == BEGINS else (-value, -rates[at])

    def over_time(self) -> OverTime:
        low, high, ticks = self.rising
        flat = sum(value * lasting for value, lasting in self.level.items())
        rising = sum((first + last) * lasting for first, last, lasting in zip(low, high, ticks, strict=True))
        return OverTime(
            self.scale, self._end, self.level, self.rising, self.slopes, tuple(self.buckets), 2 * flat + rising
        )
