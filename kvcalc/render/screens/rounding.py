"""Sizes of a table that add up to their sum as it is printed.

Each is rounded down, and as many as are needed are rounded up, those with the largest remainders first.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvcalc.units import SIZE_UNITS

if TYPE_CHECKING:
    from collections.abc import Sequence


def steps(size: int, unit: str) -> int:
    """How many of the smallest figures that can be printed (0.01 of a unit, or 1 byte) a size is, rounded half up."""
    each = SIZE_UNITS[unit]
    return (2 * size * _steps_of_a_unit(unit) + each) // (2 * each)


def shared_out(sizes: Sequence[int], whole: int, unit: str) -> list[int]:
    """The steps of sizes that add up to `whole`: their sum's steps, rounded up or down."""
    scale, each = _steps_of_a_unit(unit), SIZE_UNITS[unit]
    shares = [size * scale // each for size in sizes]
    by_remainder = sorted(range(len(sizes)), key=lambda index: -(sizes[index] * scale % each))
    for index in by_remainder[: whole - sum(shares)]:
        shares[index] += 1
    return shares


def figure(steps_of_it: int, size: int, unit: str) -> str:
    """Steps in the unit, with thousands separated; what is not nothing never looks like nothing: '<0.01'."""
    scale = _steps_of_a_unit(unit)
    if scale == 1:
        return f"{steps_of_it:,}"
    return "<0.01" if size and not steps_of_it else f"{steps_of_it // scale:,}.{steps_of_it % scale:02}"


def headroom_words(total: int, usable: int, unit: str) -> str:
    """What is left, or lacking: with the total as it is printed it makes what is usable as that is printed."""
    spare = usable - total
    words = figure(abs(steps(usable, unit) - steps(total, unit)), abs(spare), unit)
    return f"{words} free" if spare >= 0 else f"{words} too much"


def _steps_of_a_unit(unit: str) -> int:
    return 1 if unit == "B" else 100
