"""Where a comparison's figures come from: for each row its formula, its cache as a tree of terms, and what follows."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvcalc.render.screens.tree import term_rows
from kvcalc.render.view import Column, Grid, Lines, Row, right

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kvcalc.verbs.comparing.result import ComparedRow, Comparison


def trees(result: Comparison) -> Iterator[Grid | Lines]:
    """One table of all rows' terms, and the sources of the mechanisms."""
    rows = [line for row in result.rows for line in _row(result, row)]
    yield Grid((Column("term"), right("value"), Column("formula"), Column("in numbers")), tuple(rows))
    kinds = {attention.kind: attention for row in result.rows for attention in row.attentions}
    yield Lines(tuple(f"source of {kind}: {attention.source}" for kind, attention in kinds.items()))


def _row(result: Comparison, row: ComparedRow) -> Iterator[Row]:
    for attention in row.attentions:
        yield Row(
            (
                f"{row.name}: elements of {attention.label}",
                f"{attention.elements:,}",
                attention.formula,
                attention.formula_in_numbers,
            )
        )
    yield from term_rows(row.token_tree, 0, f"{row.name}: bytes a token")
    yield from term_rows(row.cache_tree, 0, f"{row.name}: cache")
    if row.ratio_to_mha is not None:
        yield Row(
            (
                f"{row.name}: of mha's",
                f"{row.ratio_to_mha:.6g}",
                "cache / cache of mha",
                f"{row.cache_bytes:,} / {row.mha_cache_bytes:,}",
            )
        )
    if row.by_memory is not None:
        yield Row(
            (
                f"{row.name}: GPUs by memory",
                f"{row.by_memory:,}",
                "ceil(total of one rank without splitting / usable)",
                f"ceil({row.unsplit_bytes:,} / {result.gpus.usable_bytes:,})",
            )
        )
    given = row.given
    if given.tokens_per_second_per_sequence is not None:
        yield Row(
            (
                f"{row.name}: tokens/s each",
                f"{given.tokens_per_second_per_sequence:.6g}",
                f"1 / seconds of a decode step, limited by {given.limited_by}",
                f"1 / {given.seconds_per_token:.6g}",
            )
        )
