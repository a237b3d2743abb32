"""Numbers to codes and back: rounding, scales as bytes, and two codes of four bits in a byte."""

from __future__ import annotations

import torch
from torch import Tensor


def largest(dtype: torch.dtype) -> float:
    """The largest finite number of a dtype."""
    return torch.finfo(dtype).max if dtype.is_floating_point else torch.iinfo(dtype).max


def quantize(scaled: Tensor, dtype: torch.dtype) -> Tensor:
    """float32 -> dtype, saturating; integers round half away from zero."""
    inside = scaled.clamp(-largest(dtype), largest(dtype))
    return (inside if dtype.is_floating_point else round_away(inside)).to(dtype)


def round_away(numbers: Tensor) -> Tensor:
    """To whole numbers, half away from zero, as C's roundf does."""
    return (2 * numbers).trunc() - numbers.trunc()


def inverse(scale: Tensor) -> Tensor:
    """1 / scale; the largest float32 where that is infinite, so that a block of zeros stays one."""
    return scale.reciprocal().nan_to_num()


def reinterpret(tensor: Tensor, dtype: torch.dtype) -> Tensor:
    """The same bytes of the last axis as another dtype; copied, since a part of a block is not aligned for it."""
    return tensor.clone(memory_format=torch.contiguous_format).view(dtype)


def join_pairs(codes: Tensor) -> Tensor:
    """Codes below 16, an even number -> bytes: 2j and 2j + 1 share byte j, 2j low."""
    return codes[..., 0::2] | (codes[..., 1::2] << 4)


def split_pairs(joined: Tensor) -> Tensor:
    return torch.stack((joined & 15, joined >> 4), -1).flatten(-2)


def join_halves(codes: Tensor) -> Tensor:
    """Codes below 16, an even number E -> bytes: j and j + E / 2 share byte j, j low."""
    low, high = codes.chunk(2, -1)
    return low | (high << 4)


def split_halves(joined: Tensor) -> Tensor:
    return torch.cat((joined & 15, joined >> 4), -1)
