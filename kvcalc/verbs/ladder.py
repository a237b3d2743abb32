"""Ladders: an answer for each of a few values of its options, side by side, where a person looks at them."""

from __future__ import annotations

from dataclasses import field
from itertools import product
from math import inf, prod
from typing import TYPE_CHECKING, Any, ClassVar

from kvcalc.errors import KvcalcError
from kvcalc.noun import noun
from kvcalc.record import WHOLE, Record, Result
from kvcalc.scenario.axes import AXES, axis_values

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from kvcalc.note import Note
    from kvcalc.verbs.capacity_result import Capacity
    from kvcalc.verbs.comparing.result import Comparison
    from kvcalc.verbs.estimate_result import Estimate

MAX_ROWS = 1000
"""More is for `kvcalc sweep`, which streams."""

OF_EACH = tuple(name for name in AXES if name != "model")
"""The axes of an estimate and of a capacity."""

OF_COMPARISONS = tuple(name for name in OF_EACH if name not in {"cache_dtype", "engine"})
"""Those of a comparison, whose own rows are formats and engines where several are given."""


class LadderRow(Record):
    """What is varied, and the answer there."""

    axes: dict[str, int | str]
    result: Any

    @property
    def where(self) -> str:
        """'batch 8, context 4,096'."""
        return named(self.axes)


@noun
class EstimateRow(LadderRow):
    """An estimate, with the values of what is varied.

    Attributes:
        axes: by the name of the option.
        result: what `kvcalc estimate` prints of these values alone.
    """

    axes: dict[str, int | str]
    result: Estimate = field(metadata=WHOLE)


@noun
class CapacityRow(LadderRow):
    """A capacity, with the values of what is varied.

    Attributes:
        axes: by the name of the option.
        result: what `kvcalc capacity` prints of these values alone.
    """

    axes: dict[str, int | str]
    result: Capacity = field(metadata=WHOLE)


@noun
class ComparisonRow(LadderRow):
    """A comparison, with the values of what is varied.

    Attributes:
        axes: by the name of the option.
        result: what `kvcalc compare` prints of these values alone.
    """

    axes: dict[str, int | str]
    result: Comparison = field(metadata=WHOLE)


class Ladder:
    """What ladders have in common."""

    rows: Sequence[LadderRow]

    @property
    def axes(self) -> tuple[str, ...]:
        """The names of what is varied, in the order of their columns."""
        return tuple(self.rows[0].axes)

    @property
    def brief(self) -> str:
        if len(self.rows) == 1:
            return f"1 row: {self.rows[0].where or 'nothing is varied'}"
        return f"{len(self.rows):,} rows: {self.rows[0].where} to {self.rows[-1].where}"

    @property
    def notes(self) -> tuple[Note, ...]:
        """What is to be noted of every row; each has its own too."""
        first, *others = (row.result.notes for row in self.rows)
        return tuple(note for note in first if all(note in each for each in others))


@noun
class EstimateLadder(Ladder, Result):
    """Estimates for several values of some options."""

    command: ClassVar[str] = "estimate"

    rows: tuple[EstimateRow, ...]


@noun
class CapacityLadder(Ladder, Result):
    """Capacities for several values of some options."""

    command: ClassVar[str] = "capacity"

    rows: tuple[CapacityRow, ...]


@noun
class ComparisonLadder(Ladder, Result):
    """Comparisons for several values of some options."""

    command: ClassVar[str] = "compare"

    rows: tuple[ComparisonRow, ...]


def several_of(options: Mapping[str, Any], axes: tuple[str, ...]) -> dict[str, Sequence[Any]]:
    """The options that have more than one value, each with its values, in the order of `axes`.

    Raises:
        KvcalcError: a list or range that cannot be, or more rows than one looks at.
    """
    given = ((name, axis_values(name, options[name])) for name in axes if options.get(name) is not None)
    found = {name: values for name, values in given if len(values) > 1}
    number = prod(map(len, found.values()))
    if number > MAX_ROWS:
        label = " x ".join(f"--{name.replace('_', '-')}" for name in found)
        raise KvcalcError(f"{label}: {number:,} rows are more than {MAX_ROWS:,}; kvcalc sweep writes as many to a file")
    return found


def answers(
    answer: Callable[[Mapping[str, Any]], Any], several: Mapping[str, Sequence[Any]]
) -> Iterator[tuple[dict[str, int | str], Any]]:
    """Each point and its answer; the last of the options changes fastest.

    Args:
        answer: to the values of one point.
        several: the values of each option.

    Raises:
        KvcalcError: what one of them raises, with the point named unless all points have the same mistake.
    """
    points = [dict(zip(several, values, strict=True)) for values in product(*several.values())]
    found: list[Any] = []
    for point in points:
        try:
            found.append(answer(point))
        except KvcalcError as error:
            found.append(error)
    wrong = [(point, each) for point, each in zip(points, found, strict=True) if isinstance(each, KvcalcError)]
    if wrong:
        point, mistake = wrong[0]
        if len(wrong) < len(points) or any(each.args != mistake.args for _, each in wrong):
            first, *others = mistake.args
            mistake.args = (f"{named(point)}: {first}", *others)
        raise mistake
    return zip(points, found, strict=True)


def most_sequences(ladder: CapacityLadder) -> CapacityRow:
    """The row with the most sequences of all replicas, the first of several."""

    def number(row: CapacityRow) -> float:
        sequences = row.result.total.sequences
        return inf if sequences is None else sequences

    return max(ladder.rows, key=number)


def named(axes: Mapping[str, Any]) -> str:
    """'batch 8, context 4,096'."""
    return ", ".join(f"{name.replace('_', '-')} {shown(value)}" for name, value in axes.items())


def shown(value: Any) -> str:
    """A value of an axis, for people."""
    return f"{value:,}" if isinstance(value, int) else str(value)
