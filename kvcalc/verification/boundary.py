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
    from kvcalc.verification.shapes import Observed


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
    expected = _within_the_allocators_rounding(scenario, device, rank, limit)
    held = _most_that_allocate(scenario, device, rank, expected) if expected else 0
    beside = "beside weights, temporary memory, overhead and reserve"
    about = f"within {rank.usable_bytes:,} bytes of {_enforced_by(device)}"
    if expected < limit:
        about += f"; capacity says {limit:,}, and PyTorch's segments are larger than what is asked of them"
    return Boundary(
        scenario=replace(scenario, workload=replace(scenario.workload, batch=limit)),
        check=exactly("boundary", f"most sequences {beside}, stage {rank.stage}", expected, held, "sequences"),
        rung=Rung("boundary", ran=True, about=about),
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


class _Filling(NamedTuple):
    """What fills a rank's memory at a number of sequences.

    Attributes:
        beside: bytes of the buffers that stand for all but the layers' tensors, in the order in which they are made.
        layers: each layer's cache, in order.
    """

    beside: tuple[int, ...]
    layers: list[Observed]

    @property
    def cache_sizes(self) -> list[int]:
        """Bytes of the layers' tensors."""
        return [size for layer in self.layers for size in layer.sizes]


def _filling(scenario: Scenario, rank: Rank, sequences: int) -> _Filling:
    scope = scope_of(replace(scenario, workload=replace(scenario.workload, batch=sequences)))
    if scope.unsupported:
        raise KvcalcError(f"--boundary: {scope.unsupported[0].subject}: {scope.unsupported[0].reason}")
    place = next(each for each in scope.ranks if each.stage == rank.stage)
    observed = observe(scope, place)
    others = rank.overhead.bytes, rank.reserve.bytes
    rounding = rank.cache_bytes(sequences, scope.context) - scope.content_bytes(rank.layers)
    beside = rank.fixed_bytes - sum(others), *others, rank.temporary.term.bytes, rounding
    return _Filling(beside, [observed[layer.label] for layer in scope.layers(place)])


def _within_the_allocators_rounding(scenario: Scenario, device: Device, rank: Rank, limit: int) -> int:
    """The most sequences, `limit` at most, whose buffers the allocator's rules let into what is usable.

    The cap on a process counts whole segments, so the last of many small sequences may find none. A limit whose own
    bytes are more than what is usable stays as it is: it is mistaken, and must fail.
    """

    def sizes(sequences: int) -> tuple[int, ...]:
        filling = _filling(scenario, rank, sequences)
        return (*filling.beside, *filling.cache_sizes)

    def excess(sequences: int) -> int:
        reserved = device.reserved_bytes(sizes(sequences))
        return 0 if reserved is None else reserved - rank.usable_bytes

    if sum(sizes(limit)) > rank.usable_bytes:
        return limit
    one = max(1, sum(_filling(scenario, rank, 1).cache_sizes))
    expected = limit
    while expected and (above := excess(expected)) > 0:
        expected = max(0, expected - max(1, above // one))
    while expected < limit and excess(expected + 1) <= 0:
        expected += 1
    return expected


def _most_that_allocate(scenario: Scenario, device: Device, rank: Rank, limit: int) -> int | None:
    """Of one less than the limit, the limit, and one more, the most sequences that really allocate."""
    held = None
    for sequences in range(max(1, limit - 1), limit + 2):  # ascending: what fails may leave the heap in pieces
        if not _allocates(_filling(scenario, rank, sequences), sequences, device, rank.usable_bytes):
            break
        held = sequences
    return held


def _allocates(filling: _Filling, sequences: int, device: Device, usable: int) -> bool:
    device.release()
    if not isinstance(device, Cuda):
        _refuse_a_used_heap(sum(filling.cache_sizes) // sequences)
    buffers: list[torch.Tensor] = []
    with _limited(device, usable):
        try:
            buffers += (
                torch.empty(size, dtype=torch.uint8, device=device.torch_device).fill_(1) for size in filling.beside
            )
            allocation = allocate(filling.layers, device, silent)
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
    import resource  # not every system has it; those that say how large a process is do

    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (now + usable, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))
