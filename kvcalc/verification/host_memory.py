"""The host's memory: what is free, what this process takes of it as Linux counts it, and how it is given back."""

from __future__ import annotations

import contextlib
import ctypes
import gc
import os
from contextvars import ContextVar
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


def available_bytes() -> int | None:
    """What Linux says can be had without swapping; elsewhere all the memory there is."""
    with contextlib.suppress(OSError, ValueError):
        for line in Path("/proc/meminfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    with contextlib.suppress(AttributeError, OSError, ValueError):
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return None


def left_in_container_bytes() -> int | None:
    """What a container's control group leaves (cgroup v2): its limit less what is used and cannot be dropped."""
    root = Path("/sys/fs/cgroup")
    with contextlib.suppress(OSError, ValueError, StopIteration):
        limit, used = (int((root / name).read_text(encoding="utf-8")) for name in ("memory.max", "memory.current"))
        lines = (root / "memory.stat").read_text(encoding="utf-8").splitlines()
        droppable = next(int(line.split()[1]) for line in lines if line.startswith("inactive_file "))
        return max(0, limit - used + droppable)
    return None


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


@contextlib.contextmanager
def only_new_garbage() -> Iterator[None]:
    """Let collections pass over the objects that are there now, after one that has found the garbage among them.

    Every rank's memory is measured between two collections, and torch's modules alone are a quarter of a million
    objects. Where the process has frozen what it has already, that is left as it is. Within another such block there is
    nothing to do, and nothing is counted: a count of frozen objects takes as long as there are many.
    """
    if _NESTED.get():
        yield
        return
    nested = _NESTED.set(True)
    left_frozen = gc.get_freeze_count()
    try:
        if not left_frozen:
            gc.collect()
            gc.freeze()
        yield
    finally:
        _NESTED.reset(nested)
        if not left_frozen:
            gc.unfreeze()


_NESTED = ContextVar("_NESTED", default=False)


def _field(name: str) -> int | None:
    with contextlib.suppress(OSError, ValueError):
        for line in Path("/proc/self/status").read_text(encoding="ascii", errors="replace").splitlines():
            if line.startswith(name):
                return int(line.split()[1]) * 1024
    return None
