"""What pictures have in common: how their axes lie, what stands below the title, notes, and what is refused."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from kvcalc.charts.chart import Scale
from kvcalc.errors import KvcalcError
from kvcalc.verbs.estimate import estimate

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kvcalc.charts.chart import Number, Point
    from kvcalc.scenario import Scenario
    from kvcalc.verbs.estimate_result import Estimate
    from kvcalc.verbs.plotting.lines import Line

_FAR = 8
"""Values that are so many times apart lie on a logarithmic axis, unless their steps are equal."""

_MOST_NOTES = 8


class Drawn(NamedTuple):
    """A line with its points, and an estimate of one of them."""

    line: Line
    points: tuple[Point, ...]
    result: Estimate | None


def scale_of(values: Sequence[Number]) -> Scale:
    """Powers of two, or even."""
    if len(values) < 2 or min(values) <= 0 or max(values) < _FAR * min(values):  # noqa: PLR2004  # a first and a last
        return Scale.LINEAR
    return Scale.LINEAR if len(values) > 2 and values[1] - values[0] == values[-1] - values[-2] else Scale.LOG2  # noqa: PLR2004  # a third


def answered(scenario: Scenario) -> Estimate | None:
    """An estimate, or None where it is refused: the points say why."""
    try:
        return estimate(scenario)
    except KvcalcError:
        return None


def engines(results: Sequence[Estimate | None]) -> str:
    """'engine vllm 0.33.0'."""
    found = dict.fromkeys(
        f"{each.engine} {each.engine_version}" if each.engine_version else each.engine for each in results if each
    )
    return f"engine {', '.join(found)}" if found else ""


def subtitle(*parts: str) -> str:
    """What the picture is of, in one line."""
    return " · ".join(part for part in parts if part)


def told(notes: Sequence[str]) -> tuple[str, ...]:
    """Each note once, and not more than a reader looks at."""
    found = list(dict.fromkeys(note for note in notes if note))
    left = len(found) - _MOST_NOTES
    return (*found[:_MOST_NOTES], *((f"and {left:,} notes more",) if left > 0 else ()))


def refusals(name: str, points: Sequence[Point], unit: str) -> list[str]:
    """What is said of a line's gaps: each reason once, with where it holds."""
    reasons: dict[str, list[str]] = {}
    for point in points:
        if point.y is None:
            reasons.setdefault(point.note, []).append(f"{point.x:,}" if isinstance(point.x, int) else str(point.x))
    found = []
    for reason, places in reasons.items():
        where = places[0] if len(places) == 1 else f"{places[0]} to {places[-1]}"
        found.append(f"{name}, {unit} {where}: {reason}" if len(places) < len(points) else f"{name}: {reason}")
    return found


def refuse_without_values(points: Sequence[Point]) -> None:
    """Refuse a picture of nothing.

    Raises:
        KvcalcError: no point has a value; it says why the first has none.
    """
    if all(point.y is None for point in points):
        raise KvcalcError(next((point.note for point in points if point.note), "plot: there is no point to show"))
