"""The same where requests go up many steps each: most of them are counted without looking at each.

Between two moments at which requests come, go, or begin or end a staircase (staircases.py), all that happens is that
requests go up one step. When they do repeats with a period, so how many have is whole periods times the requests on the
staircase, and those whose phase has passed. What is held at the two ends of such a stretch of time bounds what is held
in it. So percentiles are first bounded by all stretches, and then only those stretches are looked at step by step in
which a bound lies.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left, bisect_right
from itertools import accumulate, pairwise
from typing import TYPE_CHECKING, NamedTuple

from kvcalc.verbs.demand.climbing import Climbing
from kvcalc.verbs.demand.over_time import BEGINS, BUCKETS, ENDS, KIND, REACHES, REMEMBERED, OverTime, Sweep
from kvcalc.verbs.demand.quantiles import percentile_of
from kvcalc.verbs.demand.staircases import staircases

if TYPE_CHECKING:
    from collections.abc import Sequence
    from fractions import Fraction

    from kvcalc.verbs.demand.held import Steps
    from kvcalc.verbs.demand.stays import Stays


_FEW = 6
"""Steps that requests go up on average of a staircase: of fewer each is an event of its own."""
_BITS = 16
"""Of what is held, by which stretches are told apart."""


class Bracket(NamedTuple):
    """Values, both included."""

    low: int
    high: int


class _Change(NamedTuple):
    """What an event changes.

    Attributes:
        jump: of what is held.
        moves: staircases, by how many ticks a request's steps there are later than the event, and whether it comes on
            them (1) or leaves them (-1).
        area: of what the request holds, times twice its tokens, from its beginning to its end.
    """

    jump: int
    moves: tuple[tuple[int, int, int], ...] = ()
    area: int = 0


_NOTHING = _Change(0)


class Told(NamedTuple):
    """What a first sweep found out for a second one.

    Attributes:
        shift: stretches are told apart by what is held, without so many last bits.
        lows: of each stretch, at its beginning.
        highs: at its end.
        brackets: of the same bits, between which percentiles lie; ascending, apart from each other.
    """

    shift: int
    lows: array[int]
    highs: array[int]
    brackets: tuple[Bracket, ...]


class _Climbs(Sweep):
    """What both sweeps have in common."""

    def __init__(self, each: Steps, base: int, stays: Stays, most: int) -> None:
        """Of so many requests at most at the same time."""
        super().__init__(base, 1, stays, (stays.longest + 2).bit_length() + KIND)
        self._each, self._fixed, self._area = each, base, 2 * base * stays.end
        found, alone = staircases(each)
        steep = sum(stays.generated) // (_FEW * stays.number)
        self._stairs = [stair for stair in found if stair.period <= steep]
        self._climbing = [Climbing(stair, self._token, most) for stair in self._stairs]
        areas = (
            bytes_ * (stop - start)
            for bytes_, (start, stop) in zip(each.bytes[:-1], pairwise(each.tokens), strict=True)
        )
        self._areas = [*accumulate(areas, initial=0)]
        self._known: dict[int, _Change] = {}
        reached = {at: _Change(height) for at, height in alone.items()}
        for stair in found:
            for at in range(stair.first, stair.last + 1, stair.period) if stair.period > steep else ():
                reached[at] = _Change(reached.get(at, _NOTHING).jump + stair.height)
        for place, stair in enumerate(self._stairs):
            for at, way in ((stair.first, 1), (stair.last, -1)):
                jump, moves, _ = reached.get(at, _NOTHING)
                reached[at] = _Change(jump + stair.height, (*moves, (place, 0, way)))
        self._reached = {at: reached[at] for at in sorted(reached)}
        self._corners = [*self._reached]

    def edges(self) -> list[int]:
        edges = {-(-part * self._end // BUCKETS) for part in range(1, BUCKETS + 1)}
        return [edge << self._shift | REACHES for edge in edges]

    def events(self, start: int, prompt: int, whole: int) -> list[int]:
        token, shift, corners = self._token, self._shift, self._corners
        end = start + (whole - prompt) * token
        codes = [start << shift | prompt << KIND | BEGINS, end << shift | whole << KIND | ENDS]
        first = bisect_right(corners, prompt + 1)  # a block is taken as its first token begins
        reached = corners[first : bisect_right(corners, whole, first)]
        if reached:
            origin = start - (prompt + 1) * token
            codes += [(origin + at * token) << shift | at << KIND | REACHES for at in reached]
        return codes

    def _over(self, codes: list[int]) -> None:
        now, shift, climbing = self._now, self._shift, self._climbing
        mask, known = (1 << shift) - 1, self._known
        if len(known) > REMEMBERED:
            known.clear()
        for code in codes:
            at = code >> shift
            if at != now:
                self._pass(now, at)
                now = at
            what = code & mask
            change = known.get(what)
            if change is None:
                change = known[what] = self._change(what)
            jump, moves, area = change
            self._value += jump
            self._fixed += jump
            self._area += area
            for place, beyond, way in moves:
                each = climbing[place]
                self._fixed -= way * each.height * each.move(now, beyond, way)
        self._now = now

    def _pass(self, start: int, stop: int) -> None:
        """A stretch of time in which requests do nothing but go up steps."""
        raise NotImplementedError

    def _change(self, what: int) -> _Change:
        """What an event changes, by its tokens."""
        tokens, kind = what >> KIND, what & ((1 << KIND) - 1)
        if kind == REACHES:
            return self._reached.get(tokens, _NOTHING)
        way, held = (1, tokens + 1) if kind == BEGINS else (-1, tokens)
        taken = way * self._each.bytes[bisect_right(self._each.tokens, held) - 1]
        climbed = [(place, stair) for place, stair in enumerate(self._stairs) if stair.is_climbed(held)]
        moves = tuple((place, (stair.first - tokens - 1) * self._token, way) for place, stair in climbed)
        return _Change(taken, moves, -way * 2 * self._token * self._until(tokens))

    def _until(self, tokens: int) -> int:
        """What a request holds with each number of tokens up to this, added up."""
        at = bisect_right(self._each.tokens, tokens) - 1
        return self._areas[at] + self._each.bytes[at] * (tokens - self._each.tokens[at] + 1)

    def _hold(self, value: int, ticks: int) -> None:
        self.level[value] = self.level.get(value, 0) + ticks

    def over_time(self) -> OverTime:
        return OverTime(1, self._end, self.level, self.rising, {}, tuple(self.buckets), self._area)


class Bounding(_Climbs):
    """A first sweep finds the most, the sum, and between which values each percentile lies."""

    def __init__(self, each: Steps, base: int, stays: Stays, most: int) -> None:
        super().__init__(each, base, stays, most)
        self._bits = max(0, (base + most * each.bytes[-1]).bit_length() - _BITS)
        self._lows, self._highs = array("L"), array("L")
        self._low, self._high = [0] * (1 << _BITS), [0] * (1 << _BITS)  # of such a value, ticks
        self._climbed = [(each.height, each.climbed) for each in self._climbing]

    def _pass(self, start: int, stop: int) -> None:
        low, high, bits = self._value, self._fixed, self._bits
        for height, climbed in self._climbed:
            high += height * climbed(stop)
        self._value = high
        bucket = start * BUCKETS // self._end
        self.buckets[bucket] = max(self.buckets[bucket], high)
        ticks = stop - start
        low >>= bits
        high >>= bits
        self._lows.append(low)
        self._highs.append(high)
        self._low[low] += ticks
        self._high[high] += ticks

    def told(self, shares: Sequence[Fraction]) -> Told:
        """Brackets of these percentiles. Those that meet are one."""
        found: list[Bracket] = []
        lows, highs = ({value: ticks for value, ticks in enumerate(each) if ticks} for each in (self._low, self._high))
        for share in sorted(shares):
            low, high = percentile_of(lows, share), percentile_of(highs, share)
            if found and low <= found[-1].high + 1:
                found[-1] = Bracket(found[-1].low, high)
            else:
                found.append(Bracket(low, high))
        return Told(self._bits, self._lows, self._highs, tuple(found))


class Telling(_Climbs):
    """A second sweep looks step by step at what lies in a bracket, and finds how long so much is held there."""

    def __init__(self, each: Steps, base: int, stays: Stays, most: int, told: Told) -> None:
        super().__init__(each, base, stays, most)
        self._told, self._stretches = told, zip(told.lows, told.highs, strict=True)
        self._begins = [bracket.low for bracket in told.brackets] + [1 << _BITS]
        self._ends = [bracket.high for bracket in told.brackets]
        self._outside = [0] * len(self._begins)  # ticks before each bracket, and after the last

    def over_time(self) -> OverTime:
        """What lies outside of the brackets counts as a value next to them."""
        bits, bounds = self._told.shift, [*((each << self._told.shift) - 1 for each in self._begins[:-1])]
        for value, ticks in zip([*bounds, (self._ends[-1] + 1) << bits], self._outside, strict=True):
            if ticks:
                self._hold(value, ticks)
        return super().over_time()

    def _pass(self, start: int, stop: int) -> None:
        low, high = next(self._stretches)
        place = bisect_left(self._ends, low)
        if high < self._begins[place]:
            self._outside[place] += stop - start
        else:
            held, now = self._fixed + sum(each.height * each.until(start) for each in self._climbing), start
            steps = [(time, each.height) for each in self._climbing for time in each.between(start, stop)]
            for time, height in sorted(steps):
                if time > now:
                    self._hold(held, time - now)
                held, now = held + height, time
            self._hold(held, stop - now)
