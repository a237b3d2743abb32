"""A sweep over time of what all requests hold together, from the first arrival to the last end.

Everything is an integer: values are kept times `scale`, so that no slope is rounded. An event is one integer too, its
time above what happens then: a number of tokens, and whether a request begins with them, ends with them, or reaches
them while it generates. So events are sorted as fast as integers are, and many are added up in one go.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from itertools import accumulate, compress
from operator import add, mul, sub
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from typing import Self

    from kvcalc.verbs.demand.pieces import Pieces
    from kvcalc.verbs.demand.stays import Stays

_BEGINS, _ENDS, _REACHES = 0, 1, 2
_KIND = 2
"""Bits of those, above which an event has its tokens."""
_FLUSH = 1 << 15
"""Events after which what lies before the next request is swept: what is kept of the future stays small.

Where more than that lies in the future, it is swept when as many have come again: each is sorted a few times only.
"""
_TOGETHER = 1 << 13
"""Requests whose events are made in one go."""
_REMEMBERED = 1 << 17
"""What so many events change is worked out once."""


class Stretches(NamedTuple):
    """What is held between one event and the next, for times that follow each other: lists of one length.

    Attributes:
        begins: in ticks.
        ticks: how long each lasts; none is 0.
        lows: at its beginning, at least.
        highs: at its end, at least.
        overs: how much more it may be all the time.
        slopes: by which it rises with each tick.
    """

    begins: list[int]
    ticks: list[int]
    lows: list[int]
    highs: list[int]
    overs: list[int]
    slopes: list[int]


class Sweep:
    """The sum while time passes.

    Args:
        each: what a request holds.
        base: what is there without any.
        stays: the requests.
    """

    def __init__(self, each: Pieces, base: int, stays: Stays) -> None:
        self.scale, self._each, self._stays = stays.token * each.every, each, stays
        self._shift = (stays.longest + 2).bit_length() + _KIND
        self._value, self._slope, self._more, self._now = base * self.scale, 0, 0, 0
        self._jumps, self._turns, self._spreads = dict[int, int](), dict[int, int](), dict[int, int]()

    def swept(self, edges: Iterable[int]) -> Self:
        """After all the time, in which stretches end at these moments too."""
        stays, most = self._stays, _FLUSH
        codes = [edge << self._shift | _REACHES for edge in edges]
        for first in range(0, stays.number, _TOGETHER):
            some = slice(first, first + _TOGETHER)
            starts = stays.starts[some]
            if len(codes) >= most:
                codes = self._before(starts[0], codes)
                most = max(_FLUSH, 2 * len(codes))
            codes += self._events(starts, stays.prompts[some], stays.generated[some])
        self._before(stays.end + 1, codes)
        return self

    def _before(self, time: int, codes: list[int]) -> list[int]:
        """Sweeps over all that happens before a time, and gives the events that are left."""
        codes.sort()
        stop = bisect_left(codes, time << self._shift)
        for first in range(0, stop, _FLUSH):
            self._over(codes[first : min(stop, first + _FLUSH)])
        return codes[stop:]

    def _events(self, starts: Sequence[int], prompts: Sequence[int], generated: Sequence[int]) -> list[int]:
        token, shift, corners = self._stays.token, self._shift, self._each.tokens
        wholes = [*map(add, prompts, generated)]
        ends = [start + more * token for start, more in zip(starts, generated, strict=True)]
        codes = [start << shift | tokens << _KIND | _BEGINS for start, tokens in zip(starts, prompts, strict=True)]
        codes += [end << shift | tokens << _KIND | _ENDS for end, tokens in zip(ends, wholes, strict=True)]
        last = corners[-1]
        for start, prompt, whole in zip(starts, prompts, wholes, strict=True):
            if prompt < last and whole > corners[first := bisect_right(corners, prompt)]:
                origin = start - prompt * token
                reached = corners[first : bisect_left(corners, whole, first)]
                codes += [(origin + at * token) << shift | at << _KIND | _REACHES for at in reached]
        return codes

    def _over(self, codes: list[int]) -> None:
        shift, mask = self._shift, (1 << self._shift) - 1
        happening = [code & mask for code in codes]
        self._learn(set(happening))
        times = [self._now, *[code >> shift for code in codes]]
        ticks = [*map(sub, times[1:], times)]
        slopes = [*accumulate(map(self._turns.__getitem__, happening), initial=self._slope)]
        overs = [*accumulate(map(self._spreads.__getitem__, happening), initial=self._more)]
        rises = [*map(mul, slopes, ticks)]
        lows = [*accumulate(map(add, rises, map(self._jumps.__getitem__, happening)), initial=self._value)]
        self._now, self._slope, self._more, self._value = times[-1], slopes[-1], overs[-1], lows[-1]
        highs = [*map(add, lows, rises)]
        self._keep(Stretches(*([*compress(every, ticks)] for every in (times, ticks, lows, highs, overs, slopes))))

    def _learn(self, happening: set[int]) -> None:
        """What events change, by their tokens."""
        each, token = self._each, self._stays.token
        if len(self._jumps) > _REMEMBERED:
            for known in (self._jumps, self._turns, self._spreads):
                known.clear()
        for what in happening - self._jumps.keys():
            tokens, kind = what >> _KIND, what & ((1 << _KIND) - 1)
            comes = (0, 0, 0) if kind == _ENDS else each.after(tokens)
            goes = (0, 0, 0) if kind == _BEGINS else each.before(tokens)
            low, rate, over = map(sub, comes, goes)
            self._jumps[what], self._turns[what], self._spreads[what] = low * token, rate, over * token

    def _keep(self, some: Stretches) -> None:
        raise NotImplementedError
