"""What the machine can do at most, measured in the same run: how fast memory is read, and matrices multiplied."""

from __future__ import annotations

import platform
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from kvcalc.errors import CannotRunError
from kvcalc.speed.rates import Machine, Rate
from kvcalc.speed.timing import MOST_SPREAD
from kvcalc.units import MIB

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

    from kvcalc.speed.rates import Timed
    from kvcalc.speed.timing import Stopwatch
    from kvcalc.verification.devices import Device

TIMES_LARGER = 4
"""What is read lies in memory that is so many times as large as the processor's caches."""

UNKNOWN_CACHE = 64 * MIB
"""Taken where the system does not tell the processor's caches: more than most have."""

_READ_BYTES = {"cpu": 512 * MIB, "cuda": 4096 * MIB}
_MATRIX_SIZE = {"cpu": 2048, "cuda": 8192}
_BF16_FLAGS = {"avx512_bf16", "amx_bf16", "bf16"}
"""Of /proc/cpuinfo, x86 and ARM: the processor multiplies bf16 itself."""


def measured_machine(device: Device, dtype: torch.dtype, watch: Stopwatch, *, least: bool = False) -> Machine:
    """Bandwidth and rate of a device.

    Args:
        device: to be measured.
        dtype: that matrices are multiplied in.
        watch: takes the time.
        least: whether the smallest buffers are enough, where no figure is wanted.
    """
    return Machine(
        device=device.kind,
        device_name=device.name,
        system=f"{platform.system()} {platform.machine()}",
        torch=str(torch.__version__),
        threads=torch.get_num_threads(),
        processor_cache_bytes=cache_bytes(device),
        bf16=has_bf16(device),
        read=_read(device, dtype, watch, MIB if least else _READ_BYTES[device.kind]),
        matrix=_matrix(device, dtype, watch, 64 if least else _MATRIX_SIZE[device.kind]),
    )


def refuse_a_change(before: Machine, device: Device, dtype: torch.dtype, watch: Stopwatch) -> None:
    """Stop where the machine has become faster or slower meanwhile: other work has begun or ended.

    Raises:
        CannotRunError: its read bandwidth is another one than before.
    """
    after = _read(device, dtype, watch, before.read.work)
    change = abs(after.per_s / before.read.per_s - 1)
    if change > MOST_SPREAD:
        raise CannotRunError(
            f"the read bandwidth was {before.read.per_s / 1e9:.1f} GB/s before and "
            f"{after.per_s / 1e9:.1f} after: figures of one run cannot be compared; let nothing else run on this "
            "machine, and measure again"
        )


def cache_bytes(device: Device) -> int:
    """All the processor's caches of the last level together; of a GPU its L2."""
    if device.kind == "cuda":
        return int(torch.cuda.get_device_properties(device.torch_device).L2_cache_size)
    found: dict[tuple[int, str], int] = {}
    with suppress(OSError, ValueError):
        for folder in Path("/sys/devices/system/cpu").glob("cpu[0-9]*/cache/index[0-9]*"):
            size = (folder / "size").read_text(encoding="ascii").strip()
            shared = (folder / "shared_cpu_list").read_text(encoding="ascii").strip()
            level = int((folder / "level").read_text(encoding="ascii"))
            found[level, shared] = int(size.rstrip("KM")) * (MIB if size.endswith("M") else 1024)
    if not found:
        return UNKNOWN_CACHE
    last = max(level for level, _ in found)
    return sum(size for (level, _), size in found.items() if level == last)


def has_bf16(device: Device) -> bool | None:
    """Whether it multiplies bf16 itself, and not through fp32."""
    if device.kind == "cuda":
        return torch.cuda.get_device_capability(device.torch_device) >= (8, 0)
    with suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith(("flags", "Features")):
                return bool(_BF16_FLAGS & set(line.split()))
    return None


def _read(device: Device, dtype: torch.dtype, watch: Stopwatch, size: int) -> Rate:
    """The fastest of several ways to read every byte once."""
    size = max(size, TIMES_LARGER * cache_bytes(device)) if size > MIB else size
    free = device.free_bytes()
    if free is not None and size > free // 2:
        raise CannotRunError(
            f"{size:,} bytes are read to measure the bandwidth, and {free:,} are free: too few to measure with"
        )
    memory = torch.rand(size // dtype.itemsize, device=device.torch_device, dtype=torch.float32).to(dtype)
    ways: dict[str, Callable[[Tensor], Tensor]] = {
        "sum": torch.sum,
        "amax": torch.amax,
        "product with a vector": _times_vector(memory),
    }
    found = []
    for name, way in ways.items():
        timed = watch.timed(f"read bandwidth, by {name}", lambda _, way=way: way(memory))  # type: ignore[misc]  # its default
        found.append(_rate(timed, f"{name} of {memory.nbytes:,} bytes", memory.nbytes))
    return max(found, key=lambda rate: rate.per_s)


def _rate(timed: Timed, how: str, work: int) -> Rate:
    return Rate(**timed.times, how=how, per_s=work / timed.median_s, work=work)


def _times_vector(memory: Tensor) -> Callable[[Tensor], Tensor]:
    width = 1024
    vector = torch.rand(width, device=memory.device).to(memory.dtype)
    return lambda rows: rows.view(-1, width) @ vector


def _matrix(device: Device, dtype: torch.dtype, watch: Stopwatch, size: int) -> Rate:
    pairs = [torch.rand(2, size, size, device=device.torch_device).to(dtype) for _ in range(2)]
    timed = watch.timed("rate of a matrix product", lambda turn: torch.mm(*pairs[turn % 2]))
    work = 2 * size**3
    return _rate(timed, f"{size:,} x {size:,} by {size:,} x {size:,}", work)
