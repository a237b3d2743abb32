"""What all requests hold together over time: a sum of lines and steps, swept from the first arrival to the last end.

Everything is an integer: values are kept times `scale`, so that no slope is rounded. An event is one integer too, its
time above what happens: a number of tokens, and whether a request begins with them, ends with them, or reaches them
while it generates. So events are sorted as fast as integers are.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from typing import TYPE_CHECKING, Any, NamedTuple

from kvcalc.verbs.demand.held import Slopes

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kvcalc.verbs.demand.held import Steps
    from kvcalc.verbs.demand.stays import Stays

_FLUSH = 1 << 14
"""Requests after which what lies before the next one is swept: what is kept of the future stays small."""
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
    rises = isinstance(each, Slopes)
    scale = stays.token * each.every if isinstance(each, Slopes) else 1
    ahead = 0 if rises else 1  # a block is taken as its first token begins
    tokens, corners, token = each.tokens, each.tokens[1:], stays.token
    shift = (stays.longest + 2).bit_length() + _KIND
    sweep: _Sweep = (_Lines if isinstance(each, Slopes) else _Blocks)(each, scale, base * scale, stays, shift)
    codes: list[int] = []
    count = 0
    for start, prompt, generated in zip(stays.starts, stays.prompts, stays.generated, strict=True):
        if count == _FLUSH:
            codes = sweep.before(start, codes)
            count = 0
        count += 1
        whole = prompt + generated
        codes.append(start << shift | (prompt + ahead) << _KIND | _BEGINS)
        codes.append(start + generated * token << shift | whole << _KIND | _ENDS)
        if corners and tokens[-1] > prompt:
            first = bisect_right(corners, prompt + ahead)
            last = bisect_left(corners, whole + ahead, first)
            if first < last:
                origin = start - (prompt + ahead) * token
                codes += [(origin + at * token) << shift | at << _KIND | _REACHES for at in corners[first:last]]
    sweep.before(stays.end + 1, codes)
    return OverTime(scale, stays.end, sweep.level, sweep.rising, sweep.slopes, tuple(sweep.buckets))


class _Sweep:
    """The sum while time passes."""

    def __init__(self, each: Slopes | Steps, scale: int, base: int, stays: Stays, shift: int) -> None:
        self.level: dict[int, int] = {}
        self.rising = Rising([], [], [])
        self.slopes: dict[int, int] = {}
        self.buckets = [base] * BUCKETS
        self._each, self._scale, self._token = each, scale, stays.token
        self._shift, self._end = shift, stays.end
        self._value, self._slope, self._now = base, 0, 0
        self._known: dict[int, Any] = {}

    def before(self, time: int, codes: list[int]) -> list[int]:
        """Sweeps over all that happens before a time, and gives the events that are left."""
        codes.sort()
        if len(self._known) > _REMEMBERED:
            self._known.clear()
        stop = bisect_left(codes, time << self._shift)
        self._over(codes[:stop])
        return codes[stop:]

    def _over(self, codes: list[int]) -> None:
        raise NotImplementedError

    def _peak(self, now: int, at: int, value: int, slope: int) -> int:
        """Notes the most in each bucket from `now` to `at`, and gives the time until which the last one lasts."""
        end = self._end
        first, last = now * BUCKETS // end, (at - 1) * BUCKETS // end
        for each in range(first, last + 1):
            there = value + slope * (min(at, -(-(each + 1) * end // BUCKETS)) - now)
            self.buckets[each] = max(self.buckets[each], there)
        return -(-(last + 1) * end // BUCKETS)


class _Lines(_Sweep):
    """Requests whose bytes grow along lines."""

    def _over(self, codes: list[int]) -> None:
        value, slope, now, shift = self._value, self._slope, self._now, self._shift
        level, slopes, buckets = self.level, self.slopes, self.buckets
        low, high, lasting = (each.append for each in self.rising)
        mask, known = (1 << shift) - 1, self._known
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

    def _change(self, what: int) -> tuple[int, int]:
        """By how much an event changes the sum, and its slope."""
        shape, tokens, kind = self._each, what >> _KIND, what & ((1 << _KIND) - 1)
        assert isinstance(shape, Slopes)  # noqa: S101  # so the class was chosen
        corners, rates = shape.tokens, shape.rates
        if kind == _REACHES:
            at = bisect_right(corners, tokens) - 1
            return 0, rates[at] - rates[at - 1]
        at = (bisect_left if kind == _ENDS else bisect_right)(corners, tokens) - 1
        at = max(at, 0)
        value = shape.bytes[at] * self._scale + rates[at] * self._token * (tokens - corners[at])
        return (value, rates[at]) if kind == _BEGINS else (-value, -rates[at])


class _Blocks(_Sweep):
    """Requests whose bytes jump as the first token of a block begins."""

    def _over(self, codes: list[int]) -> None:
        value, now, shift, level, buckets = self._value, self._now, self._shift, self.level, self.buckets
        mask, known = (1 << shift) - 1, self._known
        edge = peak = bucket = 0
        for code in codes:
            at = code >> shift
            if at != now:
                level[value] = level.get(value, 0) + at - now
                if at > edge:
                    edge = self._peak(now, at, value, 0)
                    bucket = min(BUCKETS, edge * BUCKETS // self._end) - 1
                    peak = buckets[bucket]
                elif value > peak:
                    peak = buckets[bucket] = value
                now = at
            what = code & mask
            if what not in known:
                known[what] = self._change(what)
            value += known[what]
        self._value, self._now = value, now

    def _change(self, what: int) -> int:
        """By how much an event changes the sum."""
        shape, tokens, kind = self._each, what >> _KIND, what & ((1 << _KIND) - 1)
        at = bisect_right(shape.tokens, tokens) - 1
        if kind == _REACHES:
            return shape.bytes[at] - shape.bytes[at - 1]
        return shape.bytes[at] if kind == _BEGINS else -shape.bytes[at]
