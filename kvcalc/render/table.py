"""A view for people, drawn by rich: on a terminal as wide as it is, elsewhere as wide as it needs to be."""

from __future__ import annotations

import io

from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from kvcalc.render.view import Align, Grid, Lines, Row, Verbatim, View, Weight

_UNLIMITED = 100_000
_STYLE = {Weight.PLAIN: "", Weight.PART: "dim", Weight.MARKED: "bold", Weight.TOTAL: "bold"}


def draw(view: View, *, terminal: bool) -> str:
    """The view as text.

    Args:
        view: what to draw.
        terminal: whether it goes to one: then lines fold at its width, and there may be colour.
    """
    console = Console(
        file=io.StringIO(),
        force_terminal=terminal or None,
        width=None if terminal else _UNLIMITED,
        highlight=False,
        markup=False,
        emoji=False,
    )
    if len(view.blocks) == 1 and isinstance(view.blocks[0], Verbatim):
        return view.blocks[0].text
    width = console.width
    with console.capture() as capture:
        for index, block in enumerate(view.blocks):
            if index:
                console.print()
            match block:
                case Grid():
                    console.width = width if _least_width(block) <= width else _UNLIMITED
                    console.print(_table(block))
                    console.width = width
                case Lines(lines):
                    for line in lines:
                        console.print(Text(line, overflow="fold"))
                case Verbatim(text):
                    console.out(text, end="")
    return "".join(f"{line.rstrip()}\n" for line in capture.get().splitlines())


def _table(grid: Grid) -> Padding:
    table = Table(box=None, show_header=grid.has_header, header_style="bold", padding=(0, 2, 0, 0), pad_edge=False)
    for index, column in enumerate(grid.columns):
        numeric = column.align is Align.RIGHT
        table.add_column(
            Text(column.title),
            justify=column.align.value,
            no_wrap=numeric or (index == 0 and _ends_in_numbers(grid)),
            overflow="fold",
            min_width=min(16, max(map(_longest_word, grid.rows), default=0)) if index == 0 else None,
        )
    for row in grid.rows:
        if row.weight is Weight.TOTAL:
            table.add_row(*_rules(grid))
        table.add_row(*(Text(cell) for cell in row.cells), style=_STYLE[row.weight])
    return Padding(table, 0, expand=False)


def _ends_in_numbers(grid: Grid) -> bool:
    return bool(grid.columns) and grid.columns[-1].align is Align.RIGHT


def _least_width(grid: Grid) -> int:
    """Of a terminal that cuts no number of a table that ends in numbers; on a narrower one its lines run over.

    Of other tables the last column gives way.
    """
    if not _ends_in_numbers(grid):
        return 0
    width = 2 * len(grid.columns)
    for index, column in enumerate(grid.columns):
        texts = [column.title, *(row.cells[index] for row in grid.rows)]
        folds = index > 0 and column.align is Align.LEFT
        width += max(map(len, [word for text in texts for word in text.split()] if folds else texts), default=0)
    return width


def _longest_word(row: Row) -> int:
    """Of the first cell, with its indent: a name is not broken where a terminal is narrow."""
    cell = row.cells[0]
    return len(cell) - len(cell.lstrip()) + max(map(len, cell.split()), default=0)


def _rules(grid: Grid) -> list[str]:
    """A rule over the number that is a sum."""
    column = next(index for index, column in enumerate(grid.columns) if column.align is Align.RIGHT)
    widest = max(len(row.cells[column]) for row in grid.rows)
    return ["-" * widest if index == column else "" for index in range(len(grid.columns))]
