"""Blocks of a view as HTML of a page: headers of rows and columns, tones as classes, addresses as links."""

from __future__ import annotations

import re
from html import escape
from typing import TYPE_CHECKING

from kvcalc.errors import one_line
from kvcalc.render.html import bar
from kvcalc.render.view import Align, Bar, Command, Grid, Line, Lines, Tone, Verbatim, Weight, lines_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kvcalc.render.view import Block, Column, Row

_ADDRESS = re.compile(
    r"https://(?:[a-z0-9-]+\.)+[a-z]{2,}(?:/[\w./~%#?=&+@,:-]*[\w/])?(?![\w:@])", re.ASCII | re.IGNORECASE
)
"""Of a public server: no other scheme, user, port or bare number."""

_WEIGHTS = {Weight.TOTAL: "total", Weight.MARKED: "marked", Weight.PART: "part", Weight.PLAIN: ""}


def block_html(block: Block, about: str) -> str:
    """A block.

    Args:
        block: which.
        about: the section that it stands in, for those who hear the page.
    """
    match block:
        case Verbatim(text):
            return f'<pre tabindex="0">{escape(text)}</pre>\n'
        case Lines(lines):
            return "".join(_lines(lines))
        case Bar():
            return bar(block)
        case Grid():
            return _table(block, about)


def linked(text: str) -> str:
    """A text with the addresses of public servers in it as links, and nothing else as markup."""
    pieces, start = [], 0
    for found in _ADDRESS.finditer(text):
        address = escape(found.group())
        pieces += [escape(text[start : found.start()]), f'<a href="{address}" rel="noreferrer">{address}</a>']
        start = found.end()
    return "".join(pieces) + escape(text[start:])


def _lines(lines: tuple[str | Line | Command, ...]) -> Iterator[str]:
    """Items that begin with a dash are a list; any other line is a paragraph."""
    items: list[str] = []
    for each in lines:
        text = one_line(each) if isinstance(each, str) else ""
        if text.startswith("- "):
            items.append(f"<li>{linked(text.removeprefix('- '))}</li>\n")
            continue
        yield from _list(items)
        items = []
        match each:
            case Command(command):
                yield f'<p>next:</p>\n<pre tabindex="0">{escape(one_line(command))}</pre>\n'
            case Line(spans, aside):
                words = "".join(_span(one_line(span.text), span.tone) for span in spans)
                yield f"<p>{words}{f'; {linked(one_line(aside))}' if aside else ''}</p>\n"
            case _:
                yield f"<p>{linked(text)}</p>\n"
    yield from _list(items)


def _list(items: list[str]) -> Iterator[str]:
    if items:
        yield f"<ul>\n{''.join(items)}</ul>\n"


def _span(text: str, tone: Tone) -> str:
    return linked(text) if tone is Tone.PLAIN else f'<span class="{tone.value}">{linked(text)}</span>'


def _table(grid: Grid, about: str) -> str:
    """What is wider than the screen moves within its own frame, which the keyboard reaches."""
    titles = "".join(_title(column) for column in grid.columns)
    head = f"<thead>\n<tr>{titles}</tr>\n</thead>\n" if grid.has_header else ""
    body = "".join(_row(grid, row) for row in grid.rows)
    table = f"<table>\n<caption>{escape(about)}</caption>\n{head}<tbody>\n{body}</tbody>\n</table>\n"
    return f'<div class="wide" role="region" aria-label="{escape(about)}" tabindex="0">\n{table}</div>\n'


def _title(column: Column) -> str:
    number = ' class="number"' if column.align is Align.RIGHT else ""
    return f'<th scope="col"{number}>{escape(column.title)}</th>' if column.title else f"<td{number}></td>"


def _row(grid: Grid, row: Row) -> str:
    """The first cell that says anything names the row."""
    named = next((index for index, cell in enumerate(row.cells) if cell.strip()), 0)
    cells = "".join(
        f"<{'th scope=' + chr(34) + 'row' + chr(34) if index == named else 'td'}"
        f"{_class(column, text)}>{_cell(text)}</{'th' if index == named else 'td'}>"
        for index, (column, text) in enumerate(zip(grid.columns, row.cells, strict=True))
    )
    kind = _WEIGHTS[row.weight] or (row.tone.value if row.tone is not Tone.PLAIN else "")
    return f"<tr{f' class={chr(34)}{kind}{chr(34)}' if kind else ''}>{cells}</tr>\n"


def _class(column: Column, text: str) -> str:
    depth = (len(text) - len(text.lstrip(" "))) // 2
    names = [*(["number"] if column.align is Align.RIGHT else []), *([f"in{min(depth, 6)}"] if depth else [])]
    return f' class="{" ".join(names)}"' if names else ""


def _cell(text: str) -> str:
    return "<br>".join(linked(line.strip(" ")) for line in lines_of(text))
