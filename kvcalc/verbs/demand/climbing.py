"""How many steps the requests on a staircase have gone up, counted by their phases."""

from __future__ import annotations

from bisect import bisect_left, insort
from math import isqrt
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from kvcalc.verbs.demand.staircases import Staircase


class Climbing:
    """The requests on a staircase, by the phase at which each goes up a step.

    Attributes:
        height: of a step.
        period: ticks from one step to the next.
        number: of requests on it now.
    """

    def __init__(self, stair: Staircase, token: int, most: int) -> None:
        """Of so many at most at a time: a list of all is cut where it would be long."""
        self.height, self.period = stair.height, stair.period * token
        self.number = 0
        self._cuts = max(1, isqrt(most) // 8)
        self._phases: list[list[int]] = [[] for _ in range(self._cuts)]
        self._sizes = [0] * self._cuts

    def climbed(self, time: int) -> int:
        """The steps that are gone up before a time."""
        cycles, phase = divmod(time, self.period)
        if self._cuts == 1:
            return self.number * cycles + bisect_left(self._phases[0], phase)
        cut = phase * self._cuts // self.period
        return self.number * cycles + sum(self._sizes[:cut]) + bisect_left(self._phases[cut], phase)

    def move(self, time: int, beyond: int, way: int) -> int:
        """A request comes on it (1) or leaves it (-1): the steps that count of it until that time.

        One of this very moment counts of those that come, and not of those that leave.
        """
        cycles, now = divmod(time, self.period)
        phase = (now + beyond) % self.period
        cut = phase * self._cuts // self.period
        phases = self._phases[cut]
        self.number += way
        self._sizes[cut] += way
        if way > 0:
            insort(phases, phase)
            return cycles + (phase <= now)
        del phases[bisect_left(phases, phase)]
        return cycles + (phase < now)
