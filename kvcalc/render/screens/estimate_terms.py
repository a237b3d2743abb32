"""The formulas of an estimate: every term in names and in numbers, where its figures are from, what is not modelled."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvcalc.render.screens.decode import decode_tree
from kvcalc.render.screens.ending import not_modelled_list
from kvcalc.render.screens.prefill import prefill_tree
from kvcalc.render.screens.tree import term_rows
from kvcalc.render.view import Block, Column, Grid, Lines, Row, right
from kvcalc.term import Product, Sum

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kvcalc.term import Term
    from kvcalc.verbs.estimate_result import Estimate, RankResult


def estimate_formulas(result: Estimate, unit: str) -> Iterator[Block]:
    """Every term with its formula and its source, and what is not modelled."""
    yield from estimate_terms(result)
    yield from not_modelled_list(result.not_modelled, unit)
    yield Lines(tuple(estimate_sources(result)))


def estimate_terms(result: Estimate) -> Iterator[Grid]:
    """Every term with its formula: of memory, of decoding, of the first token."""
    yield _tree(result, result.shown_rank)
    if result.decode is not None:
        yield decode_tree(result.decode)
    if result.prefill is not None:
        yield prefill_tree(result.prefill)


def estimate_sources(result: Estimate) -> Iterator[str]:
    """Where the figures of the terms are from."""
    yield from _sources(result.shown_rank.tree)
    yield from (f"source of {each.of}: {each.source}" for each in result.question.sources)


def _tree(result: Estimate, rank: RankResult) -> Grid:
    """Every term with its bytes, its formula in names and in numbers."""
    usable = result.gpus.usable_bytes
    rows = [
        *term_rows(rank.tree, 0),
        *term_rows(result.cache.tree, 0, f"cache of a replica ({result.deployment})"),
        Row(("usable", f"{usable:,}", *result.gpus.usable_formula)),
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
