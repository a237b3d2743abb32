"""Steps as the sum of even staircases, so that a crossing's time is known without looking for it.

An engine's blocks begin every so many tokens, those of each group of layers at its own pace; windows end some of them.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from kvcalc.verbs.demand.held import Steps

MOST = 6
"""Staircases that are looked for; each is asked for at every moment that a request comes or goes."""
SHORTEST = 8
"""Steps of one: fewer are sooner told apart."""
_NEIGHBOURS = 4
"""Steps after the first one to which a staircase may lead."""


class Staircase(NamedTuple):
    """Steps of one height at equal distances.

    Attributes:
        first: tokens at which it begins.
        last: tokens of its last step.
        period: tokens from one step to the next.
        height: of each.
    """

    first: int
    last: int
    period: int
    height: int

    def is_climbed(self, tokens: int) -> bool:
        """Whether a request of so many tokens has begun it, and not ended."""
        return self.first <= tokens < self.last


def staircases(each: Steps) -> tuple[tuple[Staircase, ...], dict[int, int]]:
    """Those that make up the steps, and the steps that are left: corner -> height.

    The closest that begins with the first step is taken off, as high as its first steps allow and as long, and so on.
    """
    left = {at: high - low for at, (low, high) in zip(each.tokens[1:], pairwise(each.bytes), strict=True)}
    corners, alone, found = list(left), dict[int, int](), list[Staircase]()
    while corners and len(found) < MOST and len(alone) < SHORTEST:
        steps, height = _closest(left, corners[: 1 + _NEIGHBOURS])
        if height:
            found.append(Staircase(steps[0], steps[-1], steps.step, height))
        else:
            alone[corners[0]] = height = left[corners[0]]
        for at in steps:
            left[at] -= height
        corners = [at for at in corners if left[at]]
    return tuple(found), {**{at: left[at] for at in corners}, **alone}


def _closest(left: dict[int, int], corners: list[int]) -> tuple[range, int]:
    """The steps of the closest staircase from the first corner over another, and their height; one alone has none."""
    first = corners[0]
    for other in corners[1:]:
        period = other - first
        begun = range(first, first + SHORTEST * period, period)
        height = min(left.get(at, 0) for at in begun)
        if height > 0:
            stop = begun.stop
            while left.get(stop, 0) >= height:
                stop += period
            return range(first, stop, period), height
    return range(first, first + 1), 0
