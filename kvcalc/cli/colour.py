"""Words in colour, for what is written without rich: labels on stderr, and headings in help."""

from __future__ import annotations

import os
import textwrap
from shutil import get_terminal_size

TYPE_CHECKING = False  # as typing's, without importing it

if TYPE_CHECKING:
    from typing import TextIO

_CODES = {"error": "1;31", "note": "1;36", "next": "36", "heading": "1;32", "literal": "1;36"}


def has_colours(stream: TextIO) -> bool:
    """Whether a stream shows colours: NO_COLOR, FORCE_COLOR and a dumb terminal are obeyed, in this order."""
    if os.environ.get("NO_COLOR"):
        return False
    if os.environ.get("FORCE_COLOR"):
        return True
    return os.environ.get("TERM") != "dumb" and stream.isatty()


def coloured(text: str, kind: str, stream: TextIO) -> str:
    """The text as the stream shows it: 'error' red, 'note' cyan."""
    return f"\x1b[{_CODES[kind]}m{text}\x1b[0m" if has_colours(stream) else text


def coloured_next(line: str, stream: TextIO) -> str:
    """A line of a message, its label coloured where it is the command to type next."""
    label, told, command = line.partition(": ")
    return f"{coloured(f'{label}:', label, stream)} {command}" if told and label == "next" else line


def width_of(stream: TextIO, otherwise: int | None = None) -> int | None:
    """Columns of a terminal; of a file or a pipe `otherwise`."""
    return get_terminal_size().columns if stream.isatty() else otherwise


def labelled(label: str, text: str, stream: TextIO) -> str:
    """'note: ...', folded between words at the width of a terminal, and as long as it is elsewhere."""
    width, indent = width_of(stream), " " * (len(label) + 2)
    whole = f"{label}: {text}"
    if width and len(whole) > width > len(indent):
        lines = textwrap.wrap(whole, width, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False)
        whole = "\n".join(lines)
    return coloured(f"{label}:", label, stream) + whole.removeprefix(f"{label}:")
