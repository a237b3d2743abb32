"""A view as HTML, for notebooks: tables, lines and bars, in the colour of the page's own text, light or dark."""

from __future__ import annotations

from html import escape

from kvcalc.errors import one_line
from kvcalc.render.view import Bar, Block, Grid, Lines, Row, Verbatim, View, Weight, lines_of

_LIGHTEST = 0.12
_BOLD = {Weight.MARKED, Weight.TOTAL}


def write(view: View, notes: tuple[str, ...] = ()) -> str:
    """The view as tables, paragraphs and preformatted text, and the notes below them, in one element."""
    told = (Lines(tuple(f"note: {one_line(each)}" for each in notes)),) if notes else ()
    return f"<div>\n{''.join(_block(block) for block in (*view.blocks, *told))}</div>\n"


def _block(block: Block) -> str:
    match block:
        case Verbatim(text):
            return f"<pre>{escape(text)}</pre>\n"
        case Lines(lines):
            return f"<p>{'<br>'.join(escape(str(line)) for line in lines)}</p>\n"
        case Bar():
            return bar(block)
        case Grid():
            header = _line(block, Row(tuple(column.title for column in block.columns)), "th")
            head = f"<thead>\n{header}</thead>\n" if block.has_header else ""
            body = "".join(_line(block, row, "td") for row in block.rows)
            return f"<table>\n{head}<tbody>\n{body}</tbody>\n</table>\n"


def bar(block: Bar) -> str:
    """Lengths in shades of the text's colour; what is left of the whole stays empty. Its words say the same."""
    whole = sum(part.size for part in block.parts) or 1
    shades = (f"opacity: {max(_LIGHTEST, 0.9 - 0.25 * index):.2f}" for index in range(len(block.parts)))
    pieces = "".join(
        f'<span style="flex: {100 * part.size / whole:.1f}; height: 0.7em; background: currentColor; {shade}"></span>'
        for part, shade in zip(block.parts, shades, strict=True)
        if part.size > 0
    )
    return (
        f'<div style="display: flex; max-width: 40em" aria-hidden="true">{pieces}</div>\n<p>{escape(str(block))}</p>\n'
    )


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
