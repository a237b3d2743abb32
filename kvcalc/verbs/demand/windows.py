"""What is held in windows of time: each request that is there is looked at step by step."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from itertools import accumulate, compress, pairwise
from operator import sub
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from kvcalc.verbs.demand.held import Steps
    from kvcalc.verbs.demand.stays import Stays


class Window(NamedTuple):
    """What is held in a window: lists of one length.

    Attributes:
        begin: in ticks.
        values: one after another.
        ticks: how long each lasts.
    """

    begin: int
    values: list[int]
    ticks: list[int]


def looked_at(windows: Iterable[tuple[int, int]], each: Steps, base: int, stays: Stays) -> Iterator[Window]:
    """What is held in windows of time.

    Args:
        windows: from one time to another, ascending, apart from each other.
        each: what a request holds.
        base: what is there without any.
        stays: the requests.
    """
    token, taken, starts = stays.token, each.bytes, stays.starts
    corners = (*each.tokens, max(each.tokens[-1], stays.longest) + 2)  # none comes to the last
    after = [at * token for at in corners]
    most = taken[-1]
    shift = (2 * most).bit_length()  # an event is its time, and below it what it changes, by `most` too much
    mask = (1 << shift) - 1
    steps = [most, *(high - low + most for low, high in pairwise(taken)), most]
    reaching = [(time << shift) + step for time, step in zip(after, steps, strict=True)]
    there, known = list[tuple[int, int, int]](), 0  # end, when it would have had no token, tokens at the end
    for begin, stop in windows:
        here, later = bisect_right(starts, begin, known), bisect_left(starts, stop, known)
        there = [stay for stay in (*there, *_stays(stays, known, here)) if stay[0] > begin]
        places = [bisect_right(corners, (begin - origin) // token) for _, origin, _ in there]
        held = base + sum([taken[place - 1] for place in places])
        codes = list[int]()
        for (end, origin, _), place in zip(there, places, strict=True):
            until = min(end, stop) - origin
            if after[place] < until:
                codes.append((origin << shift) + reaching[place])
                if after[place + 1] < until:
                    last, first = bisect_left(after, until, place), origin << shift
                    codes += [first + step for step in reaching[place + 1 : last]]
        for start, stay in zip(starts[here:later], _stays(stays, here, later), strict=True):
            end, origin, _ = stay
            there.append(stay)
            place = bisect_right(corners, (start - origin) // token)
            last, first = bisect_left(after, min(end, stop) - origin, place), origin << shift
            codes.append((start << shift) + taken[place - 1] + most)
            codes += [first + step for step in reaching[place:last]]
        codes += [
            (end << shift) + most - taken[bisect_right(corners, whole) - 1] for end, _, whole in there if end < stop
        ]
        codes.sort()
        known = max(known, later)
        times = [begin, *[code >> shift for code in codes], stop]
        ticks = [*map(sub, times[1:], times)]
        values = accumulate([(code & mask) - most for code in codes], initial=held)
        yield Window(begin, [*compress(values, ticks)], [*filter(None, ticks)])


def _stays(stays: Stays, first: int, last: int) -> Iterator[tuple[int, int, int]]:
    """The end of each of these, when it would have had no token, and its tokens at the end.

    With its first output begins the token after its prompt.
    """
    token, some = stays.token, slice(first, last)
    for start, prompt, generated in zip(stays.starts[some], stays.prompts[some], stays.generated[some], strict=True):
        yield start + generated * token, start - (prompt + 1) * token, prompt + generated
