"""What of the allocator's segments no weight fills: SGLang prints how much less memory is free after it has loaded.

kvcalc/cuda_allocator.py has the rules. Small models lose the most: matrices of 1 to 10 MiB share segments of 20.
"""

from __future__ import annotations

from functools import lru_cache
from itertools import chain
from typing import TYPE_CHECKING

from kvcalc.cuda_allocator import predict
from kvcalc.engines.merged_matrices import merged_matrices
from kvcalc.engines.sglang.absorbed import sizes_of_absorbed
from kvcalc.term import Factor, Product

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from kvcalc.engines.setup import Setup
    from kvcalc.model.stages import Stage

SOURCE = (
    "sglang/srt/model_executor/model_runner.py, load_model: the difference of free memory; torch, "
    "c10/cuda/CUDACachingAllocator.cpp, get_allocation_size"
)


def rests_of_segments(setup: Setup, stage: Stage) -> Iterator[Product]:
    """What is reserved for the matrices of a rank of a stage beyond their own bytes, as one row."""
    if rest := _unfilled(tuple(merged_matrices(setup, stage)), tuple(sizes_of_absorbed(setup, stage))):
        yield Product("rests of PyTorch's segments", (Factor("unfilled", rest, "byte"),), SOURCE)


@lru_cache(maxsize=256)  # searches ask of few shares on thousands of deployments
def _unfilled(matrices: tuple[tuple[int, int], ...], copies: tuple[tuple[int, int], ...]) -> int:
    """Of so many matrices of so many bytes, and of copies that are made once all of them are loaded."""
    usage = predict(chain(_in_turn(matrices), _in_turn(copies)))
    return usage.reserved - usage.requested


def _in_turn(counted: Iterable[tuple[int, int]]) -> Iterator[int]:
    """The bytes of one after the other: layers are made in turn."""
    left = [(count, size) for count, size in counted if count]
    while left:
        yield from (size for _, size in left)
        left = [(count - 1, size) for count, size in left if count > 1]
