"""What all requests hold together over time: a sum of lines and steps, swept from the first arrival to the last end.

Everything is an integer: values are kept times `scale`, so that no slope is rounded. An event is one integer too, its
time above what happens then: of lines a number of tokens, and whether a request begins with them, ends with them, or
reaches them while it generates; of blocks a place in a list of changes. So events are sorted as fast as integers are.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from itertools import accumulate, compress, pairwise
from math import gcd
from operator import sub
from typing import TYPE_CHECKING, NamedTuple

from kvcalc.verbs.demand.held import Slopes

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kvcalc.verbs.demand.held import Steps
    from kvcalc.verbs.demand.stays import Stays

_FLUSH = 1 << 15
"""Events after which what lies before the next request is swept: what is kept of the future stays small.

Where more than that lies in the future, it is swept when as many have come again: each is sorted a few times only.
"""
BUCKETS = 60
"""Equal parts of the time, of each of which the most is kept, for a picture."""

_REMEMBERED = 1 << 17
"""What so many events change is worked out once."""

_BEGINS, _ENDS, _REACHES = 0, 1, 2
_KIND = 2
"""Bits of those."""


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
    """

    scale: int
    ticks: int
    level: Mapping[int, int]
    rising: Rising
    slopes: Mapping[int, int]
    buckets: tuple[int, ...]

    @property
    def highest(self) -> int:
        """The most."""
        return max(self.buckets)

    @property
    def sum(self) -> int:
        """Of value times ticks, times 2 and the scale."""
        flat = sum(value * ticks for value, ticks in self.level.items())
        low, high, ticks = self.rising
        return 2 * flat + sum((first + last) * each for first, last, each in zip(low, high, ticks, strict=True))


def over_time(stays: Stays, each: Slopes | Steps, base: int) -> OverTime:
    """What all requests hold together.

    Args:
        stays: the requests.
        each: what one holds.
        base: what is there without any.
    """
    sweep = _Lines(each, base, stays) if isinstance(each, Slopes) else _Blocks(each, base, stays)
    codes: list[int] = []
    most = _FLUSH
    for start, prompt, generated in zip(stays.starts, stays.prompts, stays.generated, strict=True):
        if len(codes) >= most:
            codes = sweep.before(start, codes)
            most = max(_FLUSH, 2 * len(codes))
        codes += sweep.events(start, prompt, prompt + generated)
    sweep.before(stays.end + 1, codes)
    sweep.finish()
    return OverTime(sweep.scale, stays.end, sweep.level, sweep.rising, sweep.slopes, tuple(sweep.buckets))


class _Sweep:
    """The sum while time passes.

    Args:
        base: what is there without any request.
        scale: of all values.
        shift: bits of what happens.
    """

    def __init__(self, base: int, scale: int, stays: Stays, shift: int) -> None:
        self.level: dict[int, int] = {}
        self.rising = Rising([], [], [])
        self.slopes: dict[int, int] = {}
        self.buckets = [base * scale] * BUCKETS
        self.scale = scale
        self._token, self._shift, self._end = stays.token, shift, stays.end
        self._value, self._now = base * scale, 0

    def before(self, time: int, codes: list[int]) -> list[int]:
        """Sweeps over all that happens before a time, and gives the events that are left."""
        codes.sort()
        stop = bisect_left(codes, time << self._shift)
        self._over(codes[:stop])
        return codes[stop:]

    def events(self, start: int, prompt: int, whole: int) -> list[int]:
        """Of a request that begins at a time with its prompt, and ends with `whole` tokens."""
        raise NotImplementedError

    def finish(self) -> None:
        """Makes bytes, times the scale, of what was summed."""

    def _over(self, codes: list[int]) -> None:
        raise NotImplementedError


class _Lines(_Sweep):
    """Requests whose bytes grow along lines."""

    def __init__(self, each: Slopes, base: int, stays: Stays) -> None:
        super().__init__(base, stays.token * each.every, stays, (stays.longest + 2).bit_length() + _KIND)
        self._each, self._corners, self._slope = each, each.tokens[1:], 0
        self._known: dict[int, tuple[int, int]] = {}

    def events(self, start: int, prompt: int, whole: int) -> list[int]:
        token, shift, corners = self._token, self._shift, self._corners
        end = start + (whole - prompt) * token
        codes = [start << shift | prompt << _KIND | _BEGINS, end << shift | whole << _KIND | _ENDS]
        if corners and corners[-1] > prompt:
            first = bisect_right(corners, prompt)
            origin = start - prompt * token
            reached = corners[first : bisect_left(corners, whole, first)]
            codes += [(origin + at * token) << shift | at << _KIND | _REACHES for at in reached]
        return codes

    def _over(self, codes: list[int]) -> None:
        value, slope, now, shift = self._value, self._slope, self._now, self._shift
        level, slopes, buckets = self.level, self.slopes, self.buckets
        low, high, lasting = (each.append for each in self.rising)
        mask, known = (1 << shift) - 1, self._known
        if len(known) > _REMEMBERED:
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
        shape, tokens, kind = self._each, what >> _KIND, what & ((1 << _KIND) - 1)
        corners, rates = shape.tokens, shape.rates
        if kind == _REACHES:
            at = bisect_right(corners, tokens) - 1
            return 0, rates[at] - rates[at - 1]
        at = (bisect_left if kind == _ENDS else bisect_right)(corners, tokens) - 1
        at = max(at, 0)
        value = shape.bytes[at] * self.scale + rates[at] * self._token * (tokens - corners[at])
        return (value, rates[at]) if kind == _BEGINS else (-value, -rates[at])


class _Blocks(_Sweep):
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
        shift, mask, changes, level = self._shift, (1 << self._shift) - 1, self._changes, self.level
        values = [*accumulate([changes[code & mask] for code in codes], initial=self._value)]
        times = [self._now, *[code >> shift for code in codes]]
        lasting = [*map(sub, times[1:], times)]
        self._value, self._now = values[-1], times[-1]
        held, begins = [*compress(values, lasting)], [*compress(times, lasting)]
        for value, ticks in zip(held, filter(None, lasting), strict=True):
            level[value] = level.get(value, 0) + ticks
        self._peaks(held, begins)

    def finish(self) -> None:
        unit, base = self._unit, self._base
        self.level = {base + value * unit: ticks for value, ticks in self.level.items()}
        self.buckets = [base + value * unit for value in self.buckets]

    def _peaks(self, held: list[int], begins: list[int]) -> None:
        """Notes the most in each bucket, of so much from each of these times until now."""
        end = self._end
        for each in range(begins[0] * BUCKETS // end, -(-self._now * BUCKETS // end)) if begins else ():
            start, stop = (-(-edge * end // BUCKETS) for edge in (each, each + 1))
            most = max(held[max(0, bisect_right(begins, start) - 1) : bisect_left(begins, stop)])
            self.buckets[each] = max(self.buckets[each], most)
