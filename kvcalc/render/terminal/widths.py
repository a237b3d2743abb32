"""How wide the columns of a grid are, and which of them are shown: no number and no word is ever cut.

Prose folds between words; then the columns that matter least are left out; then names end in an ellipsis.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from kvcalc.render.terminal.cells import cell_len, cut
from kvcalc.render.view import Align, Column, Grid, Row, lines_of

if TYPE_CHECKING:
    from collections.abc import Iterator

GAP = 2
"""Spaces after each column."""

_UNITS = {False: re.compile(r"\s*\S+\s*"), True: re.compile(r"\s*[^,]+(?:, |,?$)")}
"""What is not folded: a word, or what stands between commas."""

_LEAST_SHORTENED = 12
"""Letters that stay of a name that is shortened."""

_LEAST_PROSE = 20
"""Text folds at no less than this, as long as another column can be left out instead."""


class Layout(NamedTuple):
    """The columns that are shown, each with its width."""

    grid: Grid
    widths: list[int]


def layout(grid: Grid, width: int, *, drops: bool) -> Layout | None:
    """The grid as a line of this width holds it; None where it must be a list.

    Args:
        grid: all of it.
        width: of a line.
        drops: whether columns may be left out and names shortened.
    """
    grids = [grid, *(_dropped(grid) if drops else ())]
    for least_prose in (_LEAST_PROSE, 1):
        for each in grids:
            if (widths := _folded(each, width, least_prose)) is not None:
                return Layout(each, widths)
    return _shortened(grids[-1], width) if drops else None


def _dropped(grid: Grid) -> Iterator[Grid]:
    """The grid without its least important columns, then without the next."""
    for drop in sorted({column.drop for column in grid.columns} - {0}, reverse=True):
        yield (grid := _without(grid, [column.drop == drop for column in grid.columns]))


def _folded(grid: Grid, width: int, least_prose: int) -> list[int] | None:
    """Each column's width; words fold between letters never, numbers not at all."""
    widths = [max(map(cell_len, _lines(grid, index))) for index in range(len(grid.columns))]
    least = [_least(grid, index, natural, least_prose) for index, natural in enumerate(widths)]
    space = width - GAP * (len(widths) - 1)
    if sum(least) > space:
        return None
    while sum(widths) > space:
        widest = max((index for index in range(len(widths)) if widths[index] > least[index]), key=widths.__getitem__)
        widths[widest] -= 1
    return widths


def _least(grid: Grid, index: int, natural: int, least_prose: int) -> int:
    """Of a column of numbers, or of names before such columns, all; else the longest word, with its indent."""
    last_is_number = grid.columns[-1].align is Align.RIGHT
    if grid.columns[index].align is Align.RIGHT or (index == 0 and last_is_number):
        return natural
    at_commas = grid.columns[index].at_commas
    words = (
        cell_len(_indent(text)) + cell_len(word.strip())
        for text in _lines(grid, index)
        for word in _UNITS[at_commas].findall(text) or [""]
    )
    return min(natural, max(least_prose, *words))


def folded(text: str, width: int, *, at_commas: bool = False) -> Iterator[str]:
    """Lines that break between words, or behind commas; what cannot break is as long as it is.

    Args:
        text: one line; the others are indented as it is.
        width: of the lines.
        at_commas: where to break.
    """
    if cell_len(text) <= width:
        yield text
        return
    indent = _indent(text)
    if len(indent) + _LEAST_PROSE > width:
        indent = ""
    line = ""
    for word in _UNITS[at_commas].findall(text):
        if line.strip() and cell_len(line) + cell_len(word.rstrip()) > width:
            yield line.rstrip()
            line = indent
            word = word.lstrip()  # noqa: PLW2901  # what began the line
        line += word
    yield line.rstrip()


def _indent(text: str) -> str:
    """Space as wide as that at the beginning of a text."""
    return " " * (len(text) - len(text.lstrip(" ")))


def _shortened(grid: Grid, width: int) -> Layout | None:
    """Names that may end in an ellipsis do."""
    index = next((at for at, column in enumerate(grid.columns) if column.shorten), None)
    if index is None:
        return None
    natural = max(map(cell_len, _lines(grid, index)))
    for size in range(natural - 1, _LEAST_SHORTENED - 1, -1):
        rows = tuple(
            row._replace(cells=tuple(cut(cell, size) if at == index else cell for at, cell in enumerate(row.cells)))
            for row in grid.rows
        )
        shorter = Grid(grid.columns, rows)
        if (widths := _folded(shorter, width, 1)) is not None:
            return Layout(shorter, widths)
    return None


def _without(grid: Grid, dropped: list[bool]) -> Grid:
    def kept(cells: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(cell for cell, gone in zip(cells, dropped, strict=True) if not gone)

    columns: tuple[Column, ...] = tuple(column for column, gone in zip(grid.columns, dropped, strict=True) if not gone)
    return Grid(columns, tuple(Row(kept(row.cells), row.weight, row.tone) for row in grid.rows))


def _lines(grid: Grid, index: int) -> Iterator[str]:
    yield grid.columns[index].title
    for row in grid.rows:
        yield from lines_of(row.cells[index])
