"""A view for people, drawn by rich: as wide as the terminal; elsewhere prose alone folds."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from shutil import get_terminal_size

from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

from kvcalc.render.bar import bar_lines
from kvcalc.render.view import Bar, Command, Grid, Line, Lines, Span, Tone, Verbatim, View, Weight, lines_of
from kvcalc.render.widths import GAP, Layout, folded, layout

WIDTH_OF_FILES = 120
"""Where prose folds that goes to a file or a pipe."""

_WIDEST = 100
"""A second sentence stands no further to the right."""

_UNLIMITED = 100_000
_TRAILING = re.compile(r"(?:\x1b\[[\d;]*m\s+\x1b\[0m|\s)+$|\s+(?=\x1b\[0m$)")
"""Space at the end of a line, in a style or without one."""

_WORD = re.compile(r"\s*\S+\s*")

_STYLE = {Weight.PLAIN: "", Weight.PART: "dim", Weight.MARKED: "bold", Weight.TOTAL: "bold"}
STYLES = {
    Tone.PLAIN: "",
    Tone.STRONG: "bold",
    Tone.FAINT: "dim",
    Tone.GOOD: "bold green",
    Tone.CLOSE: "bold yellow",
    Tone.BAD: "bold red",
    Tone.HINT: "cyan",
}
"""Colours of the terminal's own palette, which it shows well on light and dark."""


def draw(view: View, *, terminal: bool) -> str:
    """The view as text.

    Args:
        view: what to draw.
        terminal: whether it goes to one: then there may be colour, and columns that have no space are left out.
    """
    if len(view.blocks) == 1 and isinstance(view.blocks[0], Verbatim):
        return view.blocks[0].text
    width = max(1, min(get_terminal_size().columns, _UNLIMITED)) if terminal else _width_of_file(view)
    console = Console(
        file=io.StringIO(),
        force_terminal=terminal or None,
        width=_UNLIMITED,
        height=25,  # without one a dumb terminal counts as 80 columns wide
        highlight=False,
        markup=False,
        emoji=False,
    )
    with console.capture() as capture:
        for index, block in enumerate(view.blocks):
            if index and not isinstance(block, Bar):
                console.print()
            match block:
                case Grid():
                    _print_grid(console, block, width, terminal=terminal)
                case Lines(lines):
                    for line in lines:
                        _print_line(console, line, width, terminal=terminal)
                case Bar():
                    for spans in bar_lines(block, min(width, _WIDEST)):
                        console.print(_text(spans))
                case Verbatim(text):
                    console.out(text, end="")
    return "".join(_TRAILING.sub("", line) + "\n" for line in capture.get().splitlines())


def _width_of_file(view: View) -> int:
    return WIDTH_OF_FILES if view.prose else _UNLIMITED


def _text(spans: tuple[Span, ...]) -> Text:
    return Text.assemble(*((span.text, STYLES[span.tone]) for span in spans))


def _print_line(console: Console, line: str | Line | Command, width: int, *, terminal: bool) -> None:
    """A sentence, folded between words; a command that can be typed as it stands, also where it is folded."""
    match line:
        case str():
            _print_folded(console, Text(line), width)
        case Command(command):
            label = Text("next: ", style=STYLES[Tone.HINT])
            if terminal and len(label) + len(command) > width:
                command = " \\\n  ".join(each.plain for each in _folded(Text(command), width - len(label) - 2))
            console.print(label + Text(command))
        case Line(spans, aside):
            text = _text(spans)
            gap = min(width, _WIDEST) - text.cell_len - cell_len(aside)
            if aside and gap >= GAP:
                console.print(text + Text(" " * gap + aside))
            else:
                _print_folded(console, text, width)
                if aside:
                    _print_folded(console, Text(aside), width)


def _print_folded(console: Console, text: Text, width: int) -> None:
    for line in _folded(text, width):
        console.print(line)


def _folded(text: Text, width: int) -> Iterator[Text]:
    """Lines that break between words only: one that is longer than a line, such as a link, stays whole."""
    breaks, used = [], 0
    for word in _WORD.finditer(text.plain):
        if used and used + cell_len(word[0].rstrip()) > width:
            breaks.append(word.start())
            used = 0
        used += cell_len(word[0])
    for line in text.divide(breaks):
        line.rstrip()
        yield line


def _print_grid(console: Console, grid: Grid, width: int, *, terminal: bool) -> None:
    """As a table, or as a list where that has no space. In a file every column stays, however wide it is."""
    found = layout(grid, width, drops=terminal)
    if found is None and not terminal:
        found = layout(grid, _UNLIMITED, drops=False)
    if found is None:
        for line in _list(grid, width):
            console.print(line)
    else:
        console.print(_table(found))


def _table(found: Layout) -> Table:
    grid, widths = found
    table = Table(box=None, show_header=grid.has_header, header_style="bold", padding=(0, GAP, 0, 0), pad_edge=False)
    for column, width in zip(grid.columns, widths, strict=True):
        table.add_column(Text(column.title), justify=column.align.value, overflow="fold", width=width)
    for row in grid.rows:
        cells = (
            "\n".join(each for line in lines_of(cell) for each in folded(line, size, at_commas=column.at_commas))
            for cell, column, size in zip(row.cells, grid.columns, widths, strict=True)
        )
        table.add_row(*map(Text, cells), style=STYLES[row.tone] or _STYLE[row.weight])
    return table


def _list(grid: Grid, width: int) -> Iterator[Text]:
    """A row under the other, and each of its cells on lines of its own, behind its column's title."""
    if grid.columns[0].title:
        yield from (Text(each, style="bold") for each in folded(grid.columns[0].title, width))
    for row in grid.rows:
        indent = " " * (2 + len(row.cells[0]) - len(row.cells[0].lstrip()))
        for index, (column, cell) in enumerate(zip(grid.columns, row.cells, strict=True)):
            label = "" if index == 0 else f"{indent}{column.title}: " if column.title else indent
            for line in lines_of(cell) if cell else ():
                style = STYLES[row.tone] or _STYLE[row.weight]
                yield from (Text(each, style=style) for each in folded(f"{label}{line}", width))
