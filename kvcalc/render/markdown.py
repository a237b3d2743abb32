"""A view as Markdown, for issues and documents."""

from __future__ import annotations

import re

from kvcalc.errors import one_line
from kvcalc.render.view import Align, Bar, Block, Grid, Lines, Verbatim, View, Weight, lines_of

_INDENT = "&nbsp;&nbsp;"
_MARKUP = re.compile(r"[\\`*_\[\]<>&|~$]|^#")
_BOLD = {Weight.MARKED, Weight.TOTAL}


def write(view: View) -> str:
    """The view as Markdown tables and lines."""
    return "\n".join(write_block(block) for block in view.blocks)


def write_block(block: Block) -> str:
    """One block."""
    match block:
        case Verbatim(text, language):
            fence = "`" * max(3, 1 + max(map(len, re.findall("`+", text)), default=0))
            return f"{fence}{language}\n{text.rstrip()}\n{fence}\n"
        case Lines(lines):
            return "".join(f"{escaped(str(line))}  \n" for line in lines)
        case Bar():
            return f"{escaped(str(block))}  \n"
        case Grid(columns, rows):
            header = [escaped(column.title) for column in columns]
            rule = ["--:" if column.align is Align.RIGHT else "---" for column in columns]
            body = [_cells(row.cells, bold=row.weight in _BOLD) for row in rows]
            return "".join(f"| {' | '.join(cells)} |\n" for cells in (header, rule, *body))


def _cells(cells: tuple[str, ...], *, bold: bool) -> list[str]:
    texts = [_indented(cell) for cell in cells]
    return [f"**{text}**" if bold and text else text for text in texts]


def _indented(cell: str) -> str:
    spaces = len(cell) - len(cell.lstrip(" "))
    return _INDENT * (spaces // 2) + "<br>".join(escaped(line.strip()) for line in lines_of(cell))


def escaped(text: str) -> str:
    """Text that says what it says: no markup, link or HTML, wherever it is from."""
    return _MARKUP.sub(r"\\\g<0>", one_line(text))
