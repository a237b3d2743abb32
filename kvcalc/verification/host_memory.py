"""This process's own memory, as Linux counts it."""

from __future__ import annotations

import contextlib
import ctypes
from pathlib import Path


def resident_bytes() -> int | None:
    """What is in memory now; None where the system does not say. Starts the count of the peak anew."""
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    return _field("VmRSS:")


def peak_bytes() -> int | None:
    """The most that was in memory since; None where the system does not say."""
    return _field("VmHWM:")


def address_space_bytes() -> int | None:
    """What the process has mapped, in memory or not; None where the system does not say."""
    return _field("VmSize:")


def give_back() -> None:
    """Let the C library return what it keeps of freed memory, where it can (glibc)."""
    with contextlib.suppress(AttributeError, OSError, TypeError):
        ctypes.CDLL(None).malloc_trim(0)


def map_large_blocks() -> None:
    """Let the C library map blocks of 1 MiB and more by themselves, where it can (glibc)."""
    threshold = -3  # M_MMAP_THRESHOLD, malloc.h
    with contextlib.suppress(AttributeError, OSError, TypeError):
        ctypes.CDLL(None).mallopt(threshold, 2**20)


_FIGURES = (
    "arena",
    "ordblks",
    "smblks",
    "hblks",
    "hblkhd",
    "usmblks",
    "fsmblks",
    "uordblks",
    "fordblks",
    "keepcost",
)


class _MallInfo2(ctypes.Structure):
    """What glibc (2.33 and newer) says of its heap; `fordblks` are the bytes that are free in it."""

    _fields_ = tuple((name, ctypes.c_size_t) for name in _FIGURES)


def freed_bytes() -> int:
    """Memory that was freed and that the C library keeps mapped; 0 where it does not say."""
    with contextlib.suppress(AttributeError, OSError, TypeError):
        mallinfo2 = ctypes.CDLL(None).mallinfo2
        mallinfo2.restype = _MallInfo2
        return int(mallinfo2().fordblks)
    return 0


def _field(name: str) -> int | None:
    with contextlib.suppress(OSError, ValueError):
        for line in Path("/proc/self/status").read_text(encoding="ascii", errors="replace").splitlines():
            if line.startswith(name):
                return int(line.split()[1]) * 1024
    return None
