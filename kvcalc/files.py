"""Opening files that others name: never waiting for whoever may write to a named pipe."""

from __future__ import annotations

import os
import re
import stat
from typing import TYPE_CHECKING

from kvcalc.access import check_path, may_read
from kvcalc.errors import KvcalcError

if TYPE_CHECKING:
    from io import BufferedReader
    from pathlib import Path

_OPENED_BY_THE_SHELL = r"/dev/(stdin|fd/\d+)|/proc/self/fd/\d+"
"""Pipes that have a writer: `<(command)`, and standard input."""


_NO_LINES = {
    b"\xff\xfe": "UTF-16: iconv -f UTF-16 -t UTF-8 FILE | {} reads it",
    b"\xfe\xff": "UTF-16: iconv -f UTF-16 -t UTF-8 FILE | {} reads it",
    b"\x1f\x8b": "compressed: gzip -dc FILE | {} reads it",
    b"BZh": "compressed: bzip2 -dc FILE | {} reads it",
    b"\xfd7zXZ": "compressed: xz -dc FILE | {} reads it",
    b"\x28\xb5\x2f\xfd": "compressed: zstd -dc FILE | {} reads it",
    b"PK\x03\x04": "a workbook or a zip archive; save its sheet as CSV, or unpack it",
}
"""What a file is that begins so, and what makes lines of it, for a command that reads standard input."""

SMALL = 1 << 16
"""Bytes to try for of a file whose size the system does not give, as those of /proc."""


def open_file(path: Path, shown: str) -> BufferedReader:
    """A file that is there, open for reading.

    Args:
        path: of the file.
        shown: its name in messages.

    Raises:
        KvcalcError: it may not be looked at, is not there, cannot be read, or is a named pipe or a folder.
    """
    check_path(path, shown)
    try:
        handle = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    except (OSError, ValueError) as error:  # ValueError: a zero byte in the name
        raise _unreadable(shown, error) from error
    if stat.S_ISFIFO(os.fstat(handle).st_mode):
        if not re.fullmatch(_OPENED_BY_THE_SHELL, str(path)):
            os.close(handle)
            raise KvcalcError(f"{shown}: a named pipe, which is not waited for; name a file")
        os.set_blocking(handle, True)
    try:
        return os.fdopen(handle, "rb")
    except OSError as error:  # a folder
        os.close(handle)
        raise _unreadable(shown, error) from error


def read_bytes(path: Path, shown: str, most: int) -> bytes:
    """A file's first bytes: one more than `most` where there are more.

    Raises:
        KvcalcError: it cannot be read.
    """
    with open_file(path, shown) as file:
        about = os.fstat(file.fileno())
        if stat.S_ISREG(about.st_mode):
            most = min(most, max(about.st_size, SMALL))  # reading allocates all that is asked for
        try:
            return file.read(most + 1)
        except OSError as error:
            raise _unreadable(shown, error) from error


def why_no_lines(begins: bytes, reader: str) -> str | None:
    """Why a file that begins so is not read line by line, and what to do; None where nothing speaks against it.

    Args:
        begins: its first bytes, six at least where it has so many.
        reader: the command that reads its lines from standard input.
    """
    found = next((what for mark, what in _NO_LINES.items() if begins.startswith(mark)), None)
    return None if found is None else f"is {found.format(reader)}"


def is_there(path: Path) -> bool:
    """Whether a folder lists that name, whatever it is: a link to nothing and a named pipe are not left out."""
    return may_read(path) and os.path.lexists(path)


def stamp(path: Path) -> tuple[int, ...]:
    """A value that differs where a file was changed or replaced."""
    return _stamp(path.stat())


def stamps(folder: Path, suffix: str) -> tuple[tuple[str, tuple[int, ...]], ...]:
    """The names of a folder's files that end so, sorted, each with its `stamp`."""
    with os.scandir(folder) as entries:
        return tuple(sorted((each.name, _stamp(each.stat())) for each in entries if each.name.endswith(suffix)))


def _stamp(found: os.stat_result) -> tuple[int, ...]:
    return found.st_mtime_ns, found.st_size, found.st_ino


def _unreadable(shown: str, error: OSError | ValueError) -> KvcalcError:
    return KvcalcError(f"{shown}: cannot be read: {getattr(error, 'strerror', None) or error}")
