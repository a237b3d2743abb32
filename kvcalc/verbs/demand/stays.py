"""When each request holds its cache: from its admission until its output is done. Exact, in integers.

A tick is a nanosecond over the numerator of the speed, so that a token takes a whole number of ticks and no time is
rounded.
"""

from __future__ import annotations

import math
import random
from array import array
from dataclasses import dataclass
from functools import cached_property
from heapq import heappush, heapreplace
from typing import TYPE_CHECKING

from kvcalc.errors import KvcalcError
from kvcalc.traces.trace import SECOND

if TYPE_CHECKING:
    from fractions import Fraction

    from kvcalc.traces import Trace


@dataclass(frozen=True)
class Stays:
    """All requests that generate something, in the order of their admission.

    Attributes:
        second: in ticks.
        token: in ticks: what one takes to be generated.
        starts: in ticks since the first arrival of a request that generates something.
        numbers: of each in the trace, from 0.
        waits: ticks from arrival to admission, of all together, and the most.
    """

    second: int
    token: int
    starts: list[int]
    prompts: array[int]
    generated: array[int]
    numbers: array[int]
    waits: tuple[int, int]

    @property
    def number(self) -> int:
        """How many requests."""
        return len(self.starts)

    @cached_property
    def end(self) -> int:
        """When the last is done."""
        token = self.token
        return max(start + token * tokens for start, tokens in zip(self.starts, self.generated, strict=True))

    @cached_property
    def longest(self) -> int:
        """Tokens of the longest request at its end."""
        return max(map(int.__add__, self.prompts, self.generated))


def poisson(number: int, rate: Fraction, seed: int) -> array[int]:
    """Arrivals of a Poisson process in nanoseconds: gaps are -ln(1 - u) / rate, u from Python's Mersenne Twister.

    Raises:
        KvcalcError: they would take a century.
    """
    uniform, time, each, arrivals = random.Random(seed).random, 0.0, float(SECOND / rate), array("q")  # noqa: S311  # no secret
    log = math.log
    try:
        for _ in range(number):
            arrivals.append(round(time))
            time -= log(1.0 - uniform()) * each
    except OverflowError as error:
        raise KvcalcError(f"--rate: {number:,} requests at this rate would take more than a century") from error
    return arrivals


def stays_of(trace: Trace, arrivals: array[int], speed: Fraction, concurrency: int | None) -> Stays:
    """When each request of a trace stays.

    Args:
        trace: with the lengths.
        arrivals: in nanoseconds, ascending.
        speed: tokens a second of each request.
        concurrency: so many at most are admitted at the same time, the first that came first; None: all.

    Raises:
        KvcalcError: no request generates anything.
    """
    ticks, token = speed.numerator, SECOND * speed.denominator
    first = next((at for at, tokens in zip(arrivals, trace.outputs, strict=True) if tokens), 0)
    prompts, generated, numbers, starts = array("q"), array("q"), array("q"), list[int]()
    ends: list[int] = []
    waited = longest = 0
    for number, (at, prompt, tokens) in enumerate(zip(arrivals, trace.inputs, trace.outputs, strict=True)):
        if not tokens:
            continue
        start = arrived = (at - first) * ticks
        if concurrency is not None:
            if len(ends) == concurrency:
                start = max(arrived, ends[0])
                heapreplace(ends, start + tokens * token)
                waited += start - arrived
                longest = max(longest, start - arrived)
            else:
                heappush(ends, start + tokens * token)
        starts.append(start)
        prompts.append(prompt)
        generated.append(tokens)
        numbers.append(number)
    if not starts:
        raise KvcalcError("--trace: no request of it generates a token: nothing is held for any time")
    return Stays(SECOND * ticks, token, starts, prompts, generated, numbers, (waited, longest))
