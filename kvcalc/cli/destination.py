"""Where -o FILE leads: a new file, which appears when it is complete, an old one, a device, or an open descriptor.

An old file is written in place, so that its links, owner and permissions stay; its room is reserved before.
"""

from __future__ import annotations

import errno
import os
import re
import stat
from contextlib import suppress

_DESCRIPTORS = re.compile(r"(?:/proc/(\d+)(?:/task/\d+)?|/dev)/fd")
_MAX_LINKS = 40
_NOT_HERE = {errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS}
"""What a filesystem answers that cannot reserve room."""


def write_to(name: str, text: str) -> None:
    """Text to where a name leads.

    Raises:
        OSError: it cannot be written; an old file is what it was, and no part of a new one is left.
    """
    data = text.encode(errors="replace")
    target = _followed(name)
    if isinstance(target, int):
        _write_all(target, data)
        return
    try:
        mode = os.stat(target).st_mode
    except FileNotFoundError:
        _write_new(target, data)
        return
    if stat.S_ISREG(mode):
        if not mode & 0o222:
            raise PermissionError(errno.EACCES, "it is write-protected")
        _write_over(target, data)
    else:
        _write_into(target, data)


def _followed(name: str) -> int | str:
    """The path without links, or the open descriptor that it stands for: /dev/stdout may be the end of a log."""
    path = name
    for _ in range(_MAX_LINKS):
        folder, last = os.path.split(path)
        if last in {"", ".", ".."}:
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        folder = os.path.realpath(folder or ".", strict=True)
        path = os.path.join(folder, last)
        descriptors = _DESCRIPTORS.fullmatch(folder)
        if descriptors and last.isdecimal():
            if descriptors[1] in {None, str(os.getpid())}:
                return int(last)
            return os.open(path, os.O_WRONLY | os.O_APPEND)
        if not os.path.islink(path):
            return path
        path = os.path.join(folder, os.readlink(path))
    raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))


def _write_new(target: str, data: bytes) -> None:
    """Write beside the target, then move it into place, with the permissions that a new file has."""
    import tempfile  # noqa: PLC0415  # for start-up time

    folder, last = os.path.split(target)
    descriptor, part = tempfile.mkstemp(dir=folder, prefix=f".{last[:50]}.")
    try:
        try:
            _write_all(descriptor, data)
            mask = os.umask(0)
            os.umask(mask)
            os.fchmod(descriptor, 0o666 & ~mask)
        finally:
            os.close(descriptor)
        os.replace(part, target)
    except BaseException:
        with suppress(OSError):
            os.unlink(part)
        raise


def _write_over(target: str, data: bytes) -> None:
    descriptor = os.open(target, os.O_WRONLY)
    try:
        before = os.fstat(descriptor).st_size
        try:
            _reserve(descriptor, len(data))
            _write_all(descriptor, data)
        except BaseException:
            os.ftruncate(descriptor, before)
            raise
        os.ftruncate(descriptor, len(data))
    finally:
        os.close(descriptor)


def _reserve(descriptor: int, size: int) -> None:
    """A full disk is met before anything is overwritten."""
    if size and hasattr(os, "posix_fallocate"):
        try:
            os.posix_fallocate(descriptor, 0, size)
        except OSError as error:
            if error.errno not in _NOT_HERE:
                raise


def _write_into(target: str, data: bytes) -> None:
    """To a device or a pipe."""
    descriptor = os.open(target, os.O_WRONLY | getattr(os, "O_NOCTTY", 0))
    try:
        _write_all(descriptor, data)
    finally:
        os.close(descriptor)


def _write_all(descriptor: int, data: bytes) -> None:
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(descriptor, rest) :]
