"""One layer's cache, and how a layer computes through it. Letters of shapes are in base.py.

Attention keeps rows of tokens, in a ring where there is a window; a state is replaced by every step.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor

from kvcalc.reference.base import ReferenceAttention, ReferenceParts, ReferenceState, Rows

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kvcalc.reference.base import ReferenceLayer
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

    def store(self, kept: Mapping[str, Tensor], start: int) -> None:
        """Store the rows of tokens start, start + 1, ...; of more tokens than there are slots, the last.

        Raises:
            KeyError: a tensor that this cache has no buffer for.
        """
        for name, new in kept.items():
            one = self.stored[name]
            skipped = max(0, new.shape[1] - self.slots)
            packed = one.packing.pack(new[:, skipped:])
            first = (start + skipped) % self.slots
            before_wrap = min(packed.shape[1], self.slots - first)
            one.buffer[:, first : first + before_wrap] = packed[:, :before_wrap]
            one.buffer[:, : packed.shape[1] - before_wrap] = packed[:, before_wrap:]

    def extend(self, kept: Mapping[str, Tensor], start: int, dtype: torch.dtype) -> Rows:
        """Store rows as `store` does, and give those that their tokens may read, as `dtype`.

        Tokens that come several at a time may read rows which the last of them overwrite: they get a copy.

        Raises:
            KeyError: as `store`.
        """
        tokens = next(iter(kept.values())).shape[1]
        if start + tokens <= self.slots or tokens == 1:
            self.store(kept, start)
            return self.read(start + tokens, dtype)
        before = self.read(start, dtype)
        rows = {
            name: torch.cat((before.tensors[name], self._rounded(name, new, dtype)), 1) for name, new in kept.items()
        }
        at_T = torch.arange(start, start + tokens, device=before.positions_S.device)
        self.store(kept, start)
        return Rows(rows, torch.cat((before.positions_S, at_T)))

    def read(self, end: int, dtype: torch.dtype) -> Rows:
        """The rows that are there once `end` tokens have come."""
        held = min(end, self.slots)
        if not held:
            empty = {
                name: one.buffer.new_zeros((len(one.buffer), 0, *one.row), dtype=dtype)
                for name, one in self.stored.items()
            }
            return Rows(empty, torch.zeros(0, dtype=torch.int64, device=self.buffers[0].device))
        rows = {name: one.packing.unpack(one.buffer[:, :held], one.row, dtype) for name, one in self.stored.items()}
        slots_S = torch.arange(held, device=self.buffers[0].device)
        rounds_S = torch.div(end - 1 - slots_S, self.slots, rounding_mode="floor")
        return Rows(rows, slots_S + rounds_S * self.slots)

    def _rounded(self, name: str, new: Tensor, dtype: torch.dtype) -> Tensor:
        """Rows as they would come back from the buffer."""
        one = self.stored[name]
        return one.packing.unpack(one.packing.pack(new), one.row, dtype)


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


class PartsCache:
    """A cache for each part: of rows of tokens, of which a ring has the last, and of entries, one for every few."""

    def __init__(self, parts: Mapping[str, LayerCache]) -> None:
        self.parts = parts

    @property
    def buffers(self) -> list[Tensor]:
        return [buffer for part in self.parts.values() for buffer in part.buffers]

    @property
    def stored(self) -> dict[str, Stored]:
        return {name: part.stored[name] for name, part in self.parts.items()}

    def sequences(self, first: int, last: int) -> PartsCache:
        """The same buffers, of sequences first to last - 1 only."""
        return PartsCache({name: part.sequences(first, last) for name, part in self.parts.items()})

    def extend(self, module: ReferenceParts, x_BTD: Tensor, start: int) -> dict[str, Rows]:
        """Store the rows of these tokens, and the entries that they complete; give those that they may read."""
        end, dtype = start + x_BTD.shape[1], x_BTD.dtype
        wide = torch.promote_types(dtype, torch.float32)
        rows = {
            name: self.parts[name].extend({name: new}, start, wide if name in module.pooled else dtype)
            for name, new in module.keep(x_BTD, start).items()
        }
        if module.entries:
            first, stop = start // module.stride, end // module.stride
            tokens = max(0, first * module.stride - module.reach), stop * module.stride
            new = _entries(module, rows, first, tokens) if stop > first else {}
            for name in module.entries:
                part = self.parts[name]
                found = part.extend({name: new[name].to(dtype)}, first, dtype) if new else part.read(stop, dtype)
                rows[name] = found._replace(positions_S=(found.positions_S + 1) * module.stride - 1)
        return rows


def _entries(
    module: ReferenceParts, rows: Mapping[str, Rows], first: int, tokens: tuple[int, int]
) -> dict[str, Tensor]:
    """The entries that tokens complete, from rows of the tokens in a range."""
    return module.pool({name: in_order(rows[name], name, *tokens) for name in module.pooled}, first)


def in_order(rows: Rows, name: str, start: int, end: int) -> Tensor:
    """The rows of tokens start to end - 1, all of which are there."""
    order = rows.positions_S.argsort()
    first = int(rows.positions_S[order[0]])
    return rows.tensors[name][:, order[start - first : end - first]]


Cache = LayerCache | StateCache | PartsCache


def begin(module: ReferenceLayer, cache: Cache, sequences: int) -> None:
    """Put there what is kept before the first token."""
    if isinstance(module, ReferenceState) and isinstance(cache, StateCache):
        cache.save(module.begin(sequences))


def step(module: ReferenceLayer, cache: Cache, x_BTD: Tensor, start: int) -> Tensor:
    """The output (B, T, D) of tokens at positions start, ..., from the cache, which holds them afterwards."""
    match module, cache:
        case ReferenceAttention(), LayerCache():
            rows = cache.extend(module.keep(x_BTD, start), start, x_BTD.dtype)
            return module.attend(x_BTD, start, rows)
        case ReferenceParts(), PartsCache():
            return module.attend(x_BTD, start, cache.extend(module, x_BTD, start))
        case ReferenceState(), StateCache():
            output_BTD, kept = module.advance(x_BTD, cache.load(x_BTD.dtype))
            cache.save(kept)
            return output_BTD
        case _:
            raise TypeError(f"{type(module).__name__} does not keep its memory in a {type(cache).__name__}")


def fill(module: ReferenceLayer, cache: Cache, x_BTD: Tensor, start: int) -> None:
    """Leave in the cache what tokens at positions start, ... leave there."""
    if isinstance(module, ReferenceAttention) and isinstance(cache, LayerCache):
        cache.store(module.keep(x_BTD, start), start)
    elif isinstance(module, ReferenceParts) and isinstance(cache, PartsCache):
        cache.extend(module, x_BTD, start)
    else:
        step(module, cache, x_BTD, start)
