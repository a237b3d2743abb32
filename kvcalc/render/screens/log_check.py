"""How a start-up log looks beside what is predicted: figure by figure, and the options that make them equal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvcalc.record import keys
from kvcalc.render import Report
from kvcalc.render.screens.ending import next_line
from kvcalc.render.screens.question import question_grid
from kvcalc.render.screens.tree import term_rows
from kvcalc.render.view import Column, Command, Grid, Line, Lines, Row, Span, Tone, View, Weight, right
from kvcalc.units import format_size, with_unit
from kvcalc.verbs.log_check.result import TOKENS, LogRow

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kvcalc.verbs.log_check.result import LogCheck

_BYTES = "bytes"
_SHOWN_ELSEWHERE = {"--gpu", "--gpu-memory", "--engine", "--context", "--utilization", "--tp", "--pp", "--dp", "--dcp"}
"""Settings that the lines above tell."""
_DIGITS = 4
"""Of a difference: a hundredth of a percent."""


def log_check_report(result: LogCheck, unit: str, *, explain: bool, command: str) -> Report:
    """One log: a line of CSV for each figure."""
    return Report(
        result,
        result.rows,
        lambda: _view(result, unit, explain=explain, command=command),
        result.notes,
        keys(LogRow),
        unit,
    )


def _view(result: LogCheck, unit: str, *, explain: bool, command: str) -> View:
    blocks: list[Grid | Lines] = [
        Lines((_verdict(result), *_server(result))),
        question_grid(result.question, unit),
        _rows(result, unit),
        Lines(tuple(_answers(result, unit, explain=explain, command=command))),
    ]
    if explain:
        rows = tuple(term_rows(result.at_limit, 0))
        blocks.append(Grid((Column("term"), right("bytes"), Column("formula"), Column("in numbers")), rows))
    return View(tuple(blocks))


def _verdict(result: LogCheck) -> Line:
    return Line((Span(result.verdict, Tone.BAD if result.differs else Tone.GOOD),))


def _server(result: LogCheck) -> Iterator[str]:
    """What the log says that its server was started with."""
    version = f" {result.log.version}" if result.log.version else ""
    options = (each for each in result.settings if each.option not in _SHOWN_ELSEWHERE)
    told = [f"{each.option.removeprefix('--')} {each.value}" for each in options]
    yield f"a log of {result.log.engine}{version}: {', '.join([str(result.deployment), *told])}"


def _rows(result: LogCheck, unit: str) -> Grid:
    columns = (Column(f"{unit}, where it is memory"), right("printed"), right("predicted"), right("off"), Column("why"))
    return Grid(columns, tuple(_row(row, unit) for row in result.rows))


def _row(row: LogRow, unit: str) -> Row:
    predicted = _number(row.predicted, row.unit, unit)
    if row.predicted_low != row.predicted_high:
        low, high = (_number(each, row.unit, unit) for each in (row.predicted_low, row.predicted_high))
        predicted = predicted if low == high else f"{predicted} ({low} to {high})"
    off = "" if row.difference is None else f"{round(row.difference, _DIGITS) or 0.0:+.2%}"
    marked = Weight.MARKED if row.name == TOKENS else Weight.PLAIN
    cells = (row.name, _number(row.printed, row.unit, unit), predicted, off, with_unit(row.why or "", unit))
    return Row(cells, marked)


def _number(value: float | None, counts: str, unit: str) -> str:
    if value is None:
        return ""
    if counts == _BYTES:
        return f"-{format_size(-round(value), unit)}" if value < 0 else format_size(round(value), unit)
    return f"{value:,}" if isinstance(value, int) else f"{value:,.2f}"


def _answers(result: LogCheck, unit: str, *, explain: bool, command: str) -> Iterator[str | Command]:
    exact = result.exact
    if exact.pool:
        held = "" if exact.tokens is None else f": {exact.tokens:,} tokens"
        yield f"{'as printed with' if exact.as_printed else 'nearest:'} {' '.join(exact.pool)}{held}"
    if exact.as_printed and "--overhead" in exact.parts and result.deployment.pp == 1:
        yield with_unit(f"or with {' '.join(exact.parts)}", unit)
    yield from next_line(command, explain=explain)
