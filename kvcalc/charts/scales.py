"""Where values lie along an axis, and which of them have a tick."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import TYPE_CHECKING, NamedTuple

from kvcalc.charts.chart import Axis, Scale
from kvcalc.units import SIZE_UNITS

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from kvcalc.charts.chart import Number

_NICE = (1, 2, 5, 10)
_BASES = {Scale.LOG2: 2, Scale.LOG10: 10}


class Range(NamedTuple):
    """The values from one end of an axis to the other."""

    axis: Axis
    low: Number
    high: Number

    def at(self, value: Number) -> float:
        """How far along the axis a value is: 0 at its beginning, 1 at its end."""
        low, high, here = map(self._placed, (self.low, self.high, value))
        return 0.5 if low == high else (here - low) / (high - low)

    def shows(self, value: Number | None) -> bool:
        """Whether there is a place for it."""
        return value is not None and (self.axis.scale is Scale.LINEAR or value > 0)

    def _placed(self, value: Number) -> float:
        if self.axis.scale is Scale.LINEAR:
            return float(value)
        return math.log2(value) if self.axis.scale is Scale.LOG2 else math.log10(value)

    def ticks(self, most: int) -> tuple[Number, ...]:
        """Round values within the range, at most so many."""
        found = tuple(_linear(self, most) if self.axis.scale is Scale.LINEAR else _logarithmic(self, most))
        return found or (self.low,)


def range_of(axis: Axis, values: Iterable[Number | None], *, whole: bool) -> Range:
    """The range that holds some values.

    Args:
        axis: of which only values that it shows count.
        values: those to hold.
        whole: whether it is an axis of values, which ends at round ones and begins at 0 where it is linear.
    """
    plain = axis.scale is Scale.LINEAR
    shown = [value for value in values if value is not None and (plain or value > 0)] or [1]
    low, high = min(shown), max(shown)
    if not whole:
        return Range(axis, low, high)
    if plain:
        step = _step(Fraction(max(high, 1)), 5, _one(axis))
        return Range(axis, min(0, low), math.ceil(Fraction(max(high, 1)) / step) * step)
    base, one = (_BASES[axis.scale], _one(axis))
    low, high = Fraction(low) / one, Fraction(high) / one
    return Range(axis, _power(base, low, up=False) * one, _power(base, high, up=True) * one)


def _power(base: int, value: Fraction, *, up: bool) -> Fraction:
    """The next power of the base below or above; within a decade a round value does."""
    exponent = 0
    while Fraction(base) ** exponent > value:
        exponent -= 1
    while Fraction(base) ** (exponent + 1) <= value:
        exponent += 1
    below = Fraction(base) ** exponent
    if below == value:
        return below
    steps = (1, 2, 5, 10) if base == _BASES[Scale.LOG10] else (1, 2)
    return (
        min(below * each for each in steps if below * each >= value)
        if up
        else max(below * each for each in steps if below * each <= value)
    )


def _one(axis: Axis) -> int:
    return SIZE_UNITS.get(axis.unit, 1)


def _step(span: Fraction, most: int, one: int) -> Fraction:
    """1, 2 or 5 times a power of ten units, so that there are few enough steps in a span; counts have whole steps."""
    least = span / most / one
    power = Fraction(10) ** (math.floor(math.log10(least)) if least > 0 else 0)
    step = next(power * nice for nice in _NICE if power * nice >= least)
    return (step if one > 1 else max(step, Fraction(1))) * one


def _linear(range_: Range, most: int) -> Iterator[Number]:
    step = _step(Fraction(max(range_.high - range_.low, 1)), max(1, most - 1), _one(range_.axis))
    for number in range(math.ceil(range_.low / step), math.floor(range_.high / step) + 1):
        yield _number(number * step)


def _logarithmic(range_: Range, most: int) -> Iterator[Number]:
    base, one = _BASES[range_.axis.scale], _one(range_.axis)
    low, high = Fraction(range_.low) / one, Fraction(range_.high) / one
    first, last = math.floor(math.log(low, base)) - 1, math.ceil(math.log(high, base)) + 1
    powers = [n for n in range(first, last + 1) if low <= Fraction(base) ** n <= high]
    every = max(1, math.ceil(len(powers) / max(1, most)))
    within = (1, 2, 5) if base > 2 and len(powers) * 3 <= most else (1,)  # noqa: PLR2004  # powers of two need none
    for exponent in range(first, last + 1):
        if (exponent - (powers[0] if powers else 0)) % every == 0:
            for each in within:
                if low <= (value := Fraction(base) ** exponent * each) <= high:
                    yield _number(value * one)


def _number(value: Fraction) -> Number:
    return int(value) if value.denominator == 1 else value
