"""The picture of GPUs, or of what they cost, against sequences: a staircase for each accelerator."""

from __future__ import annotations

from bisect import bisect_right
from itertools import pairwise
from typing import TYPE_CHECKING, Any, NamedTuple

from kvcalc.charts.chart import Axis, LineChart, Point, Scale, Series
from kvcalc.errors import KvcalcError, one_line
from kvcalc.scenario.axes import axis_values
from kvcalc.verbs.plotting.lines import at_most, in_common, names_of
from kvcalc.verbs.plotting.shared import (
    Drawn,
    answered,
    engines,
    refusals,
    refuse_without_values,
    scale_of,
    subtitle,
    told,
)
from kvcalc.verbs.sweeping.columns import ERROR

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from fractions import Fraction

    from kvcalc.verbs.plotting.lines import Line

DEFAULT_BATCHES = tuple(2**each for each in range(9))
_FOUND = ("tp", "pp", "dp", "ep", "dcp", "dp_attention", "gpus")
_MOST_LOOKS = 4096
"""Batches of one line that are looked at between those given."""


def gpus_chart(lines: Sequence[Line], given: Mapping[str, Any], prices: Mapping[str, Fraction]) -> LineChart:
    """GPUs of the smallest deployment, or USD an hour, against the sequences that are held.

    Between the batches given, each step stands where the count changes: looked for by halves. More sequences need no
    fewer GPUs as long as the smallest deployment is of one kind; pipeline stages may be fewer GPUs than the
    tensor-parallel size of a node that they come after.

    Raises:
        KvcalcError: an option sets the deployment, which is looked for; nothing holds any of the batches.
    """
    for name in _FOUND:
        if given.get(name):
            raise KvcalcError(f"--{name.replace('_', '-')}: plot gpus finds the deployments; leave it out")
    batches = at_most(axis_values("batch", given["batch"]) if "batch" in given else DEFAULT_BATCHES, "--batch")
    drawn = [_drawn(line, batches, prices) for line in lines]
    refuse_without_values([point for each in drawn for point in each.points])
    names, common = names_of([each.line for each in drawn]), in_common([each.line for each in drawn])
    scale = scale_of([batch for batch in batches if isinstance(batch, int)])
    gaps = [note for each, name in zip(drawn, names, strict=True) for note in refusals(name, each.points, "batch")]
    result = next(each.result for each in drawn if each.result is not None)
    context = "" if "context" in common else f"{result.workload.context:,} tokens each"
    said = [words for key, words in common.items() if key not in {"model", "engine"}]
    y = "USD an hour" if prices else "GPUs of the smallest deployment"
    value = Scale.LINEAR if scale is Scale.LINEAR else Scale.LOG10 if prices else Scale.LOG2
    return LineChart(
        title=f"{'USD an hour' if prices else 'GPUs'} against sequences"
        + (f": {common['model']}" if "model" in common else ""),
        subtitle=subtitle(*said, context, engines([each.result for each in drawn])),
        x=Axis("sequences held at the same time", "sequences", scale),
        y=Axis(y, "USD" if prices else "GPUs", value),
        series=tuple(Series(name, each.points, steps=True) for name, each in zip(names, drawn, strict=True)),
        notes=told(gaps),
    )


class _Row(NamedTuple):
    """The smallest deployment at a batch: its kind is 0 of tensor parallelism alone, 1 with stages, 2 of replicas."""

    gpus: int | None
    kind: int
    why: str


def _drawn(line: Line, batches: Sequence[Any], prices: Mapping[str, Fraction]) -> Drawn:
    rows = dict(zip(batches, _rows(line, batches), strict=True))
    ordered = sorted(batch for batch in rows if isinstance(batch, int))
    if not ordered:
        raise KvcalcError(next(row.why for row in rows.values()))
    looks = 0
    for before, after in pairwise(ordered):
        looks += _between(line, rows, before, after, _MOST_LOOKS - looks)
    last = max((batch for batch in ordered if rows[batch].gpus is not None), default=None)
    result = None if last is None else answered(line.scenario(last, line.context))
    price = None if result is None else prices.get(result.gpus.gpu)
    if prices and result is not None and price is None:
        rows = {batch: _Row(None, 0, f"no price of {result.gpus.gpu} is given (--price)") for batch in rows}
    points = [
        Point(batch, None if row.gpus is None else row.gpus * (price if price is not None else 1), row.why)
        for batch, row in sorted((batch, row) for batch, row in rows.items() if isinstance(batch, int))
    ]
    return Drawn(line, tuple(points), result)


def _rows(line: Line, batches: Sequence[Any]) -> list[_Row]:
    columns = line.columns(("gpus_count", "gpus_pp", "gpus_dp"), batches, [line.context])
    found = []
    for count, pp, dp, error in zip(
        *(columns[name] for name in ("gpus_count", "gpus_pp", "gpus_dp", ERROR)), strict=True
    ):
        kind = 0 if count is None else 2 if dp > 1 else int(pp > 1)
        why = one_line(error) if error else "" if count is not None else "no legal deployment holds them"
        found.append(_Row(count, kind, why))
    return found


def _between(line: Line, rows: dict[Any, _Row], before: int, after: int, looks: int) -> int:
    """Add the first batch of each count between two batches, and say how many were looked at."""
    known, done = {before: rows[before], after: rows[after]}, 0

    def row(batch: int) -> _Row:
        nonlocal done
        if batch not in known:
            done += 1
            known[batch] = _rows(line, [batch])[0]
        return known[batch]

    def same(batch: int) -> bool:
        return row(batch)[:2] == row(before)[:2]

    while not same(after) and done < looks:
        step = before + bisect_right(range(before, after), 0, key=lambda batch: not same(batch))
        if row(step).gpus != row(before).gpus:
            rows[step] = row(step)
        before = step
    return done
