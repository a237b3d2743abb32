"""Errors that a user can mend, and the exit codes a script can rely on."""

from __future__ import annotations

from enum import IntEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence


class ExitCode(IntEnum):
    """What the process's exit status means."""

    DONE = 0
    """The answer stands on stdout; where asked, it fits."""
    NO = 1
    """The answer is no: it does not fit, or nothing legal serves it."""
    BAD_INPUT = 2
    """Bad usage or bad input: an option, a file, an unknown name, an illegal deployment."""
    CANNOT_RUN = 3
    """Cannot run here: something outside kvcalc is missing or failed."""


NEXT = "next: "
"""What the last line of a message begins with, where it names a command that helps."""

MAX_NAME = 60
"""Letters that a message shows of a name in a file."""


def one_line(text: str, most: int | None = None) -> str:
    """A text with its line breaks, and whatever else a terminal would obey, written as Python writes them.

    Args:
        text: from a file or a person.
        most: characters of it that are shown; all of them where None.
    """
    text = text[:most]
    if text.isprintable():
        return text
    return "".join(each if each.isprintable() else each.encode("unicode_escape").decode() for each in text)


class KvcalcError(Exception):
    """Anything wrong that the message tells how to mend. The command line catches this class only.

    Each argument is a line of the message: names that files bring cannot add one.
    """

    exit_code = ExitCode.BAD_INPUT

    def __str__(self) -> str:
        return "\n".join(one_line(str(line)) for line in self.args)

    @property
    def sentence(self) -> str:
        """The message on one line, as a cell of a table has it: without the command that is tried next."""
        lines = [one_line(" ".join(str(line).split())) for line in self.args if not str(line).startswith(NEXT)]
        return " ".join((lines[0], "; ".join(lines[1:]))).rstrip() if lines else ""


class UnknownModelError(KvcalcError):
    """A name that is no model's.

    Attributes:
        typed: the name.
    """

    def __init__(self, *lines: str, typed: str = "") -> None:
        super().__init__(*lines)
        self.typed = typed


class CannotRunError(KvcalcError):
    """The input is fine, the machine is not: a full disk, a missing device."""

    exit_code = ExitCode.CANNOT_RUN


class NoError(KvcalcError):
    """The answer that was asked for is no; it stands on stdout already."""

    exit_code = ExitCode.NO


SHORTEST_PART = 3
"""Letters of a part of a name by which the whole may be meant."""


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """'; did you mean 'x' or 'y'?', or nothing where no known word is near or has this one in it."""
    from difflib import get_close_matches  # only where something went wrong

    by_lower = {name.lower(): name for name in known}
    near = get_close_matches(word.lower(), by_lower, n=3, cutoff=0.65)
    if not near and len(word) >= SHORTEST_PART:
        near = [name for name in by_lower if word.lower() in name][:3]
    if not near:
        return ""
    return f"; did you mean {either_of([by_lower[name] for name in near])}?"


def either_of(names: Sequence[str]) -> str:
    """'x', or 'x' or 'y', or 'x', 'y' or 'z', each in quotes."""
    *first, last = (f"'{name}'" for name in names)
    return f"{', '.join(first)} or {last}" if first else last


def nearest_or_all(word: str, known: Iterable[str]) -> str:
    """The nearest known words, or all of them where none is near."""
    names = list(known)
    every = f"; there are {', '.join(names)}" if len(names) > 1 else f"; there is only {', '.join(names)}"
    return did_you_mean(word, names) or every
