"""Percentiles over time of a sum that rises along lines and jumps: the least value that is hardly ever exceeded."""

from __future__ import annotations

from fractions import Fraction
from itertools import compress
from math import ceil
from typing import TYPE_CHECKING

from kvcalc.verbs.demand.over_time import Rising

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from kvcalc.verbs.demand.over_time import OverTime

_SAMPLE = 20_000
"""Stretches by which a percentile is guessed at first: so many that the guess is hardly ever off by the margin."""
_NARROWED = 2000
"""Ends of which the middle one is taken."""
_MARGIN = 0.02
"""Of the time, on each side of the guess. A guess that is wrong costs time, and changes nothing."""

Stretch = tuple[int, int, int]
"""From, to, ticks: constant where both are equal."""


def percentiles(over: OverTime, shares: Sequence[Fraction]) -> list[Fraction]:
    """For each of these ascending shares of the time, the least value that is not exceeded for at least so long."""
    if not over.rising.low:
        return [Fraction(percentile_of(over.level, share), over.scale) for share in shares]
    found, rest, passed = list[Fraction](), over.rising, 0
    for share in shares:
        target = over.ticks * share
        low, high = _bracket(over, float(share))
        above = [end > low for end in rest.high]
        passed += sum(rest.ticks)
        rest = Rising(*([*compress(every, above)] for every in rest))
        passed -= sum(rest.ticks)
        inside, below = _within(rest, over.level, low, high)
        below += passed
        if not _holds(inside, below, low, high, target):
            low, high = -1, over.highest
            inside, below = _within(over.rising, over.level, low, high)
        found.append(_search(inside, below, low, high, target) / over.scale)
    return found


def percentile_of(lasting: Mapping[int, int], share: Fraction) -> int:
    """The same of values that each last so long."""
    target, passed = ceil(sum(lasting.values()) * share), 0
    for value in sorted(lasting):
        passed += lasting[value]
        if passed >= target:
            break
    return value


def _within(rising: Rising, level: Mapping[int, int], low: int, high: int) -> tuple[list[Stretch], int]:
    """Of stretches above `low` those that reach down to `high`, and the ticks of what is below `low`."""
    inside, below = [each for each in zip(*rising, strict=True) if each[0] < high], 0
    for value, lasting in level.items():
        if value <= low:
            below += lasting
        elif value <= high:
            inside.append((value, value, lasting))
    return inside, below


def _holds(inside: Sequence[Stretch], below: int, low: int, high: int, target: Fraction) -> bool:
    """Whether the value that is looked for lies above `low`, and not above `high`."""
    return below + _until(inside, low) < target <= below + _until(inside, high)


def _until(stretches: Sequence[Stretch], value: int) -> Fraction:
    """Ticks in which so much or less is held, exactly: slopes are whole."""
    whole, parts = 0, dict[int, int]()
    for first, last, ticks in stretches:
        if last <= value:
            whole += ticks
        elif first < value:
            slope = (last - first) // ticks
            parts[slope] = parts.get(slope, 0) + value - first
    return whole + sum((Fraction(beyond, slope) for slope, beyond in parts.items()), Fraction(0))


def _search(stretches: list[Stretch], below: int, low: int, high: int, target: Fraction) -> Fraction:
    """The value: the bracket is narrowed to two neighbours among all beginnings and ends, and there it is a line."""
    across: dict[int, list[int]] = {}
    whole = below
    while True:
        inside = []
        for stretch in stretches:
            first, last, ticks = stretch
            if last <= low:
                whole += ticks
            elif (first >= high and first != last) or first > high:
                continue
            elif first <= low and last >= high:
                slope = (last - first) // ticks
                known = across.setdefault(slope, [0, 0])
                known[0] += 1
                known[1] += first
            else:
                inside.append(stretch)
        stretches = inside
        ends = {each for first, last, _ in stretches for each in (first, last) if low < each < high}
        if not ends:
            break
        middle = _middle(ends)
        if whole + _until(stretches, middle) + _lines(across, middle) >= target:
            high = middle
        else:
            low = middle
    steep = sum((Fraction(number, slope) for slope, (number, _) in across.items()), Fraction(0))
    lacking = target - whole - _lines(across, low)
    return min(Fraction(high), low + lacking / steep) if steep else Fraction(high)


def _middle(ends: set[int]) -> int:
    if len(ends) > _NARROWED:
        ends = set(list(ends)[:_NARROWED])
    return sorted(ends)[len(ends) // 2]


def _lines(across: dict[int, list[int]], value: int) -> Fraction:
    """Ticks below a value of stretches that cross the whole bracket."""
    return sum((Fraction(number * value - begun, slope) for slope, (number, begun) in across.items()), Fraction(0))


def _bracket(over: OverTime, share: float) -> tuple[int, int]:
    """Where the percentile is likely to be."""
    starts, ends, ticks = over.rising
    step = max(1, len(starts) // _SAMPLE)
    samples = zip(starts[::step], ends[::step], ticks[::step], strict=True)
    sampled = [((low + high) // 2, step * each) for low, high, each in samples]
    ordered = sorted([*sampled, *over.level.items()])
    time = sum(each for _, each in ordered)
    low, high, passed = -1, over.highest, 0
    for value, each in ordered:
        if passed + each <= (share - _MARGIN) * time:
            low = value
        passed += each
        if passed > (share + _MARGIN) * time:
            high = value
            break
    return low, high
