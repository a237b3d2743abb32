"""How long so much is held in windows of time: each request that is there is looked at step by step."""

from __future__ import annotations

from bisect import bisect_right
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable

    from kvcalc.verbs.demand.held import Steps
    from kvcalc.verbs.demand.stays import Stays


class _Stay(NamedTuple):
    """A request that is there in a window.

    Attributes:
        origin: when it would have had no token, in ticks: with its first output begins the token after its prompt.
    """

    start: int
    end: int
    origin: int


def held_in(windows: Iterable[tuple[int, int]], each: Steps, base: int, stays: Stays) -> dict[int, int]:
    """How many ticks so much is held in all windows together.

    Args:
        windows: from one time to another, ascending, apart from each other.
        each: what a request holds.
        base: what is there without any.
        stays: the requests.
    """
    token, corners, level = stays.token, each.tokens, dict[int, int]()
    rises = [0, *(high - low for low, high in pairwise(each.bytes))]
    coming = zip(stays.starts, stays.prompts, stays.generated, strict=True)
    following, there = next(coming, None), list[_Stay]()
    for begin, stop in windows:
        there = [stay for stay in there if stay.end > begin]
        while following is not None and following[0] < stop:
            start, prompt, generated = following
            if (end := start + generated * token) > begin:
                there.append(_Stay(start, end, start - (prompt + 1) * token))
            following = next(coming, None)
        held, changes = base, dict[int, int]()
        for start, end, origin in there:
            since, until = max(start, begin), min(end, stop)
            tokens, in_the_end = (since - origin) // token, (until - origin - 1) // token
            first = last = bisect_right(corners, tokens)
            if in_the_end > tokens:
                last = bisect_right(corners, in_the_end, first)
                for at, rise in zip(corners[first:last], rises[first:last], strict=True):
                    time = origin + at * token
                    changes[time] = changes.get(time, 0) + rise
            if start > begin:
                changes[start] = changes.get(start, 0) + each.bytes[first - 1]
            else:
                held += each.bytes[first - 1]
            if end < stop:
                changes[end] = changes.get(end, 0) - each.bytes[last - 1]
        now = begin
        for time in sorted(changes):
            level[held] = level.get(held, 0) + time - now
            held, now = held + changes[time], time
        level[held] = level.get(held, 0) + stop - now
    return level
