"""TurboMind's slabs: what of a region of memory blocks can take."""

from __future__ import annotations

LEAST, MOST = 2**25, 2**30
"""src/turbomind/memory/object.cc, MemoryState: kMinSlabSize and kMaxSlabSize."""
FILLED_OF_100 = 95


def slab_bytes(block: int) -> int:
    """Of a slab for blocks of so many bytes: the least power of two that they fill well, or the most."""
    size = max(LEAST, 1 << (block - 1).bit_length())
    while 100 * (size // block * block) < FILLED_OF_100 * size and size < MOST:
        size *= 2
    return size


def slabs_bytes(region: int, block: int) -> int:
    """What blocks take of a region that begins where a page does."""
    if not block:
        return region
    slab = slab_bytes(block)
    return region // slab * (slab // block) * block
