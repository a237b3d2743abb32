"""Words in colour: labels on stderr, and headings in help."""

from __future__ import annotations

import textwrap
from shutil import get_terminal_size

from kvcalc.render.terminal.colour import has_colours, painted

TYPE_CHECKING = False  # as typing's, without importing it

if TYPE_CHECKING:
    from typing import TextIO

_CODES = {"error": "1;31", "note": "1;36", "next": "36", "heading": "1;32", "literal": "1;36"}


def coloured(text: str, kind: str, stream: TextIO) -> str:
    """The text as the stream shows it: 'error' red, 'note' cyan."""
    return painted(text, _CODES[kind]) if has_colours(terminal=stream.isatty()) else text


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
