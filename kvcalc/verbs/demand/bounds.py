"""How long requests hold how much together whose bytes jump, without looking at each jump.

Of each stretch of time it is known what is held at least and at most (pieces.py). So it is known of most stretches that
what is held lies above or below a percentile, and is not the most in its part of the time. Only the others are looked
at step by step (windows.py).
"""

from __future__ import annotations

from array import array
from bisect import bisect_left, bisect_right
from itertools import accumulate, pairwise
from operator import add, sub
from typing import TYPE_CHECKING, NamedTuple

from kvcalc.verbs.demand.over_time import BUCKETS, OverTime, Rising, bucket_edges
from kvcalc.verbs.demand.pieces import below_steps
from kvcalc.verbs.demand.quantiles import percentile_of
from kvcalc.verbs.demand.sweep import Sweep
from kvcalc.verbs.demand.windows import looked_at

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from fractions import Fraction

    from kvcalc.verbs.demand.held import Steps
    from kvcalc.verbs.demand.stays import Stays
    from kvcalc.verbs.demand.sweep import Stretches

_BITS = 20
"""Of what is held, by which stretches are told apart."""
_PARTS = 8
"""Parts of a stay, into which time is cut where few requests are there."""
_GUESSED = 16
"""A percentile is looked for at first within such a part of the mean distance of the bounds."""
_TOGETHER = 64
"""Stretches that a window may have at least."""
_ASKED = 1000
"""Requests whose steps are counted, to say how many one has."""
_NO_GAP = 255


class _Bracket(NamedTuple):
    """Values, both included."""

    low: int
    high: int


def steps_over_time(stays: Stays, each: Steps, base: int, shares: Sequence[Fraction], most: int) -> OverTime:
    """What requests hold together whose bytes jump, exact for the most and for percentiles of some shares of the time.

    Args:
        stays: the requests.
        each: what one holds.
        base: what is there without any.
        shares: of which percentiles are asked for.
        most: requests at the same time.
    """
    bounds = _Bounds(stays, each, base, most)
    bounds.swept({*bucket_edges(stays.end), *_parts_of_stays(stays)})
    for brackets in bounds.brackets(shares):
        level, most_in_buckets = bounds.looked_at(brackets)
        if all(bounds.is_in(percentile_of(level, share), brackets) for share in shares):
            break
    return OverTime(1, stays.end, level, Rising([], [], []), {}, tuple(most_in_buckets), 2 * _sum(stays, each, base))


def _parts_of_stays(stays: Stays) -> range:
    apart = sum(stays.generated) * stays.token // (_PARTS * stays.number)
    return range(0, stays.end, max(1, apart, stays.end // (2 * stays.number)))


def _sum(stays: Stays, each: Steps, base: int) -> int:
    """Of value times ticks: a request holds what each number of tokens takes, for one token's time."""
    lasting = map(sub, (*each.tokens[1:], stays.longest + 1), each.tokens)
    until = [*accumulate(map(int.__mul__, each.bytes, lasting), initial=0)]

    def added(tokens: int) -> int:
        at = bisect_right(each.tokens, tokens) - 1
        return until[at] + each.bytes[at] * (tokens - each.tokens[at] + 1)

    ends = [*map(add, stays.prompts, stays.generated)]
    known = {tokens: added(tokens) for tokens in {*stays.prompts, *ends}}
    of_requests = sum(map(known.__getitem__, ends)) - sum(map(known.__getitem__, stays.prompts))
    return base * stays.end + stays.token * of_requests


class _Bounds(Sweep):
    """What is held at least and at most in each stretch, in a few bits."""

    def __init__(self, stays: Stays, each: Steps, base: int, most: int) -> None:
        super().__init__(below_steps(each, sum(stays.generated) // stays.number), base, stays)
        self._steps, self._base = each, base
        highest = self.scale * (base + most * each.bytes[-1])
        self._bits = max(self.scale.bit_length(), highest.bit_length() + 1 - _BITS)
        self._begins: array[int] | list[int] = array("q") if stays.end < 1 << 63 else []
        self._lows, self._highs = array("l"), array("l")

    def _keep(self, some: Stretches) -> None:
        bits = self._bits
        self._begins.extend(some.begins)
        self._lows.extend([low >> bits for low in some.lows])
        self._highs.extend([high >> bits for high in map(add, some.highs, some.overs)])

    def brackets(self, shares: Sequence[Fraction]) -> Iterator[list[_Bracket]]:
        """Between which values the percentiles lie: first guessed from the middle of the bounds, then for sure."""
        ticks = [*map(sub, [*self._begins[1:], self._stays.end], self._begins)]
        beside = 1 + (sum(self._highs) - sum(self._lows)) // (_GUESSED * len(ticks))
        middle = _lasting(map(add, self._lows, self._highs), ticks)
        guesses = [percentile_of(middle, share) // 2 for share in shares]
        yield _apart(_Bracket(max(0, guess - beside), guess + beside) for guess in guesses)
        low, high = _lasting(self._lows, ticks), _lasting(self._highs, ticks)
        yield _apart(_Bracket(percentile_of(low, share), percentile_of(high, share)) for share in shares)

    def is_in(self, value: int, brackets: Sequence[_Bracket]) -> bool:
        """Whether it lies in one of them."""
        return any(low <= value * self.scale >> self._bits <= high for low, high in brackets)

    def looked_at(self, brackets: Sequence[_Bracket]) -> tuple[dict[int, int], list[int]]:
        """How long so much is held, and the most in each bucket.

        Elsewhere than in brackets a value stands for all between two of them.
        """
        gaps = bytearray()  # which of those between brackets a value lies in
        for place, (low, high) in enumerate(brackets):
            gaps += bytes([place]) * (low - len(gaps))
            gaps += bytes([_NO_GAP]) * (high + 1 - len(gaps))
        gaps += bytes([len(brackets)]) * (1 + max(self._highs) - len(gaps))
        lasting, level, most = [0] * (1 + len(brackets)), dict[int, int](), [self._base] * BUCKETS
        bits, scale = self._bits, self.scale
        for begin, values, ticks in looked_at(self._windows(gaps, lasting), self._steps, self._base, self._stays):
            bucket = begin * BUCKETS // self._stays.end
            most[bucket] = max(most[bucket], *values)
            for value, gap, long in zip(values, [gaps[value * scale >> bits] for value in values], ticks, strict=True):
                if gap == _NO_GAP:
                    level[value] = level.get(value, 0) + long
                else:
                    lasting[gap] += long
        values = [((low << bits) - 1) // scale for low, _ in brackets]
        values.append(-(-(brackets[-1].high + 1 << bits) // scale))
        return level | dict(zip(values, lasting, strict=True)), most

    def _windows(self, gaps: Sequence[int], lasting: list[int]) -> Iterator[tuple[int, int]]:
        """Those to be looked at; to `lasting` is added how long what is held lies in each gap in all others."""
        edges, begins = bucket_edges(self._stays.end), self._begins
        skipped, together = self._as_long_as_a_look()
        for edge, following in pairwise(edges):
            some = slice(bisect_left(begins, edge), bisect_left(begins, following))
            lows, highs, times = self._lows[some], self._highs[some], [*begins[some], following]
            below = [*map(gaps.__getitem__, lows)]
            above, most = map(gaps.__getitem__, highs), max(lows)
            chosen = [
                place
                for place, (low, high, value) in enumerate(zip(below, above, highs, strict=True))
                if low != high or low == _NO_GAP or value >= most
            ]
            last = 0
            for first, stop in (*_joined(chosen, skipped, together), (len(lows), None)):
                for gap, begin, end in zip(
                    below[last:first], times[last:first], times[last + 1 : first + 1], strict=True
                ):
                    lasting[gap] += end - begin
                if stop is not None:
                    yield times[first], times[stop]
                    last = stop

    def _as_long_as_a_look(self) -> tuple[int, int]:
        """Stretches between two windows that are looked at sooner than a new window, and that a window has at most."""
        stays = self._stays
        apart = 1 + stays.number // _ASKED
        lengths = [*zip(stays.prompts[::apart], stays.generated[::apart], strict=True)]
        steps = sum(_steps_of(self._steps.tokens, prompt, prompt + more) for prompt, more in lengths) // len(lengths)
        running = sum(stays.generated) * stays.token // stays.end
        return running * len(self._begins) // (len(self._begins) + steps * stays.number), max(_TOGETHER, running)


def _steps_of(corners: Sequence[int], prompt: int, whole: int) -> int:
    return bisect_right(corners, whole) - bisect_right(corners, prompt + 1)


def _joined(chosen: Sequence[int], skipped: int, together: int) -> Iterator[tuple[int, int]]:
    """Stretches as windows, from one to before another: two that are near each other are one."""
    first = stop = None
    for place in chosen:
        if first is not None and stop is not None:
            if place <= stop + skipped and place - first < together:
                stop = place + 1
                continue
            yield first, stop
        first, stop = place, place + 1
    if first is not None and stop is not None:
        yield first, stop


def _lasting(values: Iterable[int], ticks: Sequence[int]) -> dict[int, int]:
    """How long each value lasts."""
    found: dict[int, int] = {}
    for value, lasting in zip(values, ticks, strict=True):
        found[value] = found.get(value, 0) + lasting
    return found


def _apart(brackets: Iterable[_Bracket]) -> list[_Bracket]:
    """Ascending. Those that meet are one."""
    found: list[_Bracket] = []
    for low, high in sorted(brackets):
        if found and low <= found[-1].high + 1:
            found[-1] = _Bracket(found[-1].low, max(high, found[-1].high))
        else:
            found.append(_Bracket(low, high))
    return found
