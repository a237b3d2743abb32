"""Small floating-point elements, a few of which share a small floating-point scale.

mxfp8 and mxfp4: OCP Microscaling Formats (MX) Specification 1.0. nvfp4: NVIDIA, as torchao computes it
(torchao/prototype/mx_formats/nvfp4_tensor.py).
"""

from __future__ import annotations

from abc import abstractmethod

import torch
from torch import Tensor

from kvcalc.reference.packing.base import Blocks
from kvcalc.reference.packing.codes import join_pairs, largest, quantize, reinterpret, split_pairs
from kvcalc.reference.packing.scaled import TensorScale

_E4M3 = torch.float8_e4m3fn
_E2M1 = (0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0)
"""What the codes 0 to 7 stand for; with 8 added, the same below zero."""


class _Shared(Blocks):
    """An e8m0 scale, 2^(byte - 127), then elements.

    The scale is the largest power of two in the block's largest magnitude, over the largest power of two that an
    element can be (section 6.3 of the specification): what is then above the largest element saturates. A block of
    zeros gets 2^-127, the byte 0.
    """

    def __init__(self, greatest_exponent: int) -> None:
        """For elements whose largest power of two has that exponent."""
        super().__init__(32)
        self._greatest_exponent = greatest_exponent

    def _encode(self, blocks: Tensor) -> Tensor:
        exponent = blocks.abs().amax(-1, keepdim=True).view(torch.int32) >> 23  # of float32, whose bias is 127 as well
        shared = (exponent - self._greatest_exponent).clamp(min=0)
        return torch.cat((shared.to(torch.uint8), self._to_bytes(blocks / _power(shared))), -1)

    def _decode(self, stored: Tensor) -> Tensor:
        return self._from_bytes(stored[..., 1:]) * _power(stored[..., :1].int())

    @abstractmethod
    def _to_bytes(self, scaled: Tensor) -> Tensor: ...

    @abstractmethod
    def _from_bytes(self, elements: Tensor) -> Tensor: ...


class MxFloat8(_Shared):
    """mxfp8: 32 elements in e4m3, whose largest is 1.75 x 2^8."""

    def __init__(self) -> None:
        super().__init__(8)

    def _to_bytes(self, scaled: Tensor) -> Tensor:
        return quantize(scaled, _E4M3).view(torch.uint8)

    def _from_bytes(self, elements: Tensor) -> Tensor:
        return elements.view(_E4M3).float()


class MxFloat4(_Shared):
    """mxfp4: 32 elements in e2m1, whose largest is 1.5 x 2^2; 2j and 2j + 1 share a byte, as torch has them."""

    def __init__(self) -> None:
        super().__init__(2)

    def _to_bytes(self, scaled: Tensor) -> Tensor:
        return join_pairs(_to_e2m1(scaled))

    def _from_bytes(self, elements: Tensor) -> Tensor:
        return _from_e2m1(split_pairs(elements))


class NvFloat4(Blocks):
    """nvfp4: an e4m3 scale, then 16 elements in e2m1, the largest magnitude near 6; and a scale of the tensor.

    The tensor's scale gives the largest magnitude of all the largest e4m3 scale. A block so small beside it that its
    scale rounds to zero is stored as zeros.
    """

    def __init__(self) -> None:
        super().__init__(16)
        self._scale = TensorScale(_E2M1[-1] * largest(_E4M3))

    def pack(self, rows: Tensor) -> Tensor:
        self._scale.fix(rows)
        return super().pack(rows)

    def _encode(self, blocks: Tensor) -> Tensor:
        blocks = blocks / self._scale.value
        scale = quantize(blocks.abs().amax(-1, keepdim=True) / _E2M1[-1], _E4M3)
        divisor = scale.float()
        scaled = (blocks / divisor).masked_fill(divisor == 0, 0)
        return torch.cat((scale.view(torch.uint8), join_pairs(_to_e2m1(scaled))), -1)

    def _decode(self, stored: Tensor) -> Tensor:
        scale = reinterpret(stored[..., :1], _E4M3).float() * self._scale.value
        return _from_e2m1(split_pairs(stored[..., 1:])) * scale


def _power(exponent: Tensor) -> Tensor:
    """2^(exponent - 127) for int32 exponents from 0 to 254: the float32 with those bits, a subnormal one for 0."""
    return torch.where(exponent == 0, 1 << 22, exponent << 23).view(torch.float32)


def _to_e2m1(scaled: Tensor) -> Tensor:
    """The codes of the nearest numbers, of the even code where two are as near, saturating; zeros keep their sign."""
    values = torch.tensor(_E2M1, device=scaled.device)
    between = (values[1:] + values[:-1]) / 2
    between[0::2] = between[0::2].nextafter(between.new_tensor(torch.inf))  # code 2j is even: a tie stays below
    codes = torch.bucketize(scaled.abs().contiguous(), between, right=True, out_int32=True).to(torch.uint8)
    return codes | (scaled.signbit().to(torch.uint8) << 3)


def _from_e2m1(codes: Tensor) -> Tensor:
    """By way of e5m2, which has one bit more below, three more above, and a bias that is greater by 14."""
    e5m2 = ((codes & 7) << 1) | ((codes & 8) << 4)
    return e5m2.view(torch.float8_e5m2).float().mul_(2.0**14)
