"""The lines of a log as its engine wrote them: what terminals, containers and Windows add is taken off.

A log is a stranger's file: how much of it is read is bounded, and so is the length of a line.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from kvcalc.errors import KvcalcError
from kvcalc.files import read_bytes
from kvcalc.logs.collected import written
from kvcalc.logs.marked_up import plain

if TYPE_CHECKING:
    from collections.abc import Iterator

MAX_BYTES = 32 * 1024**2
"""Bytes of a log that are read. An engine has started long before."""
MAX_LINE = 16 * 1024
"""Characters of a line that are read. The longest line of a start is its configuration, some 10,000."""
STDIN = "-"

_ESCAPES = re.compile(r"\x1b(?:\[[0-?]{0,64}[ -/]{0,16}[@-~]|\][^\x07\x1b]{0,512}(?:\x07|\x1b\\)|[@-Z\\-_])")
_CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f]")
_UTF_16 = {b"\xff\xfe": "utf-16-le", b"\xfe\xff": "utf-16-be"}
"""What PowerShell writes where output is redirected, by its first bytes."""


class LogText(NamedTuple):
    """A log's text.

    Attributes:
        cut: whether the log is longer than what was read.
    """

    text: str
    cut: bool = False


def read_text(file: str | Path) -> LogText:
    """The text of a log, from a file or, where it is '-', from standard input.

    Raises:
        KvcalcError: it cannot be read.
    """
    if str(file) == STDIN:
        try:
            data = sys.stdin.buffer.read(MAX_BYTES + 1)
        except (OSError, ValueError) as error:  # ValueError: it is closed
            raise KvcalcError(f"--from-log: standard input cannot be read: {error}") from error
    else:
        data = read_bytes(Path(file), f"--from-log {file}"[:200], MAX_BYTES)
    encoding = _UTF_16.get(data[:2], "utf-8-sig")
    return LogText(data[:MAX_BYTES].decode(encoding, errors="replace"), len(data) > MAX_BYTES)


def lines_of(text: str) -> Iterator[str]:
    """Its lines without what only terminals and collectors want; progress bars overwrite lines, and each is one."""
    for whole in written(text):
        line = whole[:MAX_LINE]
        if "\x1b" in line:
            line = _ESCAPES.sub("", line)
        yield plain(_CONTROLS.sub(" ", line))
