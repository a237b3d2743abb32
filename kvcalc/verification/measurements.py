"""Figures about which nothing is claimed: speeds, growth of the process, the GPU's own figures, rounding errors."""

from __future__ import annotations

import math
import subprocess
import time
from typing import TYPE_CHECKING

import torch

from kvcalc.catalogue import shipped_gpus
from kvcalc.gpu import CUDA_CONTEXT_BYTES
from kvcalc.reference.packing import packing
from kvcalc.units import MIB
from kvcalc.verification.result import Measurement
from kvcalc.verification.temporary_memory import temporary_memory

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from kvcalc.verification.devices import Cuda, Device
    from kvcalc.verification.scope import Scope

LEAST = 64 * MIB
"""Of less, neither speed nor growth says anything."""

_ROWS, _HEADS, _WIDTH = 256, 4, 128
"""Of the values whose rounding is measured."""


def fill_speed(size: int, seconds: float) -> Iterator[Measurement]:
    """How fast the caches were allocated and written."""
    if size >= LEAST:
        yield _speed(
            "speed of the caches", size, seconds, "allocating every layer's tensors and writing each byte once"
        )


def plain_fill(size: int, device: Device) -> Iterator[Measurement]:
    """How fast one flat buffer of that size was allocated and written, to compare with."""
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
    """How much this process grew while it allocated the caches."""
    if expected >= LEAST:
        about = "this process's at its peak, as the system counts; expected are the caches"
        yield Measurement("host memory", "growth", expected, measured, "bytes", about)


def _speed(name: str, size: int, seconds: float, about: str) -> Measurement:
    return Measurement(name, "one rank", None, round(size / max(seconds, 1e-9) / 1e9, 2), "GB/s", about)


def used_by_gpu() -> dict[str, int]:
    """Bytes in use on each GPU, by its UUID, as nvidia-smi says; nothing where there is no nvidia-smi."""
    command = ["nvidia-smi", "--query-gpu=uuid,memory.used", "--format=csv,noheader,nounits"]
    try:
        answer = subprocess.run(command, capture_output=True, text=True, timeout=20, check=True)  # noqa: S603  # ours
        pairs = [line.split(",") for line in answer.stdout.splitlines() if line.strip()]
        return {uuid.strip(): int(mebibytes) * MIB for uuid, mebibytes in pairs}
    except (OSError, subprocess.SubprocessError, ValueError):
        return {}


def gpu_measurements(scope: Scope, gpu: Cuda, used_before: Mapping[str, int]) -> Iterator[Measurement]:
    """Memory of the GPU beside the catalogue's figure, of a CUDA context, and of a forward pass, with caches freed."""
    yield _memory(gpu)
    uuid = f"GPU-{getattr(torch.cuda.get_device_properties(gpu.torch_device), 'uuid', None)}"
    now = used_by_gpu().get(uuid)
    if now is not None and uuid in used_before:
        held = torch.cuda.memory_reserved(gpu.torch_device)
        yield Measurement(
            "cuda context",
            gpu.name,
            CUDA_CONTEXT_BYTES,
            max(0, now - used_before[uuid] - held),
            "bytes",
            "growth of nvidia-smi's memory.used since before CUDA started, less what torch's allocator holds; "
            "expected is what "
            "estimate leaves for it beside usable memory",
        )
    yield temporary_memory(scope, gpu)


def _memory(gpu: Cuda) -> Measurement:
    known = next((entry for entry in shipped_gpus() if gpu.name in entry.device_names), None)
    if known is None or known.memory_bytes is None:
        about = "not in the catalogue by this name"
        return Measurement("card memory", gpu.name, None, gpu.total_bytes, "bytes", about)
    difference = gpu.total_bytes - known.memory_bytes
    about = f"the catalogue's {known.name}, from {known.memory_from}"
    about += f"; {abs(difference):,} bytes {_more_or_less(difference)}"
    return Measurement("card memory", gpu.name, known.memory_bytes, gpu.total_bytes, "bytes", about)


def _more_or_less(difference: int) -> str:
    return "more than it says" if difference > 0 else "less than it says" if difference < 0 else "apart"


def round_trips(scope: Scope) -> Iterator[Measurement]:
    """The error of a round trip through each format that the cache is kept in."""
    names = [scope.format_of(layer, tensor.name) for layer in scope.kinds for tensor in layer.attention.cached()]
    for name in dict.fromkeys(names):
        error = round_trip_error(name)
        yield Measurement(
            "round trip",
            name,
            None,
            round(error, 6) if math.isfinite(error) else None,
            "relative error",
            "Euclidean norm, of normally distributed values stored and read back; not a model's loss of quality",
        )


def round_trip_error(format_name: str) -> float:
    """The Euclidean norm of the error of normally distributed values stored and read back, over that of the values."""
    rows = torch.randn(1, _ROWS, _HEADS, _WIDTH, generator=torch.Generator().manual_seed(1))
    stored_as = packing(format_name)
    back = stored_as.unpack(stored_as.pack(rows), tuple(rows.shape[2:]), torch.float32)
    return float((back - rows).norm() / rows.norm())
