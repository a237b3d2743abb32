"""Messages that stand on several lines: where one begins, and the width at which a terminal has folded them."""

from __future__ import annotations

import re
from collections import Counter
from typing import TYPE_CHECKING

from kvcalc.logs.log_text import MAX_LINE

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

MIN_WIDTH, MAX_WIDTH = 40, 400
"""Characters of a line between which terminals are wide."""
FULL_LINES = 3
SHARE_FULL = 0.8
"""Of lines that go on in the next, how many are as wide as the terminal at least; of an excerpt with fewer full lines
than three all must be. A line whose last character is a space counts too: copying drops that."""

LEVEL = re.compile(r"\b(?:DEBUG|INFO|WARNING|ERROR|CRITICAL)\b")
"""A line that has one begins a message."""


def folded_at(lines: Iterable[str]) -> int | None:
    """The width at which a terminal has folded a log's lines, within words too; None where none has."""
    widths, going_on = Counter[int](), Counter[int]()
    before = 0
    for line in lines:
        if len(line) > MAX_WIDTH:
            return None
        widths[len(line)] += 1
        if before and LEVEL.search(line) is None:
            going_on[before] += 1
        before = len(line)
    widest = max(widths, default=0)
    full = going_on[widest] + going_on[widest - 1]
    folded = full and full >= (SHARE_FULL if full >= FULL_LINES else 1) * going_on.total()
    return widest if folded and widest >= MIN_WIDTH else None


def unfolded(lines: Iterable[str], width: int) -> Iterator[str]:
    """The messages of a log that a terminal of so many characters has folded, each as one line."""
    parts, last, length = list[str](), 0, 0
    for line in lines:
        goes_on = last in {width, width - 1} and length < MAX_LINE and LEVEL.search(line) is None
        if not goes_on:
            yield "".join(parts)
            parts, length = [], 0
        elif last < width:
            parts.append(" ")
        parts.append(line)
        last, length = len(line), length + len(line)
    yield "".join(parts)
