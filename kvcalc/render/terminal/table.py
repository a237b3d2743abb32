"""A view for people: as wide as the terminal; elsewhere prose alone folds."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from itertools import zip_longest
from shutil import get_terminal_size

from kvcalc.errors import one_line
from kvcalc.render.terminal.bar import bar_lines
from kvcalc.render.terminal.cells import cell_len, padded
from kvcalc.render.terminal.colour import has_colours, painted
from kvcalc.render.terminal.widths import GAP, Layout, folded, layout
from kvcalc.render.view import Align, Bar, Command, Grid, Line, Lines, Row, Span, Tone, Verbatim, View, Weight, lines_of

WIDTH_OF_FILES = 120
"""Where prose folds that goes to a file or a pipe."""

_WIDEST = 100
"""A second sentence stands no further to the right."""

_UNLIMITED = 100_000
_WORD = re.compile(r"\s*\S+\s*")

_TONES = {Weight.PLAIN: Tone.PLAIN, Weight.PART: Tone.FAINT, Weight.MARKED: Tone.STRONG, Weight.TOTAL: Tone.STRONG}
_CODES = {
    Tone.PLAIN: "",
    Tone.STRONG: "1",
    Tone.FAINT: "2",
    Tone.GOOD: "1;32",
    Tone.CLOSE: "1;33",
    Tone.BAD: "1;31",
    Tone.HINT: "36",
}
"""Colours of the terminal's own palette, which it shows well on light and dark."""

Drawn = tuple[Span, ...]
"""A line of the screen."""


def draw(view: View, *, terminal: bool, colours: bool | None = None) -> str:
    """The view as text.

    Args:
        view: what to draw.
        terminal: whether it goes to one: then there may be colour, and columns that have no space are left out.
        colours: whether there are colours; None: as the environment has it.
    """
    if len(view.blocks) == 1 and isinstance(view.blocks[0], Verbatim):
        return view.blocks[0].text
    width = max(1, min(get_terminal_size().columns, _UNLIMITED)) if terminal else _width_of_file(view)
    colours = has_colours(terminal=terminal) if colours is None else colours
    written = []
    for index, block in enumerate(view.blocks):
        if index and not isinstance(block, Bar):
            written.append("\n")
        if isinstance(block, Verbatim):
            written.append(block.text)
        else:
            written += [_written(line, colours=colours) for line in _drawn(block, width, terminal=terminal)]
    return "".join(written)


def _width_of_file(view: View) -> int:
    return WIDTH_OF_FILES if view.prose else _UNLIMITED


def _written(line: Drawn, *, colours: bool) -> str:
    """Without space at its end."""
    spans = [Span(one_line(span.text), span.tone) for span in line]
    while spans and not spans[-1].text.strip():
        spans.pop()
    if spans:
        spans[-1] = spans[-1]._replace(text=spans[-1].text.rstrip())
    return "".join(painted(span.text, _CODES[span.tone]) if colours else span.text for span in spans) + "\n"


def _drawn(block: Grid | Lines | Bar, width: int, *, terminal: bool) -> Iterable[Drawn]:
    match block:
        case Grid():
            return _grid(block, width, terminal=terminal)
        case Lines(lines):
            return (drawn for line in lines for drawn in _line(line, width, terminal=terminal))
        case Bar():
            return bar_lines(block, min(width, _WIDEST))


def _line(line: str | Line | Command, width: int, *, terminal: bool) -> Iterator[Drawn]:
    """A sentence, folded between words; a command that can be typed as it stands, also where it is folded."""
    match line:
        case str():
            yield from _folded((Span(line),), width)
        case Command(command):
            label = Span("next: ", Tone.HINT)
            parts = [command]
            if terminal and len(label.text) + cell_len(command) > width:
                parts = [_text(part) for part in _folded((Span(command),), width - len(label.text) - 2)]
            for index, part in enumerate(parts):
                end = " \\" if index < len(parts) - 1 else ""
                yield (*((Span("  "),) if index else (label,)), Span(part + end))
        case Line(spans, aside):
            gap = min(width, _WIDEST) - cell_len(_text(spans)) - cell_len(aside)
            if aside and gap >= GAP:
                yield (*spans, Span(" " * gap + aside))
            else:
                yield from _folded(spans, width)
                yield from _folded((Span(aside),), width) if aside else ()


def _text(line: Drawn) -> str:
    return "".join(span.text for span in line)


def _folded(line: Drawn, width: int) -> Iterator[Drawn]:
    """Lines that break between words only: one that is longer than a line, such as a link, stays whole."""
    text, start, used = _text(line), 0, 0
    for word in _WORD.finditer(text):
        if used and used + cell_len(word[0].rstrip()) > width:
            yield _cut_out(line, start, word.start())
            start, used = word.start(), 0
        used += cell_len(word[0])
    yield _cut_out(line, start, len(text))


def _cut_out(line: Drawn, start: int, end: int) -> Drawn:
    """The letters from one place to another, without space at their end."""
    found, at = [], 0
    for span in line:
        found.append(span._replace(text=span.text[max(0, start - at) : max(0, end - at)]))
        at += len(span.text)
    while found and not found[-1].text.rstrip():
        found.pop()
    return tuple(found[:-1]) + ((found[-1]._replace(text=found[-1].text.rstrip()),) if found else ())


def _grid(grid: Grid, width: int, *, terminal: bool) -> Iterator[Drawn]:
    """As a table, or as a list where that has no space. In a file every column stays, however wide it is."""
    found = layout(grid, width, drops=terminal)
    if found is None and not terminal:
        found = layout(grid, _UNLIMITED, drops=False)
    return _list(grid, width) if found is None else _table(found)


def _table(found: Layout) -> Iterator[Drawn]:
    grid, widths = found
    columns = [*zip(grid.columns, widths, strict=True)]

    def drawn(cells: Iterable[Iterable[str]], tone: Tone) -> Iterator[Drawn]:
        for lines in zip_longest(*cells, fillvalue=""):
            shown = (
                padded(line, size, right=column.align is Align.RIGHT)
                for line, (column, size) in zip(lines, columns, strict=True)
            )
            yield (Span((" " * GAP).join(shown), tone),)

    if grid.has_header:
        titles = [[*folded(column.title, size)] for column, size in columns]
        most = max(map(len, titles))
        yield from drawn(([""] * (most - len(lines)) + lines for lines in titles), Tone.STRONG)
    for row in grid.rows:
        cells = (
            [each for line in lines_of(cell) for each in folded(line, size, at_commas=column.at_commas)]
            for cell, (column, size) in zip(row.cells, columns, strict=True)
        )
        yield from drawn(cells, _tone(row))


def _tone(row: Row) -> Tone:
    return _TONES[row.weight] if row.tone is Tone.PLAIN else row.tone


def _list(grid: Grid, width: int) -> Iterator[Drawn]:
    """A row under the other, and each of its cells on lines of its own, behind its column's title."""
    if grid.columns[0].title:
        yield from ((Span(each, Tone.STRONG),) for each in folded(grid.columns[0].title, width))
    for row in grid.rows:
        indent = " " * (2 + len(row.cells[0]) - len(row.cells[0].lstrip()))
        for index, (column, cell) in enumerate(zip(grid.columns, row.cells, strict=True)):
            label = "" if index == 0 else f"{indent}{column.title}: " if column.title else indent
            for line in lines_of(cell) if cell else ():
                yield from ((Span(each, _tone(row)),) for each in folded(f"{label}{line}", width))
