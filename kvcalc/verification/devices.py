"""The machine: how much memory is free, and what the device's own counters say was taken."""

from __future__ import annotations

import contextlib
import gc
import os
from abc import ABC, abstractmethod
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import torch

from kvcalc.cuda_allocator import Rules, predict
from kvcalc.errors import CannotRunError
from kvcalc.units import MIB
from kvcalc.verification.allocator_options import NotModelled, rules_from
from kvcalc.verification.host_memory import available_bytes, give_back, left_in_container_bytes
from kvcalc.verification.torchrun import processes_here

if TYPE_CHECKING:
    from collections.abc import Iterable


class Counters(NamedTuple):
    """What torch's allocator says it holds on a device, in bytes, and what the driver says is free."""

    requested: int
    allocated: int
    reserved: int
    free: int


class Device(ABC):
    """Where caches are allocated.

    Attributes:
        kind: cpu or cuda.
        name: as its driver calls it.
    """

    kind: str
    name: str
    torch_device: torch.device

    @abstractmethod
    def free_bytes(self) -> int | None:
        """Memory that can be had now; None where that is not known."""

    @abstractmethod
    def needed_bytes(self, sizes: Iterable[int]) -> int:
        """Memory that tensors of these sizes take, with what the device needs around them."""

    def reserved_bytes(self, sizes: Iterable[int]) -> int | None:  # noqa: ARG002  # for devices that know
        """What its allocator reserves for tensors of these sizes, in this order; None where that is not known."""
        return None

    @abstractmethod
    def synchronize(self) -> None:
        """Wait until everything asked for is done."""

    def counters(self) -> Counters | None:
        """The allocator's figures, where the device has an allocator that counts."""
        return None

    @abstractmethod
    def release(self) -> None:
        """Give unused memory back."""


class Cpu(Device):
    """Host memory."""

    kind = "cpu"

    def __init__(self) -> None:
        self.torch_device, self.name = torch.device("cpu"), _processor_name()

    def free_bytes(self) -> int | None:
        """An even share, where several processes verify on this machine."""
        limits = [
            limit // processes_here() for limit in (available_bytes(), left_in_container_bytes()) if limit is not None
        ]
        return min(limits, default=None)

    def needed_bytes(self, sizes: Iterable[int]) -> int:
        """A tenth more, and what torch's threads take."""
        total = sum(sizes)
        return total + total // 10 + 64 * MIB

    def synchronize(self) -> None:
        """Nothing: the CPU works in order."""

    def release(self) -> None:
        """Large blocks go back at once; of small ones the C library keeps some."""
        gc.collect()
        give_back()


class Cuda(Device):
    """One GPU."""

    kind = "cuda"

    def __init__(self, index: int) -> None:
        self.torch_device = torch.device("cuda", index)
        torch.cuda.set_device(index)
        self.name = torch.cuda.get_device_name(index)
        torch.zeros(1, device=self.torch_device)  # the context and the first kernel, before anything is measured
        self.rules = _allocator_rules()
        self.release()

    def free_bytes(self) -> int | None:
        return int(torch.cuda.mem_get_info(self.torch_device)[0])

    @property
    def total_bytes(self) -> int:
        """Memory of the GPU, as its driver says."""
        return int(torch.cuda.mem_get_info(self.torch_device)[1])

    def needed_bytes(self, sizes: Iterable[int]) -> int:
        """What the allocator would reserve for them."""
        rules = Rules() if isinstance(self.rules, NotModelled) else self.rules
        return predict(sizes, rules).reserved

    def reserved_bytes(self, sizes: Iterable[int]) -> int | None:
        return None if isinstance(self.rules, NotModelled) else predict(sizes, self.rules).reserved

    def counters(self) -> Counters | None:
        stats = torch.cuda.memory_stats(self.torch_device)
        return Counters(
            stats.get("requested_bytes.all.current", 0),
            torch.cuda.memory_allocated(self.torch_device),
            torch.cuda.memory_reserved(self.torch_device),
            int(torch.cuda.mem_get_info(self.torch_device)[0]),
        )

    def synchronize(self) -> None:
        torch.cuda.synchronize(self.torch_device)

    def release(self) -> None:
        gc.collect()
        torch.cuda.synchronize(self.torch_device)
        torch._C._cuda_clearCublasWorkspaces()  # noqa: SLF001  # else 32 MiB stay after the first matrix product
        torch.cuda.empty_cache()


def _allocator_rules() -> Rules | NotModelled:
    """The rules by which the environment has set the allocator up, unless the allocator says otherwise."""
    is_rocm = getattr(torch.version, "hip", None) is not None
    rules = rules_from(os.environ, torch.cuda.get_allocator_backend(), is_rocm=is_rocm)
    if isinstance(rules, Rules):
        snapshot: Any = torch.cuda.memory._snapshot()  # noqa: SLF001  # the only place that tells
        in_force = snapshot.get("allocator_settings", {}).get("expandable_segments", rules.expandable_segments)
        if isinstance(in_force, bool) and in_force != rules.expandable_segments:
            return NotModelled(f"the allocator has expandable_segments {in_force}, and the environment says otherwise")
    return rules


def choose_device(asked: str, local_rank: int) -> Device | None:
    """The device that was asked for; None for meta, which has no memory. `auto` is a GPU if there is one, else the CPU.

    Raises:
        CannotRunError: no such device here.
    """
    if asked == "meta":
        return None
    gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if asked == "cpu" or (asked == "auto" and not gpus):
        return Cpu()
    if not gpus:
        raise CannotRunError(f"--device cuda: {_why_no_cuda()}; --device cpu and --device meta need no GPU")
    if local_rank >= gpus:
        raise CannotRunError(
            f"--device {asked}: rank {local_rank} of this machine has no GPU of its own: there are {gpus}"
        )
    try:
        return Cuda(local_rank)
    except RuntimeError as error:
        raise CannotRunError(f"--device {asked}: CUDA does not start: {str(error).splitlines()[0]}") from error


def _why_no_cuda() -> str:
    if torch.version.cuda is None and getattr(torch.version, "hip", None) is None:
        return (
            f"torch {torch.__version__} is built without CUDA; a build with it: "
            "python -m pip install --force-reinstall torch --index-url https://download.pytorch.org/whl/cu130"
        )
    return f"torch {torch.__version__} finds no GPU"


def _processor_name() -> str:
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return "cpu"
