"""How an estimate looks: what was asked, where every byte of a GPU goes, and how many GPUs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvcalc.render.decode import decode_lines, decode_tree
from kvcalc.render.ending import next_line, not_modelled_line
from kvcalc.render.question import count, question_grid
from kvcalc.render.rank import rank_rows, total_row
from kvcalc.render.rounding import spare_words
from kvcalc.render.tree import term_rows
from kvcalc.render.view import Column, Grid, Lines, Row, View, right
from kvcalc.term import Product, Sum
from kvcalc.units import format_size, with_unit

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kvcalc.term import Term
    from kvcalc.verbs.estimate_result import Estimate, RankResult


def estimate_view(result: Estimate, unit: str, *, explain: bool = False, command: str = "") -> View:
    """The screen of one estimate.

    Args:
        result: to be shown.
        unit: of sizes.
        explain: whether the tree of terms stands below it.
        command: that was typed, to be continued.
    """
    rank = shown_rank(result)
    blocks: list[Grid | Lines] = [
        question_grid(result.question, unit),
        _rank_grid(result, rank, unit),
        Lines(tuple(_answers(result, unit, explain=explain, command=command))),
    ]
    if explain:
        blocks.append(_tree(result, rank))
        if result.decode is not None:
            blocks.append(decode_tree(result.decode))
        blocks.append(
            Lines((*_sources(rank.tree), *(f"source of {each.of}: {each.source}" for each in result.question.sources)))
        )
    return View(tuple(blocks))


def shown_rank(result: Estimate) -> RankResult:
    """The rank of the deployment asked for, else of the smallest that holds the workload."""
    asked = result.question.deployment is not None
    return result.memory.per_rank if asked or result.gpus.per_rank is None else result.gpus.per_rank


def _rank_grid(result: Estimate, rank: RankResult, unit: str) -> Grid:
    columns = (Column(_headline(result)), right(f"{unit} per GPU"), right("of which"), Column("formula"))
    rows = list(rank_rows(rank.tree, result.temporary_seen, unit))
    if rank.total_bytes is None:
        rows.insert(0, Row(("weights", "?", "", "not known")))
        rows.append(Row(("total", "?", "", "needs the weights")))
    else:
        total = total_row(rank.total_bytes, result.gpus.usable_bytes, unit)
        rows.append(_with_the_least(total, rank, result.gpus.usable_bytes, unit))
    return Grid(columns, tuple(rows))


def _with_the_least(total: Row, rank: RankResult, usable: int, unit: str) -> Row:
    least = rank.least_headroom_bytes
    if least is None or least == rank.headroom_bytes:
        return total
    on_the_fullest = f"{spare_words(usable - least, usable, unit)} on the fullest stage"
    return total._replace(cells=(*total.cells[:-1], f"{total.cells[-1]}; {on_the_fullest}"))


def _headline(result: Estimate) -> str:
    """'4 GPUs (tp 4): fits'."""
    answer = result.answer
    return f"{count(answer.gpus, 'GPU')} ({answer.deployment}): {answer.state}"


def _answers(result: Estimate, unit: str, *, explain: bool, command: str) -> Iterator[str]:
    gpus = result.gpus
    yield with_unit(_cache_line(result), unit)
    if gpus.by_memory is not None:
        yield f"GPUs: {gpus.by_memory:,} by memory alone, {_smallest(result)}"
    if gpus.most_sequences:
        each = " \u00b7 ".join(f"{count(most.gpus, 'GPU')} {most.sequences:,}" for most in gpus.most_sequences)
        usual = format_size(result.memory.per_rank.temporary_bytes, unit)
        yield f"most sequences of {result.workload.context:,} tokens, at {usual} {unit} temporary: {each}"
    if result.spill is not None:
        yield with_unit(
            f"spill: {result.spill.bytes_per_rank:,} bytes of a GPU's cache go to the host's memory, "
            f"{result.spill.bytes:,} bytes of a replica",
            unit,
        )
    if result.decode is not None:
        yield from decode_lines(result.decode, unit)
    yield not_modelled_line(result.not_modelled, unit)
    yield from next_line(command, explain=explain)


def _cache_line(result: Estimate) -> str:
    """The cache in bytes, and what a token adds; of one copy where no deployment is asked for."""
    cache, asked = result.cache, result.question.deployment
    token = f"{cache.bytes_per_token:,} bytes a token"
    if cache.bytes_per_token_at_context != cache.bytes_per_token:
        token += f" until windows are full, then {cache.bytes_per_token_at_context:,} bytes"
    if cache.state_bytes_per_sequence:
        token += f", and {cache.state_bytes_per_sequence:,} bytes a sequence whatever its context"
    if asked is None or asked.gpus == 1:
        return f"cache: {cache.bytes:,} bytes; {token}"
    if cache.bytes == cache.one_copy_bytes:
        return f"cache: {cache.bytes:,} bytes on the {count(asked.ranks, 'GPU')} of a replica; on one of them {token}"
    return (
        f"cache: {cache.bytes:,} bytes on the {count(asked.ranks, 'GPU')} of a replica, {cache.one_copy_bytes:,} bytes "
        f"in one copy; on one of them {token}"
    )


def _smallest(result: Estimate) -> str:
    gpus = result.gpus
    if gpus.deployment is None:
        return "no legal deployment holds it"
    tight = ", tight" if gpus.count_tight else ""
    return f"{gpus.count:,} in the smallest legal deployment ({gpus.deployment}{tight})"


def _tree(result: Estimate, rank: RankResult) -> Grid:
    """Every term with its bytes, its formula in names and in numbers."""
    usable = result.gpus.usable_bytes
    rows = [
        *term_rows(rank.tree, 0),
        *term_rows(result.cache.tree, 0, f"cache of a replica ({result.deployment})"),
        Row(
            (
                "usable",
                f"{usable:,}",
                *result.gpus.usable_formula,
            )
        ),
    ]
    if result.gpus.by_memory is not None:
        rows.append(
            Row(
                (
                    "GPUs by memory",
                    f"{result.gpus.by_memory:,}",
                    "ceil(total of one rank without splitting / usable)",
                    f"ceil({result.gpus.unsplit_bytes:,} / {result.gpus.unsplit_usable_bytes:,})",
                )
            )
        )
    return Grid((Column("term"), right("bytes"), Column("formula"), Column("in numbers")), tuple(rows))


def _sources(term: Term) -> Iterator[str]:
    match term:
        case Product(path=path, source=source) if source:
            yield f"source of {path}: {source}"
        case Sum(parts=parts):
            for part in parts:
                yield from _sources(part)
