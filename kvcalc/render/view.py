"""What a person sees, before it is a table or Markdown: grids of cells, lines of text, and a bar."""

from __future__ import annotations

from enum import Enum
from typing import NamedTuple

from kvcalc.errors import one_line


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


class Tone(Enum):
    """What a colour would say; a screen without colours says the same in words."""

    PLAIN = "plain"
    STRONG = "strong"
    FAINT = "faint"
    GOOD = "good"
    """It fits, it is verified."""
    CLOSE = "close"
    """It is tight."""
    BAD = "bad"
    """It does not fit, it differs."""
    HINT = "hint"
    """What to type next."""


class Column(NamedTuple):
    """A column of a grid.

    Attributes:
        title: over it.
        align: of its cells.
        drop: where a line is too short for all columns, those with the highest numbers go first; 0 never goes.
        shorten: whether its cells may end in an ellipsis where the line is short.
        at_commas: whether its cells fold behind commas only, else between any words.
    """

    title: str = ""
    align: Align = Align.LEFT
    drop: int = 0
    shorten: bool = False
    at_commas: bool = False


class Stacked(str):
    """A cell whose lines stand under each other. Another cell is one line, whatever it holds."""

    __slots__ = ()


def lines_of(cell: str) -> list[str]:
    """The lines of a cell, which nothing in them can add to."""
    return [one_line(line) for line in (cell.split("\n") if isinstance(cell, Stacked) else [cell])]


class Row(NamedTuple):
    """Cells, one for each column."""

    cells: tuple[str, ...]
    weight: Weight = Weight.PLAIN
    tone: Tone = Tone.PLAIN


class Grid(NamedTuple):
    """Rows under columns. Columns without any title have no header."""

    columns: tuple[Column, ...]
    rows: tuple[Row, ...]

    @property
    def has_header(self) -> bool:
        return any(column.title for column in self.columns)


class Span(NamedTuple):
    """Words in one tone."""

    text: str
    tone: Tone = Tone.PLAIN


class Line(NamedTuple):
    """A sentence, and beside it, where there is space, a second one."""

    spans: tuple[Span, ...]
    aside: str = ""

    def __str__(self) -> str:
        text = "".join(span.text for span in self.spans)
        return f"{text}; {self.aside}" if self.aside else text


class Command(NamedTuple):
    """A command line to type next."""

    text: str

    def __str__(self) -> str:
        return f"next: {self.text}"


class Lines(NamedTuple):
    """Text, a line each."""

    lines: tuple[str | Line | Command, ...]


class BarPart(NamedTuple):
    """A part of a bar: its name, how long it is, and its figure in words."""

    name: str
    size: int
    figure: str
    tone: Tone = Tone.PLAIN


class Bar(NamedTuple):
    """Parts of a whole as lengths."""

    parts: tuple[BarPart, ...]

    def __str__(self) -> str:
        return ", ".join(f"{part.name} {part.figure}" for part in self.parts)


class Verbatim(NamedTuple):
    """A text of many lines that must not change, such as a file."""

    text: str
    language: str


Block = Grid | Lines | Bar | Verbatim


class View(NamedTuple):
    """Blocks from top to bottom.

    Attributes:
        blocks: what it is made of.
        prose: whether it is to be read, so that it folds in a file too; a line of figures is one line there.
    """

    blocks: tuple[Block, ...]
    prose: bool = False


def right(title: str = "", *, drop: int = 0) -> Column:
    """A column of numbers."""
    return Column(title, Align.RIGHT, drop)


def faint(text: str) -> Line:
    """A line that matters less."""
    return Line((Span(text, Tone.FAINT),))
