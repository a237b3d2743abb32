"""How many steps the requests on a staircase have gone up, counted by their phases."""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from math import isqrt
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kvcalc.verbs.demand.staircases import Staircase


class Climbing:
    """The requests on a staircase, by the phase at which each goes up a step.

    Attributes:
        height: of a step.
        period: ticks from one step to the next.
    """

    def __init__(self, stair: Staircase, token: int, most: int) -> None:
        """Of so many at most at a time: a list of all is cut where it would be long."""
        self.height, self.period = stair.height, stair.period * token
        self._number = 0
        self._cuts = max(1, isqrt(most) // 8)
        self._phases: list[list[int]] = [[] for _ in range(self._cuts)]
        self._sizes = [0] * self._cuts

    def climbed(self, time: int) -> int:
        """The steps that are gone up before a time."""
        cycles, phase = divmod(time, self.period)
        if self._cuts == 1:
            return self._number * cycles + bisect_left(self._phases[0], phase)
        cut = phase * self._cuts // self.period
        return self._number * cycles + sum(self._sizes[:cut]) + bisect_left(self._phases[cut], phase)

    def move(self, time: int, beyond: int, way: int) -> int:
        """A request comes on it (1) or leaves it (-1): the steps that count of it until that time.

        One of this very moment counts of those that come, and not of those that leave.
        """
        cycles, now = divmod(time, self.period)
        phase = (now + beyond) % self.period
        cut = phase * self._cuts // self.period
        phases = self._phases[cut]
        self._number += way
        self._sizes[cut] += way
        if way > 0:
            insort(phases, phase)
            return cycles + (phase <= now)
        del phases[bisect_left(phases, phase)]
        return cycles + (phase < now)

    def until(self, time: int) -> int:
        """The steps that are gone up then or before."""
        cycles, phase = divmod(time, self.period)
        return self._number * cycles + sum(bisect_right(phases, phase) for phases in self._phases)

    def between(self, start: int, stop: int) -> Iterator[int]:
        """When they are gone up, after one time and before another."""
        (first, begin), (last, end) = divmod(start, self.period), divmod(stop, self.period)
        for cycle in range(first, last + 1):
            origin, low, high = cycle * self.period, -1 if cycle > first else begin, end if cycle == last else None
            for phases in self._phases:
                until = len(phases) if high is None else bisect_left(phases, high)
                yield from [origin + each for each in phases[bisect_right(phases, low) : until]]
