"""What all requests hold together over time: a sum of lines and steps, swept from the first arrival to the last end.

Everything is an integer: values are kept times `scale`, so that no slope is rounded. An event is one integer too, its
time above what happens then: a number of tokens, and whether a request begins with them, ends with them, or reaches
them while it generates. So events are sorted as fast as integers are.
"""

from __future__ import annotations

from bisect import bisect_right
from typing import TYPE_CHECKING

from kvcalc.verbs.demand.climbs import Climbs
from kvcalc.verbs.demand.jumps import Jumps
from kvcalc.verbs.demand.lines import Lines
from kvcalc.verbs.demand.windows import held_in

if TYPE_CHECKING:
    from collections.abc import Sequence
    from fractions import Fraction
    from typing import TypeVar

    from kvcalc.verbs.demand.held import Slopes, Steps
    from kvcalc.verbs.demand.over_time import OverTime, Sweep
    from kvcalc.verbs.demand.stays import Stays

    Swept = TypeVar("Swept", bound=Sweep)

_FLUSH = 1 << 15
"""Events after which what lies before the next request is swept: what is kept of the future stays small.

Where more than that lies in the future, it is swept when as many have come again: each is sorted a few times only.
"""


_SOON_LOOKED_AT = 24
"""Steps of a request: more take longer to be looked at one by one than two sweeps over its beginning and end."""
_LOOKED_AT = 1000
"""Requests whose steps are counted."""


def lines_over_time(stays: Stays, each: Slopes, base: int) -> OverTime:
    """What requests hold together whose bytes grow along lines.

    Args:
        stays: the requests.
        each: what one holds.
        base: what is there without any.
    """
    return _swept(Lines(each, base, stays), stays).over_time()


def steps_over_time(stays: Stays, each: Steps, base: int, shares: Sequence[Fraction], most: int) -> OverTime:
    """The same of requests whose bytes jump, exact for the most and for percentiles of some shares of the time.

    Args:
        stays: the requests.
        each: what one holds.
        base: what is there without any.
        shares: of which percentiles are asked for.
        most: requests at the same time.
    """
    if _steps_of_a_request(stays, each) <= _SOON_LOOKED_AT:
        return jumps_over_time(stays, each, base)
    return climbs_over_time(stays, each, base, shares, most)


def _steps_of_a_request(stays: Stays, each: Steps) -> int:
    """On average, of some of them."""
    apart = 1 + stays.number // _LOOKED_AT
    lengths = [*zip(stays.prompts[::apart], stays.generated[::apart], strict=True)]
    places = [(bisect_right(each.tokens, prompt), bisect_right(each.tokens, prompt + more)) for prompt, more in lengths]
    return sum(last - first for first, last in places) // len(places)


def jumps_over_time(stays: Stays, each: Steps, base: int) -> OverTime:
    """Jump by jump, exact for all percentiles."""
    return _swept(Jumps(each, base, stays), stays).over_time()


def climbs_over_time(stays: Stays, each: Steps, base: int, shares: Sequence[Fraction], most: int) -> OverTime:
    """In a sweep that looks at no step, and a look at the few windows of time in which a percentile may lie."""
    climbs = _swept(Climbs(each, base, stays, most), stays)
    windows, level = climbs.told(shares)
    for value, ticks in held_in(windows, each, base, stays).items():
        level[value] = level.get(value, 0) + ticks
    return climbs.over_time()._replace(level=level)


def _swept(sweep: Swept, stays: Stays) -> Swept:
    codes, most = sweep.edges(), _FLUSH
    for start, prompt, generated in zip(stays.starts, stays.prompts, stays.generated, strict=True):
        if len(codes) >= most:
            codes = sweep.before(start, codes)
            most = max(_FLUSH, 2 * len(codes))
        codes += sweep.events(start, prompt, prompt + generated)
    sweep.before(stays.end + 1, codes)
    return sweep
