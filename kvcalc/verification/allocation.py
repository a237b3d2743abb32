"""Every layer's cache of one rank, allocated for real and touched once."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, NamedTuple

import torch

if TYPE_CHECKING:
    from kvcalc.reference.cache import Cache
    from kvcalc.verification.devices import Device
    from kvcalc.verification.progress import Progress
    from kvcalc.verification.shapes import Observed


class Allocated(NamedTuple):
    """One layer's cache, and what it was made after."""

    observed: Observed
    cache: Cache


class Allocation(NamedTuple):
    """What was allocated.

    Attributes:
        layers: in order.
        seconds: that allocating and writing every byte once took.
    """

    layers: list[Allocated]
    seconds: float


def allocate(layers: list[Observed], device: Device, progress: Progress) -> Allocation:
    """Allocate the layers' caches and write every byte once, so that the system really gives the memory."""
    start = time.perf_counter()
    allocated: list[Allocated] = []
    try:
        for done, layer in enumerate(layers):
            progress("allocating", done, len(layers))
            allocated.append(Allocated(layer, layer.cache(device.torch_device)))
            for buffer in allocated[-1].cache.buffers:
                buffer.view(torch.uint8).fill_(1)
        device.synchronize()
    except BaseException:
        allocated.clear()  # whoever handles this may hold on to the traceback, and so to this list
        raise
    seconds = time.perf_counter() - start
    progress("allocating", len(layers), len(layers))
    return Allocation(allocated, seconds)


def held_bytes(layers: list[Allocated]) -> dict[str, int]:
    """Bytes of the storages behind the caches, by label of their kind of layer; one that is shared counts once."""
    held = dict.fromkeys((layer.observed.layer.label for layer in layers), 0)
    seen: set[int] = set()
    for layer in layers:
        for buffer in layer.cache.buffers:
            storage = buffer.untyped_storage()
            if storage.data_ptr() not in seen:
                seen.add(storage.data_ptr())
                held[layer.observed.layer.label] += storage.nbytes()
    return held
