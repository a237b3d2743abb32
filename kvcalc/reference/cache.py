"""One layer's cache: buffers for its rows, a ring where there is a window. Letters of shapes are in base.py."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor

from kvcalc.reference.base import Rows

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kvcalc.reference.packing import Packing


class Stored(NamedTuple):
    """The buffer of one tensor.

    Attributes:
        buffer: (B, slots, ...), in whatever form the packing stores rows.
        row: the shape of a row as the layer gives and reads it, (heads, width) or (width,).
        packing: to and from that form.
    """

    buffer: Tensor
    row: tuple[int, ...]
    packing: Packing


class LayerCache:
    """Rows of up to `slots` tokens; token p lies in slot p mod slots, over the token `slots` before it.

    Without a window there are as many slots as tokens, and nothing is overwritten.
    """

    def __init__(self, stored: Mapping[str, Stored], slots: int) -> None:
        self.stored, self.slots = stored, slots

    @property
    def buffers(self) -> list[Tensor]:
        return [stored.buffer for stored in self.stored.values()]

    def sequences(self, first: int, last: int) -> LayerCache:
        """The same buffers, of sequences first to last - 1 only."""
        part = {name: one._replace(buffer=one.buffer[first:last]) for name, one in self.stored.items()}
        return LayerCache(part, self.slots)

    def extend(self, kept: Mapping[str, Tensor], start: int, dtype: torch.dtype) -> Rows:
        """Store the rows of tokens start, start + 1, ..., and give what these tokens may read, as `dtype`.

        Tokens that come several at a time may read rows which the last of them overwrite: they get a copy.

        Raises:
            KeyError: a tensor that this cache has no buffer for.
        """
        tokens = next(iter(kept.values())).shape[1] if kept else 0
        device = self.buffers[0].device if self.stored else torch.device("cpu")
        if start + tokens <= self.slots or tokens == 1:
            self._write(kept, start)
            filled = min(start + tokens, self.slots)
            return Rows(self._read(filled, dtype), self._positions(start + tokens, device)[:filled])
        held = min(start, self.slots)
        before = self._read(held, dtype)
        at_S = torch.cat((self._positions(start, device)[:held], torch.arange(start, start + tokens, device=device)))
        rows = {name: torch.cat((before[name], self._rounded(name, new, dtype)), dim=1) for name, new in kept.items()}
        keep = min(tokens, self.slots)
        self._write({name: new[:, -keep:] for name, new in kept.items()}, start + tokens - keep)
        return Rows(rows, at_S)

    def _write(self, kept: Mapping[str, Tensor], start: int) -> None:
        for name, new in kept.items():
            one = self.stored[name]
            packed = one.packing.pack(new)
            first = start % self.slots
            before_wrap = min(packed.shape[1], self.slots - first)
            one.buffer[:, first : first + before_wrap] = packed[:, :before_wrap]
            one.buffer[:, : packed.shape[1] - before_wrap] = packed[:, before_wrap:]

    def _read(self, rows: int, dtype: torch.dtype) -> dict[str, Tensor]:
        return {name: one.packing.unpack(one.buffer[:, :rows], one.row, dtype) for name, one in self.stored.items()}

    def _rounded(self, name: str, new: Tensor, dtype: torch.dtype) -> Tensor:
        """Rows as they would come back from the buffer."""
        one = self.stored[name]
        return one.packing.unpack(one.packing.pack(new), one.row, dtype)

    def _positions(self, end: int, device: torch.device) -> Tensor:
        """The token in each slot (slots,) once `end` tokens have come; -1 where none has."""
        slots_S = torch.arange(self.slots, device=device)
        rounds_S = torch.div(end - 1 - slots_S, self.slots, rounding_mode="floor")
        return torch.where(slots_S < end, slots_S + rounds_S * self.slots, -1)
