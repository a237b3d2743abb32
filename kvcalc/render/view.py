"""What a person sees, before it is a table or Markdown: grids of cells and lines of text."""

from __future__ import annotations

from enum import Enum
from typing import NamedTuple


class Align(Enum):
    LEFT = "left"
    RIGHT = "right"


class Weight(Enum):
    """How much a row counts."""

    PLAIN = "plain"
    PART = "part"
    """Explains the row above it."""
    MARKED = "marked"
    """Stands out among its like."""
    TOTAL = "total"
    """The sum of the plain rows above it."""


class Column(NamedTuple):
    title: str = ""
    align: Align = Align.LEFT


class Row(NamedTuple):
    cells: tuple[str, ...]
    weight: Weight = Weight.PLAIN


class Grid(NamedTuple):
    """Rows under columns. Columns without any title have no header."""

    columns: tuple[Column, ...]
    rows: tuple[Row, ...]

    @property
    def has_header(self) -> bool:
        return any(column.title for column in self.columns)


class Lines(NamedTuple):
    """Text, a line each."""

    lines: tuple[str, ...]


class Verbatim(NamedTuple):
    """A text of many lines that must not change, such as a file."""

    text: str
    language: str


class View(NamedTuple):
    """Blocks from top to bottom."""

    blocks: tuple[Grid | Lines | Verbatim, ...]


def right(title: str = "") -> Column:
    """A column of numbers."""
    return Column(title, Align.RIGHT)
