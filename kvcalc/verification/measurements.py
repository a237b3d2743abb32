"""Figures of a run about which nothing is claimed: how fast memory was written, and how much of the host's it took."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import torch

from kvcalc.units import MIB
from kvcalc.verification.result import Measurement

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kvcalc.verification.devices import Device

LEAST = 64 * MIB
"""Of less, neither speed nor growth says anything."""


def fill_speed(size: int, seconds: float) -> Iterator[Measurement]:
    """How fast the caches were allocated and written."""
    if size >= LEAST:
        yield _speed(
            "speed of the caches", size, seconds, "allocating every layer's tensors and writing each byte once"
        )


def plain_fill(size: int, device: Device) -> Iterator[Measurement]:
    """The same for one flat buffer of that size, to compare with."""
    if size < LEAST:
        return
    start = time.perf_counter()
    try:
        buffer = torch.empty(size, dtype=torch.uint8, device=device.torch_device)
    except torch.OutOfMemoryError:  # another process has taken it meanwhile
        return
    buffer.fill_(1)
    device.synchronize()
    seconds = time.perf_counter() - start
    del buffer
    device.release()
    yield _speed("speed of a plain fill", size, seconds, "the same for one torch buffer of that size")


def host_memory(expected: int, measured: int) -> Iterator[Measurement]:
    """How much this process grew while it allocated."""
    if expected >= LEAST:
        about = "this process's at its peak, as the system counts; expected are the caches"
        yield Measurement("host memory", "growth", expected, measured, "bytes", about)


def _speed(name: str, size: int, seconds: float, about: str) -> Measurement:
    return Measurement(name, "one rank", None, round(size / max(seconds, 1e-9) / 1e9, 2), "GB/s", about)
