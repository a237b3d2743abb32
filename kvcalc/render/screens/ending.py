"""The last lines of a screen: how much is not modelled, and the command that tells more."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvcalc.render.screens.question import count
from kvcalc.render.view import Command, Line, Lines, Span, Tone
from kvcalc.units import with_unit

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from kvcalc.note import Note


def not_modelled_line(not_modelled: Sequence[Note], *, explain: bool) -> Iterator[Line]:
    """How many things are left out; nothing where --explain lists them, or where there are none."""
    if not_modelled and not explain:
        number = len(not_modelled)
        are = "thing is" if number == 1 else "things are"
        yield Line(
            (Span(f"{number} {are} not modelled (--explain lists {'it' if number == 1 else 'them'})", Tone.FAINT),)
        )


def not_modelled_list(not_modelled: Sequence[Note], unit: str) -> Iterator[Lines]:
    """What is left out, a line each."""
    if not_modelled:
        things = (f"- {with_unit(each.text, unit)}" for each in not_modelled)
        yield Lines((f"{count(len(not_modelled), 'thing')} not modelled:", *things))


def next_line(command: str, *, explain: bool = False) -> Iterator[Command]:
    """The command that was typed, continued; nothing where it was, or where it is not known."""
    if command.isprintable() and command and not explain:
        yield Command(command)
