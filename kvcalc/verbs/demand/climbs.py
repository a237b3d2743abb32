"""The same where requests go up many steps each: most of them are counted without looking at each.

Between two moments at which requests come, go, or begin or end a staircase (staircases.py), all that happens is that
requests go up one step. When they do repeats with a period, so how many have is whole periods times the requests on the
staircase, and those whose phase has passed. What is held at the two ends of such a stretch of time bounds what is held
in it. So percentiles are first bounded by all stretches, and then only those stretches are looked at step by step in
which a bound lies (windows.py).
"""

from __future__ import annotations

from array import array
from bisect import bisect_right
from itertools import accumulate, chain, islice, pairwise
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


_FEW = 1
"""Steps that requests go up on average of a staircase: of fewer each is an event of its own."""
_BITS = 18
"""Of what is held, by which stretches are told apart."""
_TOGETHER = 64
"""Stretches on end that are looked at in one window."""
_NO_GAP = -1


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


class _Bracket(NamedTuple):
    """Values, both included."""

    low: int
    high: int


class Told(NamedTuple):
    """What the stretches tell of percentiles.

    Attributes:
        windows: of time, ascending, in which percentiles may lie.
        level: value -> ticks of all other time: a value stands for all between two percentiles.
    """

    windows: list[tuple[int, int]]
    level: dict[int, int]


class Climbs(Sweep):
    """Finds the most, the sum, and between which values each percentile lies."""

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
        self._bits = max(0, (base + most * each.bytes[-1]).bit_length() - _BITS)
        self._begins: array[int] | list[int] = array("q") if stays.end < 1 << 63 else []
        self._lows, self._highs = array("L"), array("L")  # of each stretch: at its beginning, and at its end
        self._low, self._high = [0] * (1 << _BITS), [0] * (1 << _BITS)  # of such a value, ticks

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
        now, shift, bits, climbing = self._now, self._shift, self._bits, self._climbing
        value, fixed, area = self._value, self._fixed, self._area
        begins, lows, highs = self._begins.append, self._lows.append, self._highs.append
        low, high, buckets, end = self._low, self._high, self.buckets, self._end
        mask, known = (1 << shift) - 1, self._known
        if len(known) > REMEMBERED:
            known.clear()
        edge = peak = bucket = 0
        for code in codes:
            at = code >> shift
            if at != now:  # in between requests do nothing but go up steps
                begins(now)
                last = value >> bits
                lows(last)
                low[last] += at - now
                value = fixed
                for each in climbing:
                    if each.number:
                        value += each.height * each.climbed(at)
                if now >= edge:
                    bucket = now * BUCKETS // end
                    edge, peak = -(-(bucket + 1) * end // BUCKETS), buckets[bucket]
                if value > peak:
                    peak = buckets[bucket] = value
                last = value >> bits
                highs(last)
                high[last] += at - now
                now = at
            what = code & mask
            change = known.get(what)
            if change is None:
                change = known[what] = self._change(what)
            jump, moves, more = change
            value += jump
            fixed += jump
            area += more
            for place, beyond, way in moves:
                each = climbing[place]
                fixed -= way * each.height * each.move(now, beyond, way)
        self._now, self._value, self._fixed, self._area = now, value, fixed, area

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

    def told(self, shares: Sequence[Fraction]) -> Told:
        """Where percentiles of these shares of the time lie, and what lasts how long elsewhere."""
        brackets = self._brackets(shares)
        gaps = list[int]()  # which of those between brackets a value lies in
        for place, bracket in enumerate(brackets):
            gaps += [place] * (bracket.low - len(gaps))
            gaps += [_NO_GAP] * (bracket.high + 1 - len(gaps))
        gaps += [len(brackets)] * ((1 << _BITS) - len(gaps))
        lasting = [0] * (1 + len(brackets))
        windows, together = list[tuple[int, int]](), 0
        ends = chain(islice(self._begins, 1, None), [self._end])
        for begin, end, low, high in zip(self._begins, ends, self._lows, self._highs, strict=True):
            gap = gaps[low]
            if gap != _NO_GAP and gap == gaps[high]:
                lasting[gap] += end - begin
            elif together < _TOGETHER and windows and windows[-1][1] == begin:
                windows[-1] = windows[-1][0], end
                together += 1
            else:
                windows.append((begin, end))
                together = 1
        values = [*((each.low << self._bits) - 1 for each in brackets), (brackets[-1].high + 1) << self._bits]
        return Told(windows, dict(zip(values, lasting, strict=True)))

    def _brackets(self, shares: Sequence[Fraction]) -> list[_Bracket]:
        """Between which values each percentile lies, ascending. Those that meet are one."""
        found: list[_Bracket] = []
        lows, highs = ({value: ticks for value, ticks in enumerate(each) if ticks} for each in (self._low, self._high))
        for share in sorted(shares):
            low, high = percentile_of(lows, share), percentile_of(highs, share)
            if found and low <= found[-1].high + 1:
                found[-1] = _Bracket(found[-1].low, high)
            else:
                found.append(_Bracket(low, high))
        return found

    def over_time(self) -> OverTime:
        return OverTime(1, self._end, self.level, self.rising, {}, tuple(self.buckets), self._area)
