"""The lines of a trace, bounded: a stranger's file must not fill the memory with one line."""

from __future__ import annotations

import sys
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

from kvcalc.errors import KvcalcError
from kvcalc.files import open_file, why_no_lines

if TYPE_CHECKING:
    from collections.abc import Iterator
    from io import BufferedReader

STDIN = "-"
MAX_LINE = 1024**2
"""Bytes of a line: a million tokens in blocks of 16 take half of it."""


def lines_of(file: str | Path, where: str) -> Iterator[str]:
    """The lines of a file, or of standard input where it is '-'.

    Raises:
        KvcalcError: it cannot be read, is compressed, or has a line that is too long.
    """
    if str(file) == STDIN:
        yield from _read(sys.stdin.buffer, where)  # type: ignore[arg-type]  # a buffer where there is one
        return
    with closing(open_file(Path(file), where)) as opened:
        yield from _read(opened, where)


def _read(source: BufferedReader, where: str) -> Iterator[str]:
    number = 0
    try:
        while line := source.readline(MAX_LINE + 1):
            number += 1
            if len(line) > MAX_LINE:
                raise KvcalcError(f"{where}:{number}: a line of more than {MAX_LINE:,} bytes")
            if number == 1:
                if (why := why_no_lines(line, "kvcalc demand --trace -")) is not None:
                    raise KvcalcError(f"{where}: {why}")
                line = line.removeprefix(b"\xef\xbb\xbf")
            yield line.decode("utf-8", errors="replace")
    except (OSError, ValueError) as error:
        raise KvcalcError(f"{where}: cannot be read: {getattr(error, 'strerror', None) or error}") from error
