"""How wide the columns of a grid are: as their cells, or narrower where the line is, but no cell is ever cut."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.cells import cell_len

from kvcalc.render.view import Align

if TYPE_CHECKING:
    from kvcalc.render.view import Grid

GAP = 2
"""Spaces after each column."""

_LONGEST_UNBROKEN = 16
"""Longer words may fold in the middle: links do."""


def column_widths(grid: Grid, width: int) -> list[int] | None:
    """Each column's width; words fold, numbers do not. None where the line has no room for that."""
    widths = [max(cell_len(text) for text in _texts(grid, index)) for index in range(len(grid.columns))]
    least = [_least(grid, index, natural) for index, natural in enumerate(widths)]
    room = width - GAP * len(widths)
    if sum(least) > room:
        return None
    while sum(widths) > room:
        widest = max((index for index in range(len(widths)) if widths[index] > least[index]), key=widths.__getitem__)
        widths[widest] -= 1
    return widths


def ends_in_numbers(grid: Grid) -> bool:
    """Whether its last column is one of numbers."""
    return bool(grid.columns) and grid.columns[-1].align is Align.RIGHT


def _least(grid: Grid, index: int, natural: int) -> int:
    """Of a column of numbers, or of names before such columns, all; else the longest word, with its indent."""
    if grid.columns[index].align is Align.RIGHT or (index == 0 and ends_in_numbers(grid)):
        return natural
    words = (
        len(text) - len(text.lstrip()) + cell_len(word) for text in _texts(grid, index) for word in text.split() or [""]
    )
    return min(_LONGEST_UNBROKEN, max(words), natural)


def _texts(grid: Grid, index: int) -> list[str]:
    return [grid.columns[index].title, *(row.cells[index] for row in grid.rows)]
