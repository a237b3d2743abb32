"""The two tables of a comparison: what each row keeps, and what it does on GPUs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvcalc.deployment import Deployment
from kvcalc.render.screens.decode import shown
from kvcalc.render.screens.question import MOST_KINDS_SHOWN
from kvcalc.render.view import Column, Grid, Row, Weight, right
from kvcalc.units import format_size

if TYPE_CHECKING:
    from kvcalc.verbs.comparing.result import ComparedRow, Comparison

VARIED = {"mechanism": "if it were", "model": "model", "format": "cache in", "engine": "engine"}
"""The title of the first column, by what is varied."""

_NOT_KNOWN = "-"


def caches_grid(result: Comparison, unit: str) -> Grid:
    """What each row keeps.

    A column of states is there only where some row has one; of bytes saved where formats are compared.
    """
    columns = [
        Column(", ".join(VARIED[each] for each in result.varies)),
        Column("keeps", drop=2),
        right("elements", drop=1),
        right("bytes/token"),
    ]
    if with_states(result):
        columns.append(right(f"state, {unit}"))
    columns.append(right(f"cache, {unit}"))
    columns.append(right(_last_column(result, unit)))
    return Grid(tuple(columns), tuple(_cache(result, row, unit) for row in result.rows))


def _last_column(result: Comparison, unit: str) -> str:
    if "engine" in result.varies:
        return "of the formula"
    return f"saved, {unit}" if "format" in result.varies else "of mha"


def with_states(result: Comparison) -> bool:
    """Whether some row keeps a state."""
    return any(row.state_bytes_per_sequence for row in result.rows)


def _cache(result: Comparison, row: ComparedRow, unit: str) -> Row:
    cells = [
        _name(result, row),
        _kept(row),
        _count(row.elements_per_token_per_layer),
        f"{row.bytes_per_token:,}",
    ]
    if with_states(result):
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
    own = result.model is not None and result.is_own(row) and row.name != result.model.name
    return f"{row.name} (own)" if own else row.name


def _weight(result: Comparison, row: ComparedRow) -> Weight:
    return Weight.MARKED if result.is_own(row) else Weight.PLAIN


def gpus_grid(result: Comparison) -> Grid:
    """What each row does on the GPUs that rows are compared on."""
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
