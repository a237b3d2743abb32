"""Which accelerators a figure of one rank is of."""

from __future__ import annotations

TOGETHER = "+"
"""Between the names of cards that need not be alike."""


def each_gpu(gpu: str) -> str:
    """In words: every one, or of unlike cards the one with the least headroom, which figures are of."""
    return "the GPU with the least headroom" if TOGETHER in gpu else "each GPU"
