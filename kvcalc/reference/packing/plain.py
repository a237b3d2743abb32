"""Elements as they are, in a dtype of torch."""

from __future__ import annotations

import torch
from torch import Tensor

from kvcalc.reference.packing.base import Packing


class Plain(Packing):
    """Elements as they are, in another dtype (IEEE 754-2019; bfloat16): beyond its range they become infinite."""

    def __init__(self, dtype: torch.dtype) -> None:
        self._dtype = dtype

    def pack(self, rows: Tensor) -> Tensor:
        return rows.to(self._dtype, copy=True, memory_format=torch.contiguous_format)

    def unpack(self, stored: Tensor, row: torch.Size | tuple[int, ...], dtype: torch.dtype) -> Tensor:
        return stored.to(dtype).reshape(*stored.shape[:2], *row)
