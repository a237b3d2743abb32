"""Every layer's cache of one rank, allocated for real and touched once."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, NamedTuple

import torch

if TYPE_CHECKING:
    from kvcalc.reference.cache import LayerCache
    from kvcalc.verification.devices import Device
    from kvcalc.verification.observe import Observed
    from kvcalc.verification.progress import Progress


class Allocation(NamedTuple):
    """What was allocated.

    Attributes:
        caches: one a layer, in order.
        seconds: that allocating and writing every byte once took.
    """

    caches: list[LayerCache]
    seconds: float


def allocate(layers: list[Observed], device: Device, progress: Progress) -> Allocation:
    """Allocate the layers' caches and write every byte once, so that the system really gives the memory."""
    start = time.perf_counter()
    caches = []
    for done, layer in enumerate(layers):
        progress("allocating", done, len(layers))
        cache = layer.cache(device.torch_device)
        for buffer in cache.buffers:
            buffer.view(torch.uint8).fill_(1)
        caches.append(cache)
    device.synchronize()
    progress("allocating", len(layers), len(layers))
    return Allocation(caches, time.perf_counter() - start)


def held_bytes(cache: LayerCache) -> int:
    """Bytes of the distinct storages behind a cache's buffers."""
    storages = {buffer.untyped_storage().data_ptr(): buffer.untyped_storage().nbytes() for buffer in cache.buffers}
    return sum(storages.values())


def plain_fill_seconds(size: int, device: Device) -> float:
    """How long one flat buffer of that size takes to allocate and write: what the caches are compared with."""
    start = time.perf_counter()
    buffer = torch.empty(size, dtype=torch.uint8, device=device.torch_device)
    buffer.fill_(1)
    device.synchronize()
    seconds = time.perf_counter() - start
    del buffer
    device.release()
    return seconds
