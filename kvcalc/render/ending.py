"""The last lines of a screen: what is not modelled, and the command that tells more."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvcalc.units import with_unit

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from kvcalc.note import Note


def not_modelled_line(not_modelled: Iterable[Note], unit: str) -> str:
    """What is left out, in one line."""
    return with_unit(f"not modelled: {'; '.join(each.text for each in not_modelled)}", unit)


def next_line(command: str, *, explain: bool) -> Iterator[str]:
    """The command that was typed, continued; nothing where it was, or where it is not known."""
    if command.isprintable() and command and not explain:
        yield f"next: {command} --explain"
