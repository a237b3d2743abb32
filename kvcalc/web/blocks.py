"""A view as plain data, which the page draws: lines, grids and bars, each text as the screen has it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, assert_never

from kvcalc.errors import one_line
from kvcalc.render.view import Bar, Grid, Lines, Span, Tone, Verbatim, lines_of
from kvcalc.render.view import Line as ViewLine

if TYPE_CHECKING:
    from kvcalc.render.view import Block, Command

Data = dict[str, Any]

WHOLE = 1000
"""The length of a bar."""


def block_data(block: Block) -> Data:
    """A block, with its kind."""
    match block:
        case Lines(lines):
            return {"kind": "lines", "lines": [line_data(line) for line in lines]}
        case Grid():
            return {"kind": "grid", **_grid(block)}
        case Bar(parts):
            return {"kind": "bar", "words": one_line(str(block)), "parts": _parts(block) if parts else []}
        case Verbatim(text):
            return {"kind": "verbatim", "text": text}
        case _:
            assert_never(block)


def line_data(line: str | ViewLine | Command) -> Data:
    """A sentence in spans, each with its tone, and a second one beside it."""
    if isinstance(line, ViewLine):
        return {"spans": [_span(span) for span in line.spans], "aside": one_line(line.aside)}
    return {"spans": [_span(Span(str(line)))], "aside": ""}


def _span(span: Span) -> Data:
    return {"text": one_line(span.text), "tone": span.tone.value}


def _grid(grid: Grid) -> Data:
    """Cells as lists of lines; a first cell's indent says how deep its row stands in a tree."""
    columns = [{"title": column.title, "align": column.align.value} for column in grid.columns]
    rows = [
        {
            "cells": [[line.strip() for line in lines_of(cell)] for cell in row.cells],
            "depth": (len(row.cells[0]) - len(row.cells[0].lstrip(" "))) // 2,
            "weight": row.weight.value,
            "tone": row.tone.value,
        }
        for row in grid.rows
    ]
    return {"columns": columns, "rows": rows, "header": grid.has_header}


def _parts(bar: Bar) -> list[Data]:
    """Where each part begins and how long it is, of `WHOLE`; what is too much lies over the end of the others."""
    whole = sum(part.size for part in bar.parts if part.tone is not Tone.BAD) or 1
    found, before = [], 0
    for part in bar.parts:
        if part.tone is Tone.BAD:
            before -= part.size
        start, before = before, before + part.size
        found.append(
            {
                "name": part.name,
                "bytes": part.size,
                "figure": part.figure,
                "tone": part.tone.value,
                "start": WHOLE * start // whole,
                "length": WHOLE * before // whole - WHOLE * start // whole,
            }
        )
    return found
