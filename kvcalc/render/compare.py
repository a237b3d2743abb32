"""How a comparison looks: the answer, then caches, then GPUs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvcalc.deployment import Deployment
from kvcalc.record import contents
from kvcalc.render import Report
from kvcalc.render.answer import size
from kvcalc.render.articles import sayings_blocks
from kvcalc.render.compare_tree import trees
from kvcalc.render.decode import shown
from kvcalc.render.ending import next_line, not_modelled_line, not_modelled_list
from kvcalc.render.question import MOST_KINDS_SHOWN, question_grid, workload
from kvcalc.render.view import Block, Column, Command, Grid, Line, Lines, Row, Span, Tone, View, Weight, right
from kvcalc.units import format_size

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from kvcalc.verbs.comparing.result import ComparedRow, Comparison

_NOT_KNOWN = "-"


def compare_report(result: Comparison, unit: str, *, explain: bool, command: str, articles: bool = False) -> Report:
    """One comparison: CSV has a line for each row; with --explain, for each leaf of its cache.

    Args:
        result: the comparison.
        unit: of sizes in tables.
        explain: whether the tree of terms stands below it.
        command: to type next.
        articles: whether to show what articles say of the mechanisms.
    """
    lines: list[Any] = [
        {**contents(row), "batch": result.workload.batch, "context": result.workload.context} for row in result.rows
    ]
    if explain:
        lines = [{"row": row.name, "term": term} for row in result.rows for term in row.terms]

    def view() -> View:
        return _view(result, unit, explain=explain, command=command, articles=articles)

    return Report(result, lines, view, result.notes, unit=unit)


def _view(result: Comparison, unit: str, *, explain: bool, command: str, articles: bool) -> View:
    blocks: list[Block] = [*compare_screen(result, unit)]
    if articles and result.sayings:
        blocks += sayings_blocks(result.sayings, result.contradictions, unit)
    if explain:
        blocks += trees(result)
        blocks += not_modelled_list(result.not_modelled, unit)
    blocks.append(Lines(tuple(_ending(result, explain=explain, command=command))))
    return View(tuple(blocks), prose=articles)


def compare_screen(result: Comparison, unit: str) -> Iterator[Block]:
    """The answer, caches, GPUs, the question; `legend` says what the columns are."""
    yield Lines(tuple(_answer(result, unit)))
    yield _caches(result, unit)
    if any(row.by_memory is not None for row in result.rows):
        yield _gpus(result)
    yield _question(result, unit)


def _answer(result: Comparison, unit: str) -> Iterator[str | Line]:
    """The model as it is against multi-head attention, or the smallest against the largest."""
    least = min(result.rows, key=lambda row: row.cache_bytes)
    own = next((row for row in result.rows if _is_own(result, row)), None)
    asked = workload(result.question)
    if own is not None and result.model is not None:
        ratio = None if own.ratio_to_mha is None else f"{shown(100 * own.ratio_to_mha)} %"
        whole = None if own.mha_cache_bytes is None else size(own.mha_cache_bytes, unit)
        aside = f"{ratio} of multi-head attention's {whole}" if ratio and whole else ""
        of = "" if own.name == result.model.name else f" as {own.name}"
        cache = Span(f"{size(own.cache_bytes, unit)} of cache{of}", Tone.GOOD)
        yield Line((Span(f"{result.model.name}: ", Tone.STRONG), cache), aside)
        other = "" if least is own else f"; the smallest would be {least.name}'s, {size(least.cache_bytes, unit)}"
        yield f"for {asked}{other}"
        return
    most = max(result.rows, key=lambda row: row.cache_bytes)
    smallest = Span(f"{size(least.cache_bytes, unit)} of cache", Tone.GOOD)
    if least.cache_bytes == most.cache_bytes:
        yield Line((Span("all rows: ", Tone.STRONG), smallest))
    else:
        aside = f"the least; {most.name} keeps the most, {size(most.cache_bytes, unit)}"
        yield Line((Span(f"{least.name}: ", Tone.STRONG), smallest), aside)
    yield f"for {asked}"


def _question(result: Comparison, unit: str) -> Grid:
    asked = question_grid(result.question, unit)
    if "mechanism" in result.varies:
        return asked
    what = f"{len(result.rows)} {_SEVERAL.get(result.varies, 'rows')} side by side"
    first = Row((what, "", f"engine {result.question.engine}"))
    if result.model is not None:
        first = Row((result.model.name, f"{result.model.layers} layers, {what}", f"engine {result.question.engine}"))
    if "engine" in result.varies:
        return Grid(asked.columns, (first._replace(cells=(*first.cells[:-1], "")),))
    return Grid(asked.columns, (first, *asked.rows[1:]))


def _caches(result: Comparison, unit: str) -> Grid:
    """A column of states only where some row has them; of bytes saved where formats are compared."""
    columns = [
        Column(", ".join(VARIED[each] for each in result.varies)),
        Column("keeps", drop=2),
        right("elements", drop=1),
        right("bytes/token"),
    ]
    if _with_states(result):
        columns.append(right(f"state, {unit}"))
    columns.append(right(f"cache, {unit}"))
    columns.append(right(_last_column(result, unit)))
    return Grid(tuple(columns), tuple(_cache(result, row, unit) for row in result.rows))


VARIED = {"mechanism": "if it were", "model": "model", "format": "cache in", "engine": "engine"}
_SEVERAL = {
    ("model",): "models",
    ("format",): "formats of the cache",
    ("engine",): "engines",
    ("format", "engine"): "rows",
}


def _last_column(result: Comparison, unit: str) -> str:
    if "engine" in result.varies:
        return "of the formula"
    return f"saved, {unit}" if "format" in result.varies else "of mha"


def _with_states(result: Comparison) -> bool:
    return any(row.state_bytes_per_sequence for row in result.rows)


def _cache(result: Comparison, row: ComparedRow, unit: str) -> Row:
    cells = [
        _name(result, row),
        _kept(row),
        _count(row.elements_per_token_per_layer),
        f"{row.bytes_per_token:,}",
    ]
    if _with_states(result):
        cells.append(format_size(row.state_bytes_per_sequence, unit))
    cells.append(format_size(row.cache_bytes, unit))
    if "engine" in result.varies:
        cells.append(f"{shown(100 * row.cache_bytes / row.content_bytes)} %" if row.content_bytes else _NOT_KNOWN)
    elif "format" in result.varies:
        cells.append(_saved(row, unit))
    else:
        cells.append(_NOT_KNOWN if row.ratio_to_mha is None else f"{shown(100 * row.ratio_to_mha)} %")
    return Row(tuple(cells), _weight(result, row))


def _saved(row: ComparedRow, unit: str) -> str:
    """'0.62 (50 %)'; below zero where a format takes more."""
    whole = row.cache_bytes + row.saved_bytes
    if not row.saved_bytes or not whole:
        return format_size(0, unit)
    sign = "-" if row.saved_bytes < 0 else ""
    return f"{sign}{format_size(abs(row.saved_bytes), unit)} ({shown(100 * row.saved_bytes / whole)} %)"


def _kept(row: ComparedRow) -> str:
    """'64/8 x 128': labels of what grows, else of states, without the mechanism that the row's name has."""
    kept = [attention for attention in row.attentions if attention.cached()]
    growing = [attention for attention in kept if attention.elements_per_token]
    labels = [*dict.fromkeys(attention.label for attention in growing or kept)]
    shortened = [(label.partition(" ")[2] or label).removeprefix("expanded ") for label in labels]
    more = len(shortened) - MOST_KINDS_SHOWN
    return "; ".join(shortened[:MOST_KINDS_SHOWN]) + (f"; {more} more" if more > 0 else "")


def _name(result: Comparison, row: ComparedRow) -> str:
    own = result.model is not None and _is_own(result, row) and row.name != result.model.name
    return f"{row.name} (own)" if own else row.name


def _weight(result: Comparison, row: ComparedRow) -> Weight:
    return Weight.MARKED if _is_own(result, row) else Weight.PLAIN


def _is_own(result: Comparison, row: ComparedRow) -> bool:
    """Whether the row is the model as it is, among rows that are not."""
    return "mechanism" in result.varies and row.own


def _gpus(result: Comparison) -> Grid:
    columns = (
        Column(f"on {result.gpus.gpu}"),
        Column("smallest legal"),
        Column("given GPUs", drop=2),
        right("sequences"),
        right("tokens/s", drop=1),
        right("in all", drop=3),
    )
    return Grid(columns, tuple(_gpu_row(result, row) for row in result.rows))


def _gpu_row(result: Comparison, row: ComparedRow) -> Row:
    given = row.given
    cells = (
        _name(result, row),
        _smallest(row),
        _deployment(given.deployment, tight=bool(given.tight)) if given.deployment else _NOT_KNOWN,
        _count(_most(row)),
        _rate(given.tokens_per_second_per_sequence),
        _rate(given.tokens_per_second),
    )
    return Row(cells, _weight(result, row))


def _most(row: ComparedRow) -> int | None:
    """Sequences on the given GPUs; where those are tight, as many as they hold so."""
    given = row.given
    return given.most_sequences if given.most_when_tight is None else given.most_when_tight


def _smallest(row: ComparedRow) -> str:
    if row.deployment is None:
        return _NOT_KNOWN if row.by_memory is None else "none"
    return _deployment(row.deployment, tight=bool(row.count_tight))


def _deployment(deployment: Deployment, *, tight: bool) -> str:
    return f"{deployment.gpus:,} ({deployment}{', tight' if tight else ''})"


def _count(value: int | None) -> str:
    return _NOT_KNOWN if value is None else f"{value:,}"


def _rate(value: float | None) -> str:
    return _NOT_KNOWN if value is None else shown(value)


def legend(result: Comparison) -> Iterator[str]:
    """What the columns are, where their titles do not tell."""
    states = "; state: of a sequence, whatever its context" if _with_states(result) else ""
    yield f"elements: of a token, in a layer that grows with its tokens{states}"
    if "engine" in result.varies:
        yield "of the formula: what the engine reserves against what its layers hold by the documented formulas"
    elif "format" in result.varies:
        yield "saved: against a cache in the model's dtype; what a format loses in quality is not modelled"
    if any(row.count_tight or row.given.tight for row in result.rows):
        yield "tight: fits, with those sequences, only if temporary memory is less than the most that was observed"
    if any(row.by_memory is not None for row in result.rows):
        yield "sequences: the most on the given GPUs; tokens/s: a bound of decoding there, not a prediction"


def _ending(result: Comparison, *, explain: bool, command: str) -> Iterator[str | Line | Command]:
    yield from legend(result)
    yield from not_modelled_line(result.not_modelled, explain=explain)
    yield from next_line(command, explain=explain)
