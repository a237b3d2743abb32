"""Logs that something has put on one line: each message is a line again."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_BEGINS = re.compile(
    r"(?:\([A-Za-z][^()\n]{0,80} pid=\d{1,10}[^()\n]{0,40}\) ?){0,2}"
    r"\b(?:DEBUG|INFO|WARNING|ERROR|CRITICAL) \d\d-\d\d \d\d:\d\d:\d\d "
)
"""How Python's servers begin a message: their process, a level, a date and a time."""
_ENDS = re.compile(r"(?:\\r)?\\n(?:[\d:.,TZ -]{0,40}(?:std(?:out|err) F|\|)?|[\w.-]{1,80} {1,60}\|)? ?$")
"""An end of a line that was written as two characters, and what a collector put before the next."""


def messages_of(line: str) -> Iterator[str]:
    """The messages that a line holds; a line of one as it is."""
    begins = [found.start() for found in _BEGINS.finditer(line)] if line.count("pid=") + line.count("INFO") > 1 else []
    if len(begins) < 2:  # noqa: PLR2004  # one message, or none
        yield line
        return
    for start, end in zip([0, *begins[1:]], [*begins[1:], len(line)], strict=True):
        yield _ENDS.sub("", line[start:end])
