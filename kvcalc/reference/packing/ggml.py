"""llama.cpp's blocks of 32 elements, in which two share a byte.

The layouts are those of ggml/src/ggml-common.h, and the bytes those of the reference functions in
ggml/src/ggml-quants.c, which on the CPU fill llama.cpp's cache.
"""

from __future__ import annotations

import torch
from torch import Tensor

from kvcalc.reference.packing.base import Blocks
from kvcalc.reference.packing.codes import inverse, join_halves, reinterpret, split_halves

_ELEMENTS = 32
_NIBBLE = 4
"""Bits of a code that share a byte with another's; a fifth one lies elsewhere."""

_FIFTH_BITS = _ELEMENTS // 8
"""Bytes that hold a block's fifth bits."""

_NON_LINEAR = (-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113)
"""kvalues_iq4nl of ggml-common.h."""

_NOTHING = 1e-15
"""Below this magnitude, GROUP_MAX_EPS, iq4_nl takes a block for zeros."""


class _Codes(Blocks):
    """Numbers in fp16, then codes of 4 or 5 bits."""

    def __init__(self, bits: int) -> None:
        super().__init__(_ELEMENTS)
        self._bits = bits

    def _store(self, numbers: tuple[Tensor, ...], codes: Tensor) -> Tensor:
        heads = [reinterpret(number.to(torch.float16), torch.uint8) for number in numbers]
        fifth = [_join_fifth_bits(codes)] if self._bits > _NIBBLE else []
        return torch.cat((*heads, *fifth, join_halves(codes & 15)), -1)

    def _load(self, stored: Tensor, numbers: int) -> tuple[Tensor, Tensor]:
        """The numbers, as many as there are, along the last axis in float32, and the codes."""
        start = numbers * torch.float16.itemsize
        heads, codes = reinterpret(stored[..., :start], torch.float16).float(), stored[..., start:]
        if self._bits > _NIBBLE:
            return heads, split_halves(codes[..., _FIFTH_BITS:]) | _split_fifth_bits(codes[..., :_FIFTH_BITS])
        return heads, split_halves(codes)


class Scaled(_Codes):
    """q4_0 and q5_0: a scale, and codes that are half of their range too large.

    The scale takes the element of largest magnitude to the least code, whatever its sign, so one as large of the other
    sign saturates. A block of zeros gets the scale -0.0 and the codes that stand for 0.
    """

    def _encode(self, blocks: Tensor) -> Tensor:
        half = 1 << (self._bits - 1)
        scale = _extreme(blocks) / -half
        codes = (blocks * inverse(scale) + (half + 0.5)).clamp(max=2 * half - 1).to(torch.uint8)
        return self._store((scale,), codes)

    def _decode(self, stored: Tensor) -> Tensor:
        scale, codes = self._load(stored, 1)
        return (codes.float() - (1 << (self._bits - 1))) * scale


class ScaledFromLeast(_Codes):
    """q4_1 and q5_1: a scale and the least element, and codes in steps of the scale from there to the greatest."""

    def _encode(self, blocks: Tensor) -> Tensor:
        top = (1 << self._bits) - 1
        least = blocks.amin(-1, keepdim=True)
        scale = (blocks.amax(-1, keepdim=True) - least) / top
        codes = ((blocks - least) * inverse(scale) + 0.5).clamp(max=top).to(torch.uint8)
        return self._store((scale, least), codes)

    def _decode(self, stored: Tensor) -> Tensor:
        numbers, codes = self._load(stored, 2)
        return codes.float() * numbers[..., :1] + numbers[..., 1:]


class NonLinear(_Codes):
    """iq4_nl: a scale, and the places of the nearest of 16 values, which lie closer together near zero.

    Codes are chosen with the element of largest magnitude at the first value; then the scale is the one of least
    squared error, each element weighed by its square (quantize_row_iq4_nl_ref, which searches no other choices). The
    sums are float64 here and float32 in llama.cpp: the last bit of a scale may differ.
    """

    def __init__(self) -> None:
        super().__init__(_NIBBLE)

    def _encode(self, blocks: Tensor) -> Tensor:
        values = torch.tensor(_NON_LINEAR, dtype=torch.float32, device=blocks.device)
        extreme = _extreme(blocks)
        scaled = (blocks * inverse(extreme / _NON_LINEAR[0])).contiguous()
        codes = torch.bucketize(scaled, (values[1:] + values[:-1]) / 2, right=True, out_int32=True)
        exact, chosen = blocks.double(), _take(values, codes).double()
        weighed = exact.square() * chosen
        scale = (weighed * exact).sum(-1, keepdim=True) / (weighed * chosen).sum(-1, keepdim=True)
        nothing = extreme.abs() < _NOTHING
        return self._store((scale.float().masked_fill(nothing, 0),), codes.to(torch.uint8).masked_fill(nothing, 0))

    def _decode(self, stored: Tensor) -> Tensor:
        scale, codes = self._load(stored, 1)
        values = torch.tensor(_NON_LINEAR, dtype=torch.int8, device=stored.device)
        return _take(values, codes.int()).float() * scale


def _extreme(blocks: Tensor) -> Tensor:
    """Of each block, the first element of largest magnitude."""
    return blocks.gather(-1, blocks.abs().argmax(-1, keepdim=True))


def _take(values: Tensor, places: Tensor) -> Tensor:
    return values.index_select(0, places.flatten()).reshape(places.shape)


def _join_fifth_bits(codes: Tensor) -> Tensor:
    """(..., 32) -> (..., 4): the bit of element j is bit j of a little-endian word."""
    places = torch.arange(8, dtype=torch.uint8, device=codes.device)
    return ((codes >> 4).reshape(*codes.shape[:-1], _FIFTH_BITS, 8) << places).sum(-1, dtype=torch.uint8)


def _split_fifth_bits(joined: Tensor) -> Tensor:
    """(..., 4) -> (..., 32), each 0 or 16."""
    places = torch.arange(8, dtype=torch.uint8, device=joined.device)
    return (((joined.unsqueeze(-1) >> places) & 1) << 4).flatten(-2)
