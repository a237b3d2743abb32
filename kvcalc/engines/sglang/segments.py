"""What of the allocator's segments no weight fills: SGLang prints how much less memory is free after it has loaded.

kvcalc/cuda_allocator.py has the rules. Small models lose the most: matrices of 1 to 10 MiB share segments of 20.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvcalc.cuda_allocator import predict
from kvcalc.engines.merged_matrices import merged_matrices
from kvcalc.engines.sglang.absorbed import sizes_of_absorbed
from kvcalc.term import Factor, Product

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kvcalc.engines.setup import Setup
    from kvcalc.model.stages import Stage

SOURCE = (
    "sglang/srt/model_executor/model_runner.py, load_model: the difference of free memory; torch, "
    "c10/cuda/CUDACachingAllocator.cpp, get_allocation_size"
)


def rests_of_segments(setup: Setup, stage: Stage) -> Iterator[Product]:
    """What is reserved for the matrices of a rank of a stage beyond their own bytes, as one row."""
    usage = predict(_as_made(setup, stage))
    if usage.reserved > usage.requested:
        rest = usage.reserved - usage.requested
        yield Product("rests of PyTorch's segments", (Factor("unfilled", rest, "byte"),), SOURCE)


def _as_made(setup: Setup, stage: Stage) -> Iterator[int]:
    """The bytes of one matrix after the other: layers are made in turn, and copies of latents' once all are loaded."""
    left = [(count, size) for count, size in merged_matrices(setup, stage) if count]
    while left:
        yield from (size for _, size in left)
        left = [(count - 1, size) for count, size in left if count > 1]
    yield from sizes_of_absorbed(setup, stage)
