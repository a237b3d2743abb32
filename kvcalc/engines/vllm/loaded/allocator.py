"""The ends of blocks that torch's allocator counts to large weights: vLLM prints what is allocated, ends included.

kvcalc/cuda_allocator.py has the rule, and DeviceMemoryProfiler of vllm/utils/mem_utils.py takes
torch.cuda.max_memory_allocated.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvcalc.cuda_allocator import kept_end
from kvcalc.engines.merged_matrices import merged_matrices
from kvcalc.term import Factor, Product

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kvcalc.engines.setup import Setup
    from kvcalc.model.stages import Stage

SOURCE = "torch, c10/cuda/CUDACachingAllocator.cpp, should_split: an end of at most 1 MiB stays with its tensor"


def ends_of_blocks(setup: Setup, stage: Stage) -> Iterator[Product]:
    """What the weights of a rank of a stage keep of their blocks' ends, as one row."""
    total = sum(count * kept_end(size) for count, size in merged_matrices(setup, stage))
    if total:
        yield Product("rounding of PyTorch's allocator", (Factor("kept", total, "byte"),), SOURCE)
