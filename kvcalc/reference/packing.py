"""How rows of a cache are really stored: each element format as the torch tensor that holds it.

Nothing here knows what a format ought to take: the bytes are those of the tensors that come out.

Shapes: B sequences; T tokens; row, what one token adds, (heads, width) or (width,); N blocks of E elements, which are a
row's elements in order; S bytes of a stored block.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from functools import partial
from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_TINY = torch.finfo(torch.float32).tiny


class Packing(ABC):
    """How one cached tensor stores its rows; one object a tensor, since it may keep that tensor's scale."""

    @abstractmethod
    def pack(self, rows: Tensor) -> Tensor:
        """What the cache stores.

        Args:
            rows: (B, T, *row), finite, of any floating dtype, on any device; on "meta" there are shapes only.

        Returns:
            (B, T, ...) with a storage of its own, whose bytes are what the cache takes.

        Raises:
            ValueError: blocks do not divide the row.
        """

    @abstractmethod
    def unpack(self, stored: Tensor, row: torch.Size | tuple[int, ...], dtype: torch.dtype) -> Tensor:
        """What attention reads back: (B, T, *row).

        Args:
            stored: (B, T, ...) as packed, or a part of it along B and T.
            row: the shape of a token's row.
            dtype: of the result.
        """


class _Plain(Packing):
    """Elements as they are, in another dtype (IEEE 754-2019; bfloat16): beyond its range they become infinite."""

    def __init__(self, dtype: torch.dtype) -> None:
        self._dtype = dtype

    def pack(self, rows: Tensor) -> Tensor:
        return rows.to(self._dtype, copy=True, memory_format=torch.contiguous_format)

    def unpack(self, stored: Tensor, row: torch.Size | tuple[int, ...], dtype: torch.dtype) -> Tensor:
        return stored.to(dtype).reshape(*stored.shape[:2], *row)


class _PerTensor(Packing):
    """Elements times one scale, which stays outside the tensor (OCP 8-bit Floating Point Specification; int8).

    The first rows that are not all zero fix the scale, so that their largest magnitude is the dtype's largest; whatever
    comes later saturates there.

    Attributes:
        scale: what a stored 1 stands for; None until rows fix it.
    """

    def __init__(self, dtype: torch.dtype) -> None:
        self._dtype = dtype
        self.scale: float | None = None

    def pack(self, rows: Tensor) -> Tensor:
        if self.scale is None and not rows.is_meta and rows.numel():
            largest = float(rows.abs().max())
            self.scale = max(largest / _top(self._dtype), _TINY) if largest else None
        return _quantize(rows.float() / (self.scale or 1.0), self._dtype).contiguous()

    def unpack(self, stored: Tensor, row: torch.Size | tuple[int, ...], dtype: torch.dtype) -> Tensor:
        return (stored.float() * (self.scale or 1.0)).to(dtype).reshape(*stored.shape[:2], *row)


class _Blocks(Packing):
    """Blocks of bytes, (B, T, N, S) uint8: a scale, then codes. Where engines put the scale changes no count."""

    def __init__(self, scale: torch.dtype, elements: int | None) -> None:
        """A scale of that dtype for so many elements of the whole row; None: for each head."""
        self._scale = scale
        self._elements = elements

    def pack(self, rows: Tensor) -> Tensor:
        row = rows.shape[2:]
        elements = self._elements or row[-1]
        blocks, rest = divmod(math.prod(row), elements)
        if rest:
            raise ValueError(f"blocks of {elements} elements do not divide a row of {math.prod(row)}, {tuple(row)}")
        scale, codes = self._encode(rows.float().reshape(*rows.shape[:2], blocks, elements))
        return torch.cat((_reinterpret(scale.to(self._scale), torch.uint8), codes), -1)

    def unpack(self, stored: Tensor, row: torch.Size | tuple[int, ...], dtype: torch.dtype) -> Tensor:
        scale = _reinterpret(stored[..., : self._scale.itemsize], self._scale)
        blocks = self._decode(stored[..., self._scale.itemsize :]) * scale.float()
        return blocks.to(dtype).reshape(*stored.shape[:2], *row)

    @abstractmethod
    def _encode(self, blocks: Tensor) -> tuple[Tensor, Tensor]:
        """(B, T, N, E) float32 -> scales (B, T, N, 1) float32 and codes (B, T, N, bytes) uint8."""

    @abstractmethod
    def _decode(self, codes: Tensor) -> Tensor:
        """(B, T, N, bytes) uint8 -> (B, T, N, E) float32, to be multiplied by the scales."""


class _ByteBlocks(_Blocks):
    """Elements of one byte, the largest magnitude of a block at the dtype's largest.

    q8_0 is llama.cpp's block_q8_0 (ggml/src/ggml-common.h) as quantize_row_q8_0_ref (ggml/src/ggml-quants.c) fills it.
    A scale for each head: vLLM, vllm/v1/kv_cache_interface.py; for each 128: FlashMLA, csrc/api/sparse_decode.h.
    """

    def __init__(self, dtype: torch.dtype, scale: torch.dtype, elements: int | None = None) -> None:
        super().__init__(scale, elements)
        self._dtype = dtype

    def _encode(self, blocks: Tensor) -> tuple[Tensor, Tensor]:
        scale = blocks.abs().amax(-1, keepdim=True) / _top(self._dtype)
        return scale, _quantize(blocks * _inverse(scale), self._dtype).view(torch.uint8)

    def _decode(self, codes: Tensor) -> Tensor:
        return codes.view(self._dtype).float()


class _HalfByteBlocks(_Blocks):
    """llama.cpp's block_q4_0, as quantize_row_q4_0_ref fills it: of 32 elements, j and j + 16 share byte j, j low.

    The scale takes the element of largest magnitude to -8, whatever its sign, so one as large of the other sign
    saturates at 7. A block of zeros gets the scale -0.0 and codes of 8, which stand for 0.
    """

    def _encode(self, blocks: Tensor) -> tuple[Tensor, Tensor]:
        scale = blocks.gather(-1, blocks.abs().argmax(-1, keepdim=True)) / -8
        low, high = (blocks * _inverse(scale) + 8.5).clamp(max=15).to(torch.uint8).chunk(2, -1)
        return scale, low | (high << 4)

    def _decode(self, codes: Tensor) -> Tensor:
        return torch.cat((codes & 15, codes >> 4), -1).float() - 8


def _quantize(scaled: Tensor, dtype: torch.dtype) -> Tensor:
    """float32 -> dtype, saturating; integers round half away from zero, as C's roundf does."""
    inside = scaled.clamp(-_top(dtype), _top(dtype))
    return (inside if dtype.is_floating_point else (2 * inside).trunc() - inside.trunc()).to(dtype)


def _top(dtype: torch.dtype) -> float:
    return torch.finfo(dtype).max if dtype.is_floating_point else torch.iinfo(dtype).max


def _inverse(scale: Tensor) -> Tensor:
    """1 / scale; the largest float32 where that is infinite, so that a block of zeros stays one."""
    return scale.reciprocal().nan_to_num()


def _reinterpret(tensor: Tensor, dtype: torch.dtype) -> Tensor:
    """The same bytes of the last axis as another dtype; copied, since a part of a block is not aligned for it."""
    return tensor.clone(memory_format=torch.contiguous_format).view(dtype)


_PACKINGS: Mapping[str, Callable[[], Packing]] = {
    "fp32": partial(_Plain, torch.float32),
    "bf16": partial(_Plain, torch.bfloat16),
    "fp16": partial(_Plain, torch.float16),
    "fp8": partial(_PerTensor, torch.float8_e4m3fn),
    "fp8_e5m2": partial(_PerTensor, torch.float8_e5m2),
    "int8": partial(_PerTensor, torch.int8),
    "fp8_per_token_head": partial(_ByteBlocks, torch.float8_e4m3fn, torch.float32),
    "int8_per_token_head": partial(_ByteBlocks, torch.int8, torch.float32),
    "fp8_block128": partial(_ByteBlocks, torch.float8_e4m3fn, torch.float32, 128),
    "q8_0": partial(_ByteBlocks, torch.int8, torch.float16, 32),
    "q4_0": partial(_HalfByteBlocks, torch.float16, 32),
}

PACKED: tuple[str, ...] = tuple(_PACKINGS)
"""The element formats, by kvcalc's names, that have a packing."""


def packing(name: str) -> Packing:
    """A fresh packing for an element format by kvcalc's name.

    Raises:
        KeyError: none of PACKED.
    """
    return _PACKINGS[name]()
