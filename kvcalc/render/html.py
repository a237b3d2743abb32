"""A view as HTML, for notebooks: tables and lines, with no style of its own but alignment and weight."""

from __future__ import annotations

from html import escape

from kvcalc.render.view import Bar, Block, Grid, Lines, Row, Verbatim, View, Weight, lines_of

_BOLD = {Weight.MARKED, Weight.TOTAL}


def write(view: View) -> str:
    """The view as tables, paragraphs and preformatted text, in one element."""
    return f"<div>\n{''.join(_block(block) for block in view.blocks)}</div>\n"


def _block(block: Block) -> str:
    match block:
        case Verbatim(text):
            return f"<pre>{escape(text)}</pre>\n"
        case Lines(lines):
            return f"<p>{'<br>'.join(escape(str(line)) for line in lines)}</p>\n"
        case Bar():
            return f"<p>{escape(str(block))}</p>\n"
        case Grid():
            header = _line(block, Row(tuple(column.title for column in block.columns)), "th")
            head = f"<thead>\n{header}</thead>\n" if block.has_header else ""
            body = "".join(_line(block, row, "td") for row in block.rows)
            return f"<table>\n{head}<tbody>\n{body}</tbody>\n</table>\n"


def _line(grid: Grid, row: Row, cell: str) -> str:
    cells = (
        f'<{cell} style="text-align: {column.align.value}">{_text(text, row)}</{cell}>'
        for column, text in zip(grid.columns, row.cells, strict=True)
    )
    return f"<tr>{''.join(cells)}</tr>\n"


def _text(cell: str, row: Row) -> str:
    indent = len(cell) - len(cell.lstrip(" "))
    text = "&nbsp;" * indent + "<br>".join(escape(line.strip(" ")) for line in lines_of(cell))
    return f"<b>{text}</b>" if text and row.weight in _BOLD else text
