"""How a comparison looks: the answer, then caches, then GPUs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvcalc.record import contents
from kvcalc.render import Report
from kvcalc.render.screens.answer import size
from kvcalc.render.screens.articles import sayings_blocks
from kvcalc.render.screens.compare_grids import caches_grid, gpus_grid, with_states
from kvcalc.render.screens.compare_tree import trees
from kvcalc.render.screens.decode import shown
from kvcalc.render.screens.ending import next_line, not_modelled_line, not_modelled_list
from kvcalc.render.screens.question import question_grid, workload
from kvcalc.render.view import Block, Command, Grid, Line, Lines, Row, Span, Tone, View

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from kvcalc.verbs.comparing.result import Comparison


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
    yield caches_grid(result, unit)
    if any(row.by_memory is not None for row in result.rows):
        yield gpus_grid(result)
    yield _question(result, unit)


def _answer(result: Comparison, unit: str) -> Iterator[str | Line]:
    """The model as it is against multi-head attention, or the smallest against the largest."""
    least = min(result.rows, key=lambda row: row.cache_bytes)
    own = next((row for row in result.rows if result.is_own(row)), None)
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


_SEVERAL = {
    ("model",): "models",
    ("format",): "formats of the cache",
    ("engine",): "engines",
    ("format", "engine"): "rows",
}


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


def legend(result: Comparison) -> Iterator[str]:
    """What the columns are, where their titles do not tell."""
    states = "; state: of a sequence, whatever its context" if with_states(result) else ""
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
