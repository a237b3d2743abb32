"""What a request holds, as lines, by which the sum of many is followed without looking at each step.

Exact where its bytes grow steadily, else a line below the steps, and how far they rise above it.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import defaultdict
from math import lcm
from typing import TYPE_CHECKING, NamedTuple

from kvcalc.verbs.demand.held import Slopes
from kvcalc.verbs.demand.staircases import staircases

if TYPE_CHECKING:
    from kvcalc.verbs.demand.held import Steps

FEW = 1
"""Steps that a request goes up on average of a staircase: of fewer each is a corner."""


class Amount(NamedTuple):
    """At some number of tokens.

    Attributes:
        low: what is held at least.
        rate: by which it grows for a token.
        over: how much more it may be.
    """

    low: int
    rate: int
    over: int


class Pieces(NamedTuple):
    """Lines from corner to corner, which may jump there. All but tokens is times `every`, so that nothing is rounded.

    Attributes:
        tokens: of the corners, ascending; the first is 0.
        amounts: at and after each corner.
        every: tokens.
    """

    tokens: tuple[int, ...]
    amounts: tuple[Amount, ...]
    every: int

    def after(self, tokens: int) -> Amount:
        """At so many tokens, if there is a corner after it."""
        return self._in(bisect_right(self.tokens, tokens) - 1, tokens)

    def before(self, tokens: int) -> Amount:
        """At so many tokens, if there is a corner before it."""
        return self._in(max(0, bisect_left(self.tokens, tokens) - 1), tokens)

    def _in(self, piece: int, tokens: int) -> Amount:
        low, rate, over = self.amounts[piece]
        return Amount(low + rate * (tokens - self.tokens[piece]), rate, over)


def of_slopes(each: Slopes) -> Pieces:
    """They are lines already."""
    return Pieces(
        each.tokens,
        tuple(Amount(low * each.every, rate, 0) for low, rate in zip(each.bytes, each.rates, strict=True)),
        each.every,
    )


TOKENS = of_slopes(Slopes((0,), (0,), (1,), 1))
"""What a request holds, in tokens."""


def below_steps(each: Steps, generated: int) -> Pieces:
    """A line below each staircase, from its first step to its last, and other steps as they are.

    A step is gone up as its token begins, when the request has one token less.

    Args:
        each: the steps.
        generated: tokens of a request on average.
    """
    found, rises = staircases(each)
    lines = [stair for stair in found if stair.period * FEW <= generated]
    every, jumps, turns, spreads = lcm(*(stair.period for stair in lines)), *(defaultdict[int, int](int) for _ in "123")
    jumps |= {at - 1: rise * every for at, rise in rises.items()}
    for stair in found:
        if stair not in lines:
            for at in range(stair.first, stair.last + 1, stair.period):
                jumps[at - 1] += stair.height * every
    for stair in lines:
        for at, way in ((stair.first - 1, 1), (stair.last - 1, -1)):
            turns[at] += way * stair.height * every // stair.period
            spreads[at] += way * stair.height * every
        jumps[stair.last - 1] += stair.height * every
    corners = sorted({0, *jumps, *turns})
    amounts, last, here = list[Amount](), 0, Amount(each.bytes[0] * every, 0, 0)
    for at in corners:
        low, rate, over = here
        here = Amount(low + rate * (at - last) + jumps[at], rate + turns[at], over + spreads[at])
        amounts.append(here)
        last = at
    return Pieces(tuple(corners), tuple(amounts), every)
