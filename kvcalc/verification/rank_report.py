"""What one rank found of its caches: shapes alone, or allocated on a device, counted, decoded from, and given back."""

from __future__ import annotations

from collections import Counter
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, NamedTuple

import torch

from kvcalc.cuda_allocator import predict
from kvcalc.errors import CannotRunError
from kvcalc.verification.allocation import allocate, held_bytes
from kvcalc.verification.allocator_options import NotModelled
from kvcalc.verification.decoding import decode, headroom_needed
from kvcalc.verification.devices import Cuda
from kvcalc.verification.host_memory import peak_bytes, resident_bytes
from kvcalc.verification.measurements import fill_speed, gpu_measurements, host_memory, plain_fill
from kvcalc.verification.preflight import refuse_without_headroom
from kvcalc.verification.result import Check, Measurement, exactly
from kvcalc.verification.shapes import Observed, observe

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from kvcalc.verification.allocation import Allocated
    from kvcalc.verification.decoding import Decoded
    from kvcalc.verification.devices import Counters, Device
    from kvcalc.verification.progress import Progress
    from kvcalc.verification.scope import Rank, Scope


class RankReport(NamedTuple):
    """What one rank stores: plain values, which processes can send each other.

    Attributes:
        elements: of one token in one layer: label of the kind -> name of the tensor -> elements.
        layers: label -> how many layers of the kind the rank has.
        held: label -> bytes that those layers hold.
        allocator: the allocator's figures against its rules; empty where there are none.
        no_allocator: why there are none.
        decoded: label -> what decoding from the real cache gave; empty where it was not done.
        no_decode: why it was not.
    """

    rank: Rank
    elements: Mapping[str, Mapping[str, int]]
    layers: Mapping[str, int]
    held: Mapping[str, int]
    allocator: tuple[Check, ...] = ()
    no_allocator: str = ""
    decoded: Mapping[str, Decoded] = {}  # never written
    no_decode: str = ""
    measurements: tuple[Measurement, ...] = ()


def shape_report(scope: Scope, rank: Rank) -> RankReport:
    """What the shapes say that the rank stores, without any memory."""
    return _shapes(scope, rank, observe(scope, rank))


def _shapes(scope: Scope, rank: Rank, observed: Mapping[str, Observed]) -> RankReport:
    layers = Counter(layer.label for layer in scope.layers(rank))
    return RankReport(
        rank,
        {label: {name: kept.elements for name, kept in one.tensors.items()} for label, one in observed.items()},
        layers,
        {label: count * sum(observed[label].sizes) for label, count in layers.items()},
    )


def real_report(
    scope: Scope, rank: Rank, device: Device, *, decoding: bool, used_before: Mapping[str, int], progress: Progress
) -> RankReport:
    """What the rank's caches really take on a device.

    Raises:
        CannotRunError: the device lacks the memory for them.
    """
    observed = observe(scope, rank)
    shapes = _shapes(scope, rank, observed)
    layers = [observed[layer.label] for layer in scope.layers(rank)]
    sizes = [size for layer in layers for size in layer.sizes]
    device.release()
    refuse_without_headroom(scope, rank, device, sizes)
    with memory_errors_explained():
        report = _measured(scope, shapes, layers, device, decoding=decoding, progress=progress)
        extra: list[Measurement] = []
        if isinstance(device, Cuda):  # of the CPU, a speed would tell how its system hands out pages
            extra += [*plain_fill(sum(sizes), device), *gpu_measurements(scope, device, used_before)]
    return report._replace(measurements=(*report.measurements, *extra))


def _measured(
    scope: Scope, shapes: RankReport, layers: list[Observed], device: Device, *, decoding: bool, progress: Progress
) -> RankReport:
    sizes = [size for layer in layers for size in layer.sizes]
    before, resident = device.counters(), resident_bytes()
    allocation = allocate(layers, device, progress)
    try:
        after, peak = device.counters(), peak_bytes()
        report = shapes._replace(held=held_bytes(allocation.layers))
        if before is not None and after is not None and isinstance(device, Cuda):
            report = _with_counters(scope, report, device, sizes, before, after)
            report = _measuring(report, fill_speed(sum(sizes), allocation.seconds))
        elif resident is not None and peak is not None:
            report = _measuring(report, host_memory(sum(sizes), peak - resident))
        return _with_decoding(report, scope, allocation.layers, device, decoding=decoding, progress=progress)
    finally:
        allocation.layers.clear()
        with suppress(RuntimeError):  # a device that has failed fails here again
            device.release()


def _measuring(report: RankReport, measured: Iterable[Measurement]) -> RankReport:
    return report._replace(measurements=(*report.measurements, *measured))


def _with_counters(
    scope: Scope, report: RankReport, device: Cuda, sizes: list[int], before: Counters, after: Counters
) -> RankReport:
    """The allocator's figures against its rules, and the driver's beside them."""
    subject = f"rank {report.rank.number}"
    fell = Measurement(
        "fall of free memory",
        "the driver's figure",
        after.reserved - before.reserved,
        before.free - after.free,
        "bytes",
        "expected is what torch's allocator reserved",
    )
    requested = exactly("requested bytes", subject, scope.rank_bytes(report.rank), after.requested - before.requested)
    report = _measuring(report._replace(allocator=(requested,)), [fell])
    if isinstance(device.rules, NotModelled):
        return report._replace(no_allocator=device.rules.reason)
    if before.allocated or before.reserved:
        return report._replace(no_allocator=f"{before.reserved:,} bytes were in use before: another tensor is held")
    usage = predict(sizes, device.rules)
    checks: tuple[Check, ...] = (
        requested,
        exactly("allocated bytes", subject, usage.allocated, after.allocated),
        exactly("reserved bytes", subject, usage.reserved, after.reserved),
    )
    return report._replace(allocator=checks)


def _with_decoding(
    report: RankReport,
    scope: Scope,
    layers: list[Allocated],
    device: Device,
    *,
    decoding: bool,
    progress: Progress,
) -> RankReport:
    if not decoding:
        return report._replace(no_decode="on the CPU it is slow, so it waits for --decode")
    needed = headroom_needed(scope, {layer.observed.layer.label: layer.observed for layer in layers})
    free = device.free_bytes()
    if free is not None and needed > free:
        return report._replace(
            no_decode=f"beside the caches {free:,} bytes are free, and weights and chunks may take {needed:,} bytes"
        )
    try:
        return report._replace(decoded=decode(scope, report.rank, layers, device, progress))
    except torch.OutOfMemoryError as error:  # what the caches take is known all the same
        return report._replace(no_decode=f"memory ran out: {_line(error)}")


@contextmanager
def memory_errors_explained() -> Iterator[None]:
    """Turn the errors of memory that ran out, although enough was free when it was counted, into CannotRunError."""
    try:
        yield
    except torch.OutOfMemoryError as error:
        raise CannotRunError(
            f"the GPU ran out of memory, which another process may have taken: {_line(error)}"
        ) from error
    except MemoryError as error:
        raise CannotRunError("the machine ran out of memory, which another process may have taken") from error
    except RuntimeError as error:
        if "can't allocate memory" in str(error) or "not enough memory" in str(error):
            raise CannotRunError(f"the machine ran out of memory: {_line(error)}") from error
        if "CUDA" in str(error) or "CUBLAS" in str(error):
            raise CannotRunError(f"the GPU failed: {_line(error)}") from error
        raise


def _line(error: Exception) -> str:
    return str(error).splitlines()[0]
