"""PyTorch's CUDA caching allocator as rules: what it requests, allocates and reserves for tensors.

Exact for the native backend of CUDA builds, one device and one stream, tensors allocated in order into an emptied cache
(`torch.cuda.empty_cache()` with nothing held) and none freed in between, outside graph capture and `MemPool`, with the
options of `Rules`. The rules were compared with an H100 80GB HBM3 under torch 2.11.0+cu130: 129 allocation lists with
the default configuration and the same 129 with `expandable_segments:True`, each figure equal to the byte.

Sources: https://github.com/pytorch/pytorch, c10/cuda/CUDACachingAllocator.cpp (round_size, get_pool, get_free_block,
get_allocation_size, should_split, try_allocate_expandable_block), c10/core/AllocatorConfig.h (the constants).
"""

from __future__ import annotations

from bisect import bisect_left, insort
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable

MIB = 2**20
MIN_BLOCK_SIZE = 512  # kMinBlockSize: every size is rounded up to a multiple of it
SMALL_SIZE = MIB  # kSmallSize: the largest size of the small pool
SMALL_BUFFER = 2 * MIB  # kSmallBuffer: a segment, or with expandable segments a page, of the small pool
MIN_LARGE_ALLOC = 10 * MIB  # kMinLargeAlloc: from here on a tensor gets a segment of its own
LARGE_BUFFER = 20 * MIB  # kLargeBuffer, later large_segment_size(): a segment for smaller ones, or a page
ROUND_LARGE = 2 * MIB  # kRoundLarge: a segment of its own is a multiple of it


class Usage(NamedTuple):
    """Bytes, as `torch.cuda.memory_stats()` counts them.

    Attributes:
        requested: `requested_bytes.all.current`, the tensors' own bytes.
        allocated: `allocated_bytes.all.current`, the blocks they own; also `torch.cuda.memory_allocated()`.
        reserved: `reserved_bytes.all.current`, what the driver gave; also `torch.cuda.memory_reserved()`.
    """

    requested: int
    allocated: int
    reserved: int


class Rules(NamedTuple):
    """The options that are modelled; everything else is as PyTorch has it by default.

    Attributes:
        expandable_segments: a pool is one segment that grows by pages (Linux only: PyTorch ignores it elsewhere).
    """

    expandable_segments: bool = False


DEFAULT = Rules()


def predict(sizes: Iterable[int], rules: Rules = DEFAULT) -> Usage:
    """What PyTorch counts after allocating tensors of these sizes in bytes, in this order, into an emptied cache."""
    requested = allocated = reserved = 0
    # The free blocks of each pool by size, ascending. Where they lie only decides between blocks of equal size.
    free_small: list[int] = []
    free_large: list[int] = []
    for nbytes in sizes:
        if nbytes == 0:
            continue  # an empty tensor has no block
        size = _round_up(nbytes, MIN_BLOCK_SIZE)
        small = size <= SMALL_SIZE
        free = free_small if small else free_large

        best_fit = bisect_left(free, size)
        if best_fit < len(free):
            block = free.pop(best_fit)
        elif rules.expandable_segments:
            # Where nothing is freed, the one free block is the end of the segment: it is extended.
            trailing = free.pop() if free else 0
            mapped = _round_up(size - trailing, SMALL_BUFFER if small else LARGE_BUFFER)
            block = trailing + mapped
            reserved += mapped
        else:
            block = _segment(size)
            reserved += block

        rest = block - size
        # A rest that is too small to split off stays with the tensor.
        if rest >= MIN_BLOCK_SIZE if small or rules.expandable_segments else rest > SMALL_SIZE:
            insort(free, rest)
            block = size
        requested += nbytes
        allocated += block
    return Usage(requested, allocated, reserved)


def kept_end(nbytes: int) -> int:
    """Bytes that a tensor with a segment of its own is counted beyond its own: an end that is too small to split off.

    0 of smaller tensors, which share segments.
    """
    rest = -nbytes % ROUND_LARGE
    return rest if nbytes >= MIN_LARGE_ALLOC and rest <= SMALL_SIZE else 0


def _round_up(value: int, multiple: int) -> int:
    return -(-value // multiple) * multiple


def _segment(size: int) -> int:
    """What is asked of cudaMalloc for a block of this size."""
    if size <= SMALL_SIZE:
        return SMALL_BUFFER
    if size < MIN_LARGE_ALLOC:
        return LARGE_BUFFER
    return _round_up(size, ROUND_LARGE)
