"""How a demand looks: what is held at each point of its distribution, the GPUs for it, and a picture over time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kvcalc.render import Report
from kvcalc.render.screens.answer import size
from kvcalc.render.screens.decode import shown
from kvcalc.render.screens.ending import next_line, not_modelled_line, not_modelled_list
from kvcalc.render.screens.question import count, question_grid
from kvcalc.render.view import Column, Command, Grid, Line, Lines, Row, Span, Tone, View, Weight, right
from kvcalc.units import format_size
from kvcalc.verbs.demand.result import POINTS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kvcalc.render.view import Block
    from kvcalc.verbs.demand.result import Demand, Point

COLUMNS = ("at", "cache_bytes", "tokens", "requests", "gpus", "batch", "context", "tp", "pp", "dp", "tight")
"""Of CSV."""
LEVELS = "▁▂▃▄▅▆▇█"
MINUTE, HOUR, DAY = 60, 3600, 86400
_SHOWN_AT = "p95"
"""The point that the first line tells beside the most."""


def demand_report(result: Demand, unit: str, *, explain: bool, command: str) -> Report:
    """One demand: a line of CSV for each point of the distribution.

    Args:
        result: the demand.
        unit: of sizes in tables.
        explain: whether to list what is not modelled.
        command: the estimate of the same model and formats, to which a workload is added.
    """
    return Report(
        result,
        tuple(_rows(result)),
        lambda: _view(result, unit, explain=explain, command=command),
        result.notes,
        COLUMNS,
        unit,
    )


def _rows(result: Demand) -> Iterator[dict[str, Any]]:
    points = {point.at: point for point in result.points}
    for at in POINTS:
        point = points.get(at)
        deployment = None if point is None else point.deployment
        yield {
            "at": at,
            "cache_bytes": getattr(result.cache, f"{at}_bytes"),
            "tokens": getattr(result.tokens, at),
            "requests": getattr(result.requests, at),
            "gpus": getattr(result.gpus, at),
            "batch": None if point is None else point.batch,
            "context": None if point is None else point.context,
            **{name: None if deployment is None else getattr(deployment, name) for name in ("tp", "pp", "dp")},
            "tight": None if point is None else point.tight,
        }


def _view(result: Demand, unit: str, *, explain: bool, command: str) -> View:
    blocks: list[Block] = [
        Lines((_answer(result, unit), *_picture(result, unit))),
        _points(result, unit),
        question_grid(result.question, unit),
        Lines((*_requests(result), *_prefix(result, unit), *_further(result, explain=explain, command=command))),
    ]
    if explain:
        blocks.extend(not_modelled_list(result.not_modelled, unit))
    return View(tuple(blocks))


def _answer(result: Demand, unit: str) -> Line:
    """'KV cache 12.10 GiB for 95 % of the time, 14.02 GiB at most: 2 x h100-sxm'."""
    most, usual = result.cache.max_bytes, result.cache.p95_bytes
    held = f"at most {size(usual, unit)} of cache 95 % of the time, {size(most, unit)} at its peak: "
    gpus = result.gpus.max
    if not result.points:
        return Line((Span(held, Tone.STRONG), Span("weights unknown", Tone.CLOSE)))
    if gpus is None:
        return Line((Span(held, Tone.STRONG), Span("nothing legal holds it", Tone.BAD)))
    last = result.points[-1]
    tone = Tone.CLOSE if last.tight else Tone.GOOD
    cards = f"{gpus:,} x {result.gpus.gpu}{' (tight)' if last.tight else ''}"
    fewer = result.gpus.p95
    aside = f"{fewer:,} {'hold' if fewer > 1 else 'holds'} it 95 % of the time" if fewer and fewer < gpus else ""
    return Line((Span(held, Tone.STRONG), Span(cards, tone)), aside)


def _picture(result: Demand, unit: str) -> Iterator[str]:
    """The peaks of equal parts of the time, as blocks of eight heights: as wide as a narrow terminal."""
    most = max(result.peaks.bytes) or 1
    blocks = "".join(LEVELS[min(7, 8 * each // (most + 1))] if each else " " for each in result.peaks.bytes)
    each = _duration(result.peaks.seconds_each)
    yield blocks
    yield f"the most in each {each}; the highest is {size(most, unit)}"


def _points(result: Demand, unit: str) -> Grid:
    columns = (
        Column("of the time"),
        right(f"cache, {unit}"),
        right("tokens"),
        right("requests"),
        right("GPUs"),
        Column("deployment", drop=1, at_commas=True),
        Column("as much as", drop=2),
    )
    points = {point.at: point for point in result.points}
    return Grid(columns, tuple(_row(result, at, points.get(at), unit) for at in POINTS))


_NAMES = {"mean": "mean", "max": "most"}


def _row(result: Demand, at: str, point: Point | None, unit: str) -> Row:
    name = _NAMES.get(at) or f"{at.removeprefix('p')} % at most"
    tokens, requests = getattr(result.tokens, at), getattr(result.requests, at)
    gpus, how, alike = "?", "", ""
    if point is not None:
        gpus = "none" if point.count is None else f"{point.count:,}"
        how = "" if point.deployment is None else f"{point.deployment}{', tight' if point.tight else ''}"
        alike = f"{point.batch:,} x {count(point.context, 'token')}"
    cells = (
        name,
        format_size(getattr(result.cache, f"{at}_bytes"), unit),
        f"{tokens:,.0f}",
        f"{requests:,.2f}" if at == "mean" else f"{requests:,}",
        gpus,
        how,
        alike,
    )
    return Row(cells, Weight.MARKED if at == _SHOWN_AT else Weight.PLAIN)


def _requests(result: Demand) -> Iterator[str]:
    trace, pace = result.trace, result.pace
    drawn = "drawn at" if trace.arrivals == "poisson" else "arriving at"
    yield (
        f"{count(trace.requests, 'request')} ({trace.format}) in {_duration(trace.seconds)}, {drawn} "
        f"{shown(trace.requests_per_second)} a second; on average "
        f"{trace.input_tokens / trace.requests:,.0f} tokens in, {trace.output_tokens / trace.requests:,.0f} out"
    )
    bound = ", the bound of one alone" if pace.is_bound else ""
    waits = (
        f"; {pace.concurrency:,} at most at once: they wait {_duration(pace.mean_wait_seconds)} on average, "
        f"{_duration(pace.max_wait_seconds)} at most"
        if pace.concurrency is not None
        else ""
    )
    yield (
        f"each decodes {pace.tokens_per_second:,.4g} tokens a second{bound}, and holds its cache for "
        f"{_duration(pace.mean_seconds)} on average{waits}"
    )


def _prefix(result: Demand, unit: str) -> Iterator[str]:
    hits = result.prefix
    if hits is not None:
        where = "what requests leave" if hits.capacity_bytes is None else size(hits.capacity_bytes, unit)
        yield (
            f"prefix hits: {hits.hit_rate:.1%} of the prompts' tokens from {where}, {hits.unbounded_hit_rate:.1%} if "
            "nothing were dropped"
        )


def _further(result: Demand, *, explain: bool, command: str) -> Iterator[str | Line | Command]:
    yield from not_modelled_line(result.not_modelled, explain=explain)
    if result.points and command and not explain:
        most = result.points[-1]
        yield from next_line(f"{command} -b {most.batch} -c {most.context}")


def _duration(seconds: float) -> str:
    """'2.5 s', '3.0 min', '1.2 h', '4.0 days'."""
    for length, name in ((DAY, "days"), (HOUR, "h"), (MINUTE, "min")):
        if seconds >= 2 * length:
            return f"{seconds / length:,.1f} {name}"
    return f"{seconds:,.3g} s"
