"""stdout and stderr of the process, and what happens where they cannot be written.

stdout carries the result: a stream that cannot take it is an error, told once; a reader that has gone ends the process
as it ends any filter. stderr carries notes: what it cannot take is lost, and the exit status stays the answer's.
"""

from __future__ import annotations

import errno
import io
import os
import sys

TYPE_CHECKING = False  # as typing's, without importing it

if TYPE_CHECKING:
    from typing import TextIO

    from _typeshed import ReadableBuffer


def prepare() -> None:
    """Put streams that keep to this where Python's own are; what somebody else has put there stays."""
    if os.name != "posix":  # a console of Windows is no file
        return
    if os.environ.get("COLUMNS", "").strip("0") == "":  # no width: rich would draw nothing
        os.environ.pop("COLUMNS", None)
    _fill_gaps()
    if sys.stdout is sys.__stdout__:
        sys.stdout = _text(_Results(1, "w", closefd=False), sys.__stdout__)
    if sys.stderr is sys.__stderr__:
        sys.stderr = _text(_Remarks(2, "w", closefd=False), sys.__stderr__)


def end_as_filters_do() -> None:
    """End by the signal that a closed pipe sends."""
    import signal

    if hasattr(signal, "SIGPIPE"):
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGPIPE)


class _Results(io.FileIO):
    """A stream that fails once: the error is told where it is met, not again when the process ends."""

    failed = False

    def write(self, data: ReadableBuffer, /) -> int:
        if self.failed:
            return len(memoryview(data))
        try:
            if sys.__stdout__ is None:
                raise OSError(errno.EBADF, "is closed")  # noqa: TRY301  # told as any other
            while (written := super().write(data)) is None:  # it is not waited for here, so it is there
                _wait_for(self)
        except BrokenPipeError:
            end_as_filters_do()
            raise
        except OSError as error:
            self.failed = True
            raise OSError(error.errno, error.strerror, "stdout") from error
        return written


class _Remarks(io.FileIO):
    """A stream whose words may be lost."""

    def write(self, data: ReadableBuffer, /) -> int:
        try:
            written = super().write(data)
        except OSError:
            written = None
        return len(memoryview(data)) if written is None else written


def _wait_for(stream: io.FileIO) -> None:
    """Until a pipe that does not block takes more."""
    import select  # hardly ever

    select.select([], [stream], [])


def _text(raw: io.FileIO, like: TextIO | None) -> TextIO:
    """Lines appear at once. A letter that the encoding lacks is replaced: the figures get through."""
    encoding = "utf-8" if like is None else like.encoding
    return io.TextIOWrapper(io.BufferedWriter(raw), encoding=encoding, errors="replace", line_buffering=True)


def _fill_gaps() -> None:
    """Where the caller has closed a standard stream, no file that is opened later takes its place."""
    for descriptor in (0, 1, 2):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDONLY if descriptor else os.O_WRONLY)
