"""DeepSeek-V4's entries: 448 elements in fp8 with a scale of a byte for each 64, and 64 rotated ones in bf16."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn.functional import pad

from kvcalc.reference.packing.base import Blocks
from kvcalc.reference.packing.codes import inverse, largest, quantize, reinterpret

_STILL, _GROUP = 448, 64
_BIAS, _MOST = 127, 254


class EntriesOf512(Blocks):
    """7 x 64 e4m3 values, 64 bf16 values, then 7 scales that are powers of two, and a byte that fills it: 584 bytes.

    vLLM 0.33.0, vllm/models/deepseek_v4/compressor.py: UE8M0, seven real scales and one of padding. A shorter row is
    filled with zeros.
    """

    def __init__(self) -> None:
        super().__init__(_STILL + _GROUP)

    def pack(self, rows: Tensor) -> Tensor:
        elements = math.prod(rows.shape[2:])
        missing = -elements % (_STILL + _GROUP)
        return super().pack(pad(rows.float().flatten(2), (0, missing)))

    def unpack(self, stored: Tensor, row: torch.Size | tuple[int, ...], dtype: torch.dtype) -> Tensor:
        whole = self._decode(stored).flatten(2)[..., : math.prod(row)]
        return whole.to(dtype).reshape(*stored.shape[:2], *row)

    def _encode(self, blocks: Tensor) -> Tensor:
        groups = blocks[..., :_STILL].unflatten(-1, (-1, _GROUP))  # type: ignore[no-untyped-call]  # torch
        least = groups.abs().amax(-1, keepdim=True) / largest(torch.float8_e4m3fn)
        exponents = torch.ceil(torch.log2(least.clamp(min=2.0**-_BIAS))).clamp(-_BIAS, _MOST - _BIAS)
        codes = quantize(groups * inverse(torch.exp2(exponents)), torch.float8_e4m3fn).view(torch.uint8).flatten(-2)
        turning = reinterpret(blocks[..., _STILL:].to(torch.bfloat16), torch.uint8)
        scales = (exponents.squeeze(-1) + _BIAS).to(torch.uint8)
        return torch.cat((codes, turning, scales, torch.zeros_like(scales[..., :1])), -1)

    def _decode(self, stored: Tensor) -> Tensor:
        codes, turning = stored[..., :_STILL], stored[..., _STILL : _STILL + 2 * _GROUP]
        exponents = stored[..., _STILL + 2 * _GROUP : -1].float() - _BIAS
        values = codes.contiguous().view(torch.float8_e4m3fn).float().unflatten(-1, (-1, _GROUP))  # type: ignore[no-untyped-call]  # torch's
        still = (values * torch.exp2(exponents).unsqueeze(-1)).flatten(-2)
        return torch.cat((still, reinterpret(turning.contiguous(), torch.bfloat16).float()), -1)
