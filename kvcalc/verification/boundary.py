"""The edge of a memory: beside the rest of a rank, the cache at the limit of `capacity` allocates; one more does not.

Buffers of the size of the weights, temporary memory, overhead and reserve stand for what a serving engine would have
there, and one for what an engine that rounds reserves above what the layers hold. The limit is enforced from outside:
on a GPU by PyTorch's own cap on a process's memory, on the CPU by the system's limit on its address space.
"""

from __future__ import annotations

import contextlib
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

import torch

from kvcalc.deployment import Deployment
from kvcalc.errors import CannotRunError, KvcalcError
from kvcalc.memory import ranks_of
from kvcalc.verbs.capacity import capacity
from kvcalc.verification.allocation import allocate
from kvcalc.verification.devices import Cuda, choose_device
from kvcalc.verification.host_memory import address_space_bytes, freed_bytes, map_large_blocks
from kvcalc.verification.progress import silent
from kvcalc.verification.result import Check, Rung, exactly
from kvcalc.verification.scope import scope_of
from kvcalc.verification.shapes import observe
from kvcalc.verification.torchrun import processes_started

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kvcalc.memory import Rank
    from kvcalc.scenario import Scenario
    from kvcalc.verification.devices import Device


class Boundary(NamedTuple):
    """What `find_boundary` found.

    Attributes:
        scenario: the one asked for, with the device's memory and as many sequences as `capacity` says.
    """

    scenario: Scenario
    check: Check
    rung: Rung


def find_boundary(scenario: Scenario, device_name: str) -> Boundary:
    """Allocate at the limit of `capacity`, and beyond it.

    Args:
        scenario: the model, the context, what stands beside the cache; the accelerator's memory if the user gives it.
        device_name: cpu, cuda or auto.

    Raises:
        CannotRunError: no such device, or not one sequence fits on it.
        KvcalcError: the scenario cannot be.
    """
    if processes_started() > 1:
        raise KvcalcError("--boundary: one process tries one rank; start it without torchrun")
    device = choose_device(device_name, 0)
    if device is None:
        raise KvcalcError("--boundary: the meta device has no memory; use --device cuda or --device cpu")
    scenario = _with_memory(scenario, device)
    answer, context = capacity(scenario), scenario.workload.context
    limit = answer.sequences
    if not limit:
        why = (
            "sequences cost nothing" if limit is None else f"a rank lacks {answer.one_more_lacks_bytes:,} bytes for one"
        )
        raise CannotRunError(f"--boundary: there is none to find: {why} of {context:,} tokens")
    rank = max(
        ranks_of(scenario, scenario.deployment or Deployment()),
        key=lambda each: each.fixed_bytes + each.cache_bytes(limit + 1, context),
    )
    held = _most_that_allocate(scenario, device, rank, limit)
    beside = "beside weights, temporary memory, overhead and reserve"
    return Boundary(
        scenario=replace(scenario, workload=replace(scenario.workload, batch=limit)),
        check=exactly("boundary", f"most sequences {beside}, stage {rank.stage}", limit, held, "sequences"),
        rung=Rung("boundary", ran=True, about=f"within {rank.usable_bytes:,} bytes of {_enforced_by(device)}"),
    )


def _enforced_by(device: Device) -> str:
    return "PyTorch's cap on the process" if isinstance(device, Cuda) else "address space that the system allows"


def _with_memory(scenario: Scenario, device: Device) -> Scenario:
    """The scenario with the GPU's own memory, or the limit that the user gives."""
    gpu = scenario.gpu
    if gpu.memory_from != "user":
        if not isinstance(device, Cuda):
            raise KvcalcError("--boundary: on the CPU it needs --gpu-memory SIZE, a limit for the system to enforce")
        gpu = replace(gpu, name=device.name, memory_bytes=device.total_bytes, memory_from="runtime")
    settled = replace(scenario, gpu=gpu, deployment=scenario.deployment or Deployment())
    _start_threads(device)
    free = device.free_bytes()
    if free is not None and settled.usable_bytes > free:
        raise CannotRunError(
            f"--boundary: {settled.usable_bytes:,} bytes are to be used, and {free:,} bytes are free; give less with "
            "--gpu-memory or --utilization"
        )
    return settled


def _start_threads(device: Device) -> None:
    """Let torch start those that fill large tensors: their stacks and heaps are no part of what is tried.

    From here on the C library gives large blocks back to the system as soon as they are freed.
    """
    map_large_blocks()
    for _ in range(3):
        torch.empty(2**26, dtype=torch.uint8, device=device.torch_device).fill_(1)
    device.synchronize()


def _most_that_allocate(scenario: Scenario, device: Device, rank: Rank, limit: int) -> int | None:
    """Of one less than the limit, the limit, and one more, the most sequences that really allocate."""
    beside = [rank.fixed_bytes - rank.overhead.bytes - rank.reserve.bytes]
    beside += [rank.overhead.bytes, rank.reserve.bytes, rank.temporary.term.bytes]
    held = None
    for sequences in range(max(1, limit - 1), limit + 2):  # ascending: what fails may leave the heap in pieces
        if not _allocates(scenario, device, rank, sequences, beside):
            break
        held = sequences
    return held


def _allocates(scenario: Scenario, device: Device, rank: Rank, sequences: int, beside: list[int]) -> bool:
    scope = scope_of(replace(scenario, workload=replace(scenario.workload, batch=sequences)))
    if scope.unsupported:
        raise KvcalcError(f"--boundary: {scope.unsupported[0].subject}: {scope.unsupported[0].reason}")
    place = next(each for each in scope.ranks if each.stage == rank.stage)
    observed = observe(scope, place)
    layers = [observed[layer.label] for layer in scope.layers(place)]
    rounding = rank.cache_bytes(sequences, scope.context) - scope.content_bytes(rank.layers)
    device.release()
    if not isinstance(device, Cuda):
        _refuse_a_used_heap(sum(sum(layer.sizes) for layer in layers) // sequences)
    buffers: list[torch.Tensor] = []
    with _limited(device, rank.usable_bytes):
        try:
            buffers += (
                torch.empty(size, dtype=torch.uint8, device=device.torch_device).fill_(1)
                for size in (*beside, rounding)
            )
            allocation = allocate(layers, device, silent)
        except (MemoryError, torch.OutOfMemoryError):
            return False
        except RuntimeError as error:
            if "can't allocate memory" not in str(error):
                raise
            return False
        finally:
            buffers.clear()
            device.release()
        allocation.layers.clear()
    device.release()
    return True


def _refuse_a_used_heap(sequence_bytes: int) -> None:
    """Refuse a heap that keeps half a sequence or more of freed memory: it stays mapped, so the limit does not see it.

    Raises:
        CannotRunError: it keeps as much.
    """
    freed = freed_bytes()
    if freed * 2 >= sequence_bytes:
        raise CannotRunError(
            f"--boundary: this process keeps {freed:,} bytes of memory that was freed, and a sequence takes "
            f"{sequence_bytes:,} bytes; use a fresh process, or longer sequences"
        )


@contextlib.contextmanager
def _limited(device: Device, usable: int) -> Iterator[None]:
    """Give this process at most so many bytes, enforced from outside."""
    if isinstance(device, Cuda):
        torch.cuda.set_per_process_memory_fraction(min(1.0, usable / device.total_bytes), device.torch_device)
        try:
            yield
        finally:
            torch.cuda.set_per_process_memory_fraction(1.0, device.torch_device)
        return
    now = address_space_bytes()
    if now is None:
        raise CannotRunError("--boundary: this system does not say how large a process is; use --device cuda")
    import resource  # noqa: PLC0415  # not every system has it; those that say how large a process is do

    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (now + usable, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))
