"""Refusing what has no room, and saying what would."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from kvcalc.errors import CannotRunError
from kvcalc.verification.shapes import observe

if TYPE_CHECKING:
    from collections.abc import Callable

    from kvcalc.verification.devices import Device
    from kvcalc.verification.scope import Case, Rank


def refuse_without_room(case: Case, rank: Rank, device: Device, sizes: list[int]) -> None:
    """Stop before anything is allocated.

    Raises:
        CannotRunError: the caches need more than is free; the largest batch and context that would fit are named.
    """
    free = device.free_bytes()
    needed = device.needed_bytes(sizes)
    if free is None or needed <= free:
        return
    workload = case.scenario.workload

    def fits(batch: int, context: int) -> bool:
        smaller = replace(workload, batch=batch, context=context)
        asked = case._replace(scenario=replace(case.scenario, workload=smaller))
        observed = observe(asked, rank)
        return device.needed_bytes(size for layer in case.layers(rank) for size in observed[layer.label].sizes) <= free

    batch = _most(workload.batch, lambda batch: fits(batch, workload.context))
    context = _most(workload.context, lambda context: fits(workload.batch, context))
    ways = [
        f"--batch {batch} at this context" if batch else "",
        f"--context {context} at this batch" if context else "",
    ]
    would = " or ".join(way for way in ways if way)
    raise CannotRunError(
        f"the cache takes {sum(sizes):,} bytes{_of(case, rank)}, {needed:,} bytes with what {device.kind} needs "
        f"beside it, where {free:,} bytes are free; "
        + (f"the most that fits is {would}; " if would else "")
        + "--device meta checks it without memory"
    )


def _of(case: Case, rank: Rank) -> str:
    return f" on rank {rank.number} of {len(case.ranks)}" if len(case.ranks) > 1 else ""


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
