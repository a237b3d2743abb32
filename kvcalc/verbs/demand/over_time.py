"""How long requests hold how much, and what a sweep over time keeps to say so."""

from __future__ import annotations

from bisect import bisect_left
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kvcalc.verbs.demand.stays import Stays

BUCKETS = 60
"""Equal parts of the time, of each of which the most is kept, for a picture."""
REMEMBERED = 1 << 17
"""What so many events change is worked out once."""

BEGINS, ENDS, REACHES = 0, 1, 2
KIND = 2
"""Bits of those, above which an event has its tokens."""


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
        sum: of value times ticks, times 2 and the scale.
    """

    scale: int
    ticks: int
    level: Mapping[int, int]
    rising: Rising
    slopes: Mapping[int, int]
    buckets: tuple[int, ...]
    sum: int

    @property
    def highest(self) -> int:
        """The most."""
        return max(self.buckets)


class Sweep:
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

    def edges(self) -> list[int]:
        """Events that are of no request."""
        return []

    def events(self, start: int, prompt: int, whole: int) -> list[int]:
        """Of a request that begins at a time with its prompt, and ends with `whole` tokens."""
        raise NotImplementedError

    def over_time(self) -> OverTime:
        """What was found of all the time."""
        raise NotImplementedError

    def _over(self, codes: list[int]) -> None:
        raise NotImplementedError
