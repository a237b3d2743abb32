"""How ladders look: the answer, then one table, a row for each point; of comparisons a row for each of their own."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from kvcalc.record import contents
from kvcalc.render import Report
from kvcalc.render.screens.answer import STATES
from kvcalc.render.screens.capacity import capacity_report
from kvcalc.render.screens.compare import compare_report
from kvcalc.render.screens.compare_grids import VARIED
from kvcalc.render.screens.estimate import estimate_report
from kvcalc.render.screens.question import count
from kvcalc.render.view import Align, Column, Command, Grid, Line, Lines, Row, Span, Tone, View, right
from kvcalc.units import format_size
from kvcalc.verbs.ladder import most_sequences, named, shown

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from kvcalc.verbs.ladder import CapacityLadder, ComparisonLadder, EstimateLadder

_NOT_KNOWN = "-"
_SAID = {"fits": "yes", "tight": "tight", "does not fit": "no", "weights unknown": "weights unknown"}
_UNBOUNDED = "unbounded"
_PLAIN: dict[str, Any] = {"explain": False, "command": ""}


def estimate_ladder_report(ladder: EstimateLadder, unit: str, *, command: str) -> Report:
    """Estimates: a line of CSV for each."""
    return _report(ladder, unit, estimate_report, lambda: _estimates(ladder, unit, command))


def capacity_ladder_report(ladder: CapacityLadder, unit: str, *, command: str) -> Report:
    """Capacities: a line of CSV for each."""
    return _report(ladder, unit, capacity_report, lambda: _capacities(ladder, unit, command))


def compare_ladder_report(ladder: ComparisonLadder, unit: str, *, command: str) -> Report:
    """Comparisons: a line of CSV for each of their rows."""
    return _report(ladder, unit, compare_report, lambda: _comparisons(ladder, unit, command))


def _report(ladder: Any, unit: str, of_one: Callable[..., Report], view: Callable[[], View]) -> Report:
    def lines() -> list[dict[str, Any]]:
        return [
            {**row.axes, **(line if isinstance(line, dict) else contents(line))}
            for row in ladder.rows
            for line in of_one(row.result, unit, **_PLAIN).lines
        ]

    return Report(ladder, lines, view, ladder.notes, unit=unit)


def _estimates(ladder: EstimateLadder, unit: str, command: str) -> View:
    results = [row.result for row in ladder.rows]
    rows = []
    for row in ladder.rows:
        answer, state = row.result.answer, _state(row.result.answer)
        known = answer.deployment is not None
        rows.append(
            Row(
                (
                    *map(shown, row.axes.values()),
                    format_size(row.result.cache.bytes, unit),
                    format_size(row.result.cache.bytes_per_sequence, unit),
                    _size(answer.bytes_per_gpu, unit),
                    f"{answer.gpus:,}" if known else _NOT_KNOWN,
                    str(answer.deployment) if known else _NOT_KNOWN,
                    _SAID[state],
                ),
                tone=Tone.PLAIN if state == "fits" else STATES[state],
            )
        )
    columns = (
        right(f"cache, {unit}"),
        right(f"each, {unit}", drop=3),
        right(f"{unit} per GPU", drop=2),
        right("GPUs"),
        Column("deployment", drop=1, at_commas=True),
        Column("fits"),
    )
    caches = _range(results, lambda result: result.cache.bytes, unit)
    states = Counter(_state(result.answer) for result in results)
    verdict, tone = f"{states['fits']:,} of {len(results):,} fit", Tone.CLOSE
    verdict += f", {states['tight']:,} only tightly" if states["tight"] else ""
    if states["fits"] == len(results):
        verdict, tone = "all fit", Tone.GOOD
    if states["weights unknown"]:
        verdict = "weights unknown"
    name = Span(f"{results[0].model.name}: ", Tone.STRONG)
    told = Line((name, Span(f"{caches} of cache; "), Span(verdict, tone)))
    return _view(ladder, told, columns, rows, command, _asked(ladder, results[0]))


def _state(answer: Any) -> str:
    if answer.fits is None:
        return "weights unknown"
    return "fits" if answer.fits else "tight" if answer.tight else "does not fit"


def _capacities(ladder: CapacityLadder, unit: str, command: str) -> View:
    results = [row.result for row in ladder.rows]
    rows = [
        Row(
            (
                *map(shown, row.axes.values()),
                _number(row.result.total.sequences),
                _number(row.result.total.tokens),
                _number(row.result.max_context),
                format_size(row.result.cache_memory_bytes, unit),
                f"{row.result.deployment.gpus:,}",
            ),
            tone=Tone.BAD if row.result.sequences == 0 else Tone.PLAIN,
        )
        for row in ladder.rows
    ]
    columns = (
        right("sequences"),
        right("tokens", drop=2),
        right("longest context", drop=1),
        right(f"for the cache, {unit}", drop=4),
        right("GPUs", drop=3),
    )
    most = most_sequences(ladder)
    number = most.result.total.sequences
    fit = f"{_number(number)} sequences of {count(most.result.workload.context, 'token')}"
    told = Line(
        (
            Span(f"{results[0].model.name}: ", Tone.STRONG),
            Span(f"at most {fit}", Tone.GOOD if number != 0 else Tone.BAD),
            Span(f", with {named(most.axes)}"),
        )
    )
    return _view(ladder, told, columns, rows, command, _asked(ladder, results[0]))


def _comparisons(ladder: ComparisonLadder, unit: str, command: str) -> View:
    results = [row.result for row in ladder.rows]
    rows = [
        Row(
            (
                *map(shown, row.axes.values()),
                each.name,
                f"{each.bytes_per_token:,}",
                format_size(each.cache_bytes, unit),
                _NOT_KNOWN if each.count is None else f"{each.count:,}",
                str(each.deployment) if each.deployment else _NOT_KNOWN,
            ),
        )
        for row in ladder.rows
        for each in row.result.rows
    ]
    columns = (
        Column(", ".join(VARIED[each] for each in results[0].varies), shorten=True),
        right("bytes/token", drop=3),
        right(f"cache, {unit}"),
        right("GPUs", drop=1),
        Column("deployment", drop=2, at_commas=True),
    )
    caches = _range([each for result in results for each in result.rows], lambda each: each.cache_bytes, unit)
    model = results[0].model
    names = ", ".join(dict.fromkeys(each.name for result in results for each in result.rows))
    what = names if model is None else f"{model.name}, {len(results[0].rows):,} ways to keep it"
    told = Line((Span(f"{what}: ", Tone.STRONG), Span(f"{caches} of cache", Tone.GOOD)))
    return _view(ladder, told, columns, rows, command, _asked(ladder, results[0]))


def _view(ladder: Any, told: Line, columns: tuple[Column, ...], rows: Sequence[Row], command: str, asked: str) -> View:
    numbers = {name for name in ladder.axes if all(isinstance(row.axes[name], int) for row in ladder.rows)}
    axes = (Column(name.replace("_", "-"), Align.RIGHT if name in numbers else Align.LEFT) for name in ladder.axes)
    grid = Grid((*axes, *columns), tuple(rows))
    return View((Lines((told, asked)), grid, Lines(tuple(_ending(ladder, command)))))


def _asked(ladder: Any, first: Any) -> str:
    """What all rows have, as far as it is not varied."""
    question, mixed = first.question, bool(first.workload.mix)
    parts = [] if "batch" in ladder.axes else [count(question.batch, "sequence")]
    if "context" not in ladder.axes:
        parts.append("requests of a mix, their cache on average" if mixed else count(question.context, "token"))
    parts += [] if "gpu" in ladder.axes or question.accelerator is None else [question.accelerator.gpu]
    parts += [] if "cache_dtype" in ladder.axes else [f"cache in {question.cache_dtype}"]
    parts += [] if "engine" in ladder.axes else [f"engine {question.engine}"]
    return f"each: {', '.join(parts)}"


def _ending(ladder: Any, command: str) -> Iterator[str | Line | Command]:
    own = sum(len(row.result.notes) for row in ladder.rows) - len(ladder.rows) * len(ladder.notes)
    if own:
        yield Line((Span(f"{count(own, 'note')} of single rows: --json has them", Tone.FAINT),))
    if command:
        yield Command(command)


def _range(results: Iterable[Any], of: Callable[[Any], int], unit: str) -> str:
    """'1.25 to 20.00 GiB'."""
    sizes = [of(each) for each in results]
    least, most = format_size(min(sizes), unit), format_size(max(sizes), unit)
    named_unit = "bytes" if unit == "B" else unit
    return f"{least} {named_unit}" if least == most else f"{least} to {most} {named_unit}"


def _size(bytes_: int | None, unit: str) -> str:
    return _NOT_KNOWN if bytes_ is None else format_size(bytes_, unit)


def _number(number: int | None) -> str:
    return _UNBOUNDED if number is None else f"{number:,}"
