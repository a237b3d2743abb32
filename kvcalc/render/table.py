"""A view for people, drawn by rich: on a terminal as wide as it is, elsewhere as wide as it needs to be."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from shutil import get_terminal_size

from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from kvcalc.render.view import Align, Grid, Lines, Verbatim, View, Weight
from kvcalc.render.widths import GAP, column_widths, ends_in_numbers

_UNLIMITED = 100_000
_TRAILING = re.compile(r"(?:\x1b\[[\d;]*m\s+\x1b\[0m|\s)+$")
"""Space at the end of a line, in a style or without one."""

_STYLE = {Weight.PLAIN: "", Weight.PART: "dim", Weight.MARKED: "bold", Weight.TOTAL: "bold"}


def draw(view: View, *, terminal: bool) -> str:
    """The view as text.

    Args:
        view: what to draw.
        terminal: whether it goes to one: then lines fold at its width, and there may be colour.
    """
    if len(view.blocks) == 1 and isinstance(view.blocks[0], Verbatim):
        return view.blocks[0].text
    width = max(1, min(get_terminal_size().columns, _UNLIMITED)) if terminal else _UNLIMITED
    console = Console(
        file=io.StringIO(),
        force_terminal=terminal or None,
        width=width,
        height=25,  # without one a dumb terminal counts as 80 columns wide
        highlight=False,
        markup=False,
        emoji=False,
    )
    with console.capture() as capture:
        for index, block in enumerate(view.blocks):
            if index:
                console.print()
            match block:
                case Grid():
                    _print(console, block)
                case Lines(lines):
                    for line in lines:
                        console.print(Text(line, overflow="fold"))
                case Verbatim(text):
                    console.out(text, end="")
    return "".join(_TRAILING.sub("", line) + "\n" for line in capture.get().splitlines())


def _print(console: Console, grid: Grid) -> None:
    """As a table. Where that has no room, one that ends in numbers runs over the line; any other becomes a list."""
    width = console.width
    widths = column_widths(grid, width)
    if widths is None and ends_in_numbers(grid):
        console.width = _UNLIMITED
        widths = column_widths(grid, console.width)
    if widths is None:
        for line in _list(grid):
            console.print(line)
    else:
        console.print(_table(grid, widths))
    console.width = width


def _table(grid: Grid, widths: list[int]) -> Padding:
    table = Table(box=None, show_header=grid.has_header, header_style="bold", padding=(0, GAP, 0, 0))
    for column, width in zip(grid.columns, widths, strict=True):
        table.add_column(Text(column.title), justify=column.align.value, overflow="fold", width=width)
    for row in grid.rows:
        if row.weight is Weight.TOTAL:
            table.add_row(*_rules(grid))
        table.add_row(*(Text(cell) for cell in row.cells), style=_STYLE[row.weight])
    return Padding(table, 0, expand=False)


def _list(grid: Grid) -> Iterator[Text]:
    """A row under the other, and each of its cells on lines of its own, behind its column's title."""
    if grid.columns[0].title:
        yield Text(grid.columns[0].title, style="bold", overflow="fold")
    for row in grid.rows:
        indent = " " * (2 + len(row.cells[0]) - len(row.cells[0].lstrip()))
        for index, (column, cell) in enumerate(zip(grid.columns, row.cells, strict=True)):
            label = "" if index == 0 else f"{indent}{column.title}: " if column.title else indent
            if cell:
                yield Text(f"{label}{cell}", style=_STYLE[row.weight], overflow="fold")


def _rules(grid: Grid) -> list[str]:
    """A rule over the number that is a sum."""
    column = next(index for index, column in enumerate(grid.columns) if column.align is Align.RIGHT)
    widest = max(len(row.cells[column]) for row in grid.rows)
    return ["-" * widest if index == column else "" for index in range(len(grid.columns))]
