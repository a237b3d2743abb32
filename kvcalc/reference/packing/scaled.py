"""Elements times a scale: of a whole tensor, of each head and token, or of so many elements."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import pad

from kvcalc.reference.packing.base import Blocks, Packing
from kvcalc.reference.packing.codes import (
    inverse,
    join_pairs,
    largest,
    quantize,
    reinterpret,
    round_away,
    split_pairs,
)

_TINY = torch.finfo(torch.float32).tiny


class TensorScale:
    """One scale of a tensor, which stays outside it.

    The first rows that are not all zero fix it, so that their largest magnitude is the format's largest; whatever comes
    later saturates there.

    Attributes:
        value: what a stored 1 stands for; 1 until rows fix it.
    """

    def __init__(self, top: float) -> None:
        """For a format whose largest number is `top`."""
        self._top = top
        self._fixed = False
        self.value = 1.0

    def fix(self, rows: Tensor) -> None:
        if self._fixed or rows.is_meta or not rows.numel():
            return
        magnitude = float(rows.abs().max())
        if magnitude:
            self.value, self._fixed = max(magnitude / self._top, _TINY), True


class PerTensor(Packing):
    """Elements times one scale of the tensor (OCP 8-bit Floating Point Specification; int8)."""

    def __init__(self, dtype: torch.dtype) -> None:
        self._dtype = dtype
        self._scale = TensorScale(largest(dtype))

    def pack(self, rows: Tensor) -> Tensor:
        self._scale.fix(rows)
        return quantize(rows.float() / self._scale.value, self._dtype).contiguous()

    def unpack(self, stored: Tensor, row: torch.Size | tuple[int, ...], dtype: torch.dtype) -> Tensor:
        return (stored.float() * self._scale.value).to(dtype).reshape(*stored.shape[:2], *row)


class ByteBlocks(Blocks):
    """A scale, then elements of one byte, the largest magnitude of a block at the dtype's largest.

    q8_0 is llama.cpp's block_q8_0 (ggml/src/ggml-common.h) as quantize_row_q8_0_ref (ggml/src/ggml-quants.c) fills it.
    A scale for each head: vLLM, vllm/v1/kv_cache_interface.py; for each 128: FlashMLA, csrc/api/sparse_decode.h.
    """

    def __init__(self, dtype: torch.dtype, scale: torch.dtype, elements: int | None = None) -> None:
        super().__init__(elements)
        self._dtype = dtype
        self._scale = scale

    def _encode(self, blocks: Tensor) -> Tensor:
        scale = blocks.abs().amax(-1, keepdim=True) / largest(self._dtype)
        codes = quantize(blocks * inverse(scale), self._dtype)
        return torch.cat((reinterpret(scale.to(self._scale), torch.uint8), codes.view(torch.uint8)), -1)

    def _decode(self, stored: Tensor) -> Tensor:
        scale = reinterpret(stored[..., : self._scale.itemsize], self._scale)
        return stored[..., self._scale.itemsize :].view(self._dtype).float() * scale.float()


class HalfByteHeads(Blocks):
    """An fp32 scale for each head, then integers from -7 to 7 in two's complement, the largest magnitude at 7.

    Two elements share a byte, the even one low, as in vLLM's pack_int4_nibbles; a head of odd width has a zero at its
    end. vLLM (vllm/v1/attention/ops/int4_per_token_head.py) rotates a row first and hides a zero point in the scale's
    lowest four bits: neither takes a byte, and neither is done here.
    """

    def __init__(self) -> None:
        super().__init__(None)

    def _encode(self, blocks: Tensor) -> Tensor:
        scale = blocks.abs().amax(-1, keepdim=True) / 7
        codes = round_away(blocks * inverse(scale)).to(torch.int8).view(torch.uint8) & 15
        return torch.cat((reinterpret(scale, torch.uint8), join_pairs(pad(codes, (0, codes.shape[-1] % 2)))), -1)

    def _decode(self, stored: Tensor) -> Tensor:
        scale = reinterpret(stored[..., :4], torch.float32)
        return ((split_pairs(stored[..., 4:]) ^ 8).float() - 8) * scale
