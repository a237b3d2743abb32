"""Ctrl-C ends the program with status 130, also in the middle of an import, where an exception may be swallowed.

SIGTERM, by which schedulers of jobs end them, does so with status 143. Neither leaves a file half written.
"""

from __future__ import annotations

import os
import signal

TYPE_CHECKING = False  # as typing's, without importing it

if TYPE_CHECKING:
    from types import FrameType
    from typing import NoReturn

STATUS = 128 + signal.SIGINT
"""As a shell has it of a program that the signal ends."""

UNFINISHED: set[str] = set()
"""Files that nobody must find where the process ends at once."""

_SHOW_CURSOR = b"\x1b[?25h"


def end_on_interrupt() -> None:
    """Let Ctrl-C raise KeyboardInterrupt as ever, but in an import, and the second time, end the process at once.

    SIGTERM does so the first time.

    A library that is being imported may catch whatever happens and go on: torch does so, and is then half there.
    """
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # else whoever started us wants no Ctrl-C
        signal.signal(signal.SIGINT, _interrupted)
    if signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
        signal.signal(signal.SIGTERM, _terminated)


def _interrupted(_number: int, frame: FrameType | None) -> None:
    if _is_importing(frame):
        _end()
    signal.signal(signal.SIGINT, _again)
    raise KeyboardInterrupt


def _again(_number: int, _frame: FrameType | None) -> None:
    _end()


def _terminated(number: int, _frame: FrameType | None) -> None:
    _end(128 + number)


def _is_importing(frame: FrameType | None) -> bool:
    while frame is not None:
        if frame.f_code.co_filename == "<frozen importlib._bootstrap>":
            return True
        frame = frame.f_back
    return False


def _end(status: int = STATUS) -> NoReturn:
    for path in UNFINISHED:
        try:
            os.unlink(path)
        except OSError:  # it has been moved into place
            continue
    if os.isatty(2) and os.environ.get("TERM", "dumb") != "dumb":
        os.write(2, _SHOW_CURSOR)  # which a progress bar hides
    os._exit(status)
