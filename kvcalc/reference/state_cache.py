"""What one layer keeps whatever its context is: buffers that every step replaces. Letters of shapes are in base.py."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor

    from kvcalc.reference.cache import Stored


class StateCache:
    """Each tensor as (B, rows, ...), in whatever form its packing stores it."""

    def __init__(self, stored: Mapping[str, Stored]) -> None:
        self.stored = stored

    @property
    def buffers(self) -> list[Tensor]:
        return [stored.buffer for stored in self.stored.values()]

    def sequences(self, first: int, last: int) -> StateCache:
        """The same buffers, of sequences first to last - 1 only."""
        return StateCache({name: one._replace(buffer=one.buffer[first:last]) for name, one in self.stored.items()})

    def save(self, kept: Mapping[str, Tensor]) -> None:
        """Replace what is there.

        Raises:
            KeyError: a tensor that this cache has no buffer for.
        """
        for name, new in kept.items():
            self.stored[name].buffer.copy_(self.stored[name].packing.pack(new))

    def load(self, dtype: torch.dtype) -> dict[str, Tensor]:
        """What is there, as `dtype` or in more precision."""
        wide = torch.promote_types(dtype, torch.float32)
        return {name: one.packing.unpack(one.buffer, one.row, wide) for name, one in self.stored.items()}
