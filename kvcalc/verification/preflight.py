"""Before anything is allocated: caches that do not fit into free memory are refused, and what would fit is named."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from kvcalc.errors import CannotRunError
from kvcalc.verification.shapes import observe

if TYPE_CHECKING:
    from collections.abc import Callable

    from kvcalc.verification.devices import Device
    from kvcalc.verification.scope import Rank, Scope


def refuse_without_headroom(scope: Scope, rank: Rank, device: Device, sizes: list[int]) -> None:
    """Stop where a rank's caches do not fit.

    Raises:
        CannotRunError: the caches need more than is free; the largest batch and context that would fit are named.
    """
    free = device.free_bytes()
    needed = device.needed_bytes(sizes)
    if free is None or needed <= free:
        return
    workload = scope.scenario.workload

    def fits(batch: int, context: int) -> bool:
        smaller = replace(workload, batch=batch, context=context)
        asked = scope._replace(scenario=replace(scope.scenario, workload=smaller))
        observed = observe(asked, rank)
        return device.needed_bytes(size for layer in scope.layers(rank) for size in observed[layer.label].sizes) <= free

    batch = _most(workload.batch, lambda batch: fits(batch, workload.context))
    context = _most(workload.context, lambda context: fits(workload.batch, context))
    ways = [
        f"--batch {batch} at this context" if batch else "",
        f"--context {context} at this batch" if context else "",
    ]
    would = " or ".join(way for way in ways if way)
    raise CannotRunError(
        f"the cache takes {sum(sizes):,} bytes{_of(scope, rank)}, {needed:,} bytes with what {device.kind} needs "
        f"beside it, where {free:,} bytes are free; "
        + (f"the most that fits is {would}; " if would else "")
        + "--device meta checks it without memory"
    )


def _of(scope: Scope, rank: Rank) -> str:
    return f" on rank {rank.number} of {len(scope.ranks)}" if len(scope.ranks) > 1 else ""


def _most(limit: int, fits: Callable[[int], bool]) -> int:
    """The largest number below `limit` that fits, 0 if none does; what fits is everything up to some number."""
    low, high = 0, limit
    while high - low > 1:
        middle = (low + high) // 2
        if fits(middle):
            low = middle
        else:
            high = middle
    return low
