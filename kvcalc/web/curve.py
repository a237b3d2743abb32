"""Memory of a GPU against context, as a picture: the deployment that an estimate shows, from short contexts to long."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kvcalc import api
from kvcalc.charts.chart import Axis, Level, LineChart, Point, Scale, Series
from kvcalc.charts.svg import svg
from kvcalc.errors import KvcalcError
from kvcalc.render.screens.answer import cards
from kvcalc.render.screens.question import count
from kvcalc.web.calculation import asked_of, shown_deployment

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kvcalc.verbs.estimate_result import Estimate

MOST_POINTS = 9
"""Each is an estimate of its own."""
SHORTEST = 256
"""Tokens: before that a cache is no more than a line along the bottom."""
NARROW, WIDE = 360, 720
"""Widths of a picture, whose letters are the same."""


def curve(model: str | None, text: str | None, options: Mapping[str, str | None], *, narrow: bool) -> dict[str, Any]:
    """The picture of a scenario as SVG, and the context that is asked for.

    Raises:
        KvcalcError: anything that cannot be, with the option named.
    """
    found, given = asked_of(model, text, options)
    first = api.estimate(found, **given)
    fixed = shown_deployment(given, first)
    results = {context: _at(found, {**fixed, "context": context}) for context in _contexts(first)}
    whole = _series("all of it", results, total=True)
    series = [each for each in (whole, _series("cache", results, total=False)) if each is not None]
    answer = first.answer
    chart = LineChart(
        "Memory of a GPU against context",
        f"{cards(answer.deployment, answer.gpu)}, {count(first.workload.batch, 'sequence')}, "
        f"engine {first.question.engine}",
        Axis("context", "tokens", Scale.LOG2),
        Axis("memory of a GPU", "GiB"),
        tuple(series),
        (Level("usable", first.gpus.usable_bytes),),
    )
    return {"svg": svg(chart, NARROW if narrow else WIDE, styled=False), "context": first.workload.context}


def _contexts(first: Estimate) -> list[int]:
    """Powers of two up to the longest that the model takes, and the one that is asked for."""
    asked = first.workload.context
    longest = max(asked, first.scenario.model.max_context or 4 * asked)
    powers = [1 << bits for bits in range(SHORTEST.bit_length() - 1, longest.bit_length())][-MOST_POINTS:]
    return sorted({asked, longest, *powers})


def _at(model: Any, given: Mapping[str, Any]) -> Estimate | str:
    """The estimate of one context, or why there is none."""
    try:
        return api.estimate(model, **given)
    except KvcalcError as error:
        return str(error.args[0])


def _series(name: str, results: Mapping[int, Estimate | str], *, total: bool) -> Series | None:
    """A line; None where no point of it is known."""
    points = []
    for context, each in results.items():
        if isinstance(each, str):
            points.append(Point(context, None, each))
            continue
        rank = each.shown_rank
        points.append(Point(context, rank.total_bytes if total else rank.cache_bytes))
    return Series(name, tuple(points)) if any(point.y is not None for point in points) else None
