"""A document before it is a page or Markdown: numbered sections of blocks and pictures."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from kvcalc.errors import NEXT
from kvcalc.render.view import Command, Line, Lines, Span, Tone

if TYPE_CHECKING:
    from kvcalc.render.view import Block


class Picture(NamedTuple):
    """A drawing.

    Attributes:
        svg: an element of HTML, which tells in words what it shows.
        drawn: the same in letters, for a terminal or Markdown.
    """

    svg: str
    drawn: str


class Section(NamedTuple):
    """A part under a heading of its own."""

    title: str
    content: tuple[Block | Picture, ...] = ()
    parts: tuple[Section, ...] = ()


class Document(NamedTuple):
    """Sections from top to bottom."""

    title: str
    sections: tuple[Section, ...]


def refusal(who: str, lines: tuple[str, ...]) -> Lines:
    """Who gives no answer, why, and what to do."""
    first, *others = lines
    told = Line((Span(f"{who} refuses: ", Tone.BAD), Span(first)))
    return Lines((told, *(Command(each.removeprefix(NEXT)) if each.startswith(NEXT) else each for each in others)))
