"""Where -o FILE leads: a new file, which appears when it is complete, an old one, a device, or an open descriptor.

An old file is written in place, so that its links, owner and permissions stay; space for the text is reserved first.
"""

from __future__ import annotations

import errno
import os
import re
import signal
import stat
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, TYPE_CHECKING

from kvcalc.cli.interrupt import UNFINISHED
from kvcalc.cli.streams import end_as_filters_do
from kvcalc.errors import CannotRunError, KvcalcError

if TYPE_CHECKING:
    from collections.abc import Iterator

_DESCRIPTORS = re.compile(r"(?:/proc/(\d+)(?:/task/\d+)?|/dev)/fd")
_MAX_LINKS = 40
_NOT_HERE = {errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS}
"""What a filesystem answers that cannot reserve space."""


def refuse_unwritable(name: str) -> None:
    """Before anything is computed, refuse what can be seen to take no result.

    Raises:
        KvcalcError: it cannot be written.
    """
    with _told(name):
        target = _followed(name)
        if isinstance(target, int):
            os.fstat(target)
        else:
            _mode(target)


def write_to(name: str, text: str) -> None:
    """Text to where a name leads.

    Raises:
        KvcalcError: it cannot be written; an old file is what it was, and no part of a new one is left.
    """
    data = text.encode(errors="replace")
    with _told(name):
        target = _followed(name)
        if isinstance(target, int):
            _write_all(target, data)
            return
        mode = _mode(target)
        write = _write_new if mode is None else _write_over if stat.S_ISREG(mode) else _write_into
        write(target, data)


@contextmanager
def streamed(name: str) -> Iterator[IO[bytes]]:
    """Something to write to piece by piece, which takes the place of what a name leads to once all is there.

    Raises:
        KvcalcError: it cannot be written; what was there is what it was, and no part of a new file is left.
    """
    with _told(name):
        target = _followed(name)
        mode = None if isinstance(target, int) else _mode(target)
        if isinstance(target, int) or (mode is not None and not stat.S_ISREG(mode)):
            with open(target, "wb", closefd=not isinstance(target, int)) as stream:
                yield stream
            return
        with _part_of(target) as (stream, part):
            yield stream
            stream.flush()
            if mode is None:
                os.chmod(part, _new_mode())
                os.replace(part, target)
            elif os.stat(target).st_nlink == 1:
                os.chmod(part, stat.S_IMODE(mode))
                os.replace(part, target)
            else:
                _write_over(target, Path(part).read_bytes())


@contextmanager
def _part_of(target: str) -> Iterator[tuple[IO[bytes], str]]:
    """A file beside the target, which is gone afterwards unless it has been moved."""
    folder, last = os.path.split(target)
    part = os.path.join(folder, f".{last[:50]}.{os.urandom(8).hex()}")
    UNFINISHED.add(part)  # before it is there: an interrupt may come at any moment
    try:
        with open(os.open(part, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600), "wb") as stream:
            yield stream, part
    finally:
        with suppress(OSError):
            os.unlink(part)
        UNFINISHED.discard(part)


def _new_mode() -> int:
    """The permissions that a new file has."""
    mask = os.umask(0)
    os.umask(mask)
    return 0o666 & ~mask


@contextmanager
def _told(name: str) -> Iterator[None]:
    """Errors in one style; a reader that has gone ends the process as it ends any filter."""
    if not name:
        raise KvcalcError("-o: names no file; - is stdout")
    try:
        yield
    except BrokenPipeError:
        end_as_filters_do()
        raise
    except (OSError, ValueError) as error:  # a name may hold what no name can
        reason = error.strerror if isinstance(error, OSError) else error
        raise CannotRunError(f"-o: {name}: cannot be written: {reason or error}") from error


def _mode(target: str) -> int | None:
    """What stands there, None where nothing does.

    Raises:
        OSError: it is a folder, or protected.
    """
    try:
        mode = os.stat(target).st_mode
    except FileNotFoundError:
        folder = os.path.dirname(target)
        if os.access(folder, os.W_OK | os.X_OK):
            return None
        raise _protected(folder) from None
    if stat.S_ISDIR(mode):
        raise _error(errno.EISDIR)
    if stat.S_ISREG(mode) and not mode & 0o222:
        raise PermissionError(errno.EACCES, "it is write-protected")
    if not os.access(target, os.W_OK):
        raise _protected(target)
    return mode


def _protected(path: str) -> OSError:
    read_only = hasattr(os, "statvfs") and os.statvfs(path).f_flag & os.ST_RDONLY
    return _error(errno.EROFS if read_only else errno.EACCES)


def _error(number: int) -> OSError:
    return OSError(number, os.strerror(number))


def _followed(name: str) -> int | str:
    """The path without links, or the open descriptor that it stands for: /dev/stdout may be the end of a log."""
    path = name
    for _ in range(_MAX_LINKS):
        folder, last = os.path.split(path)
        if last in {"", ".", ".."}:
            raise _error(errno.EISDIR)
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
    raise _error(errno.ELOOP)


def _write_new(target: str, data: bytes) -> None:
    """Write beside the target, then move it into place, with the permissions that a new file has."""
    with _part_of(target) as (stream, part):
        _write_all(stream.fileno(), data)
        os.chmod(part, _new_mode())
        os.replace(part, target)


def _write_over(target: str, data: bytes) -> None:
    descriptor = os.open(target, os.O_WRONLY)
    try:
        with _to_the_end():
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


@contextmanager
def _to_the_end() -> Iterator[None]:
    """What ends the program waits: an old file that is half overwritten is neither."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    others = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, others)


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
