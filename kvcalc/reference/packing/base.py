"""How rows of a cache are stored: the interface, and rows cut into blocks of bytes.

Shapes, in every file of this folder: B sequences; T tokens; row, what one token adds, (heads, width) or (width,); N
blocks of E elements, which are a row's elements in order; S bytes of a stored block.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod

import torch
from torch import Tensor


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


class Blocks(Packing):
    """Blocks of bytes, (B, T, N, S) uint8: a scale, then codes. Where engines put the scale changes no count."""

    def __init__(self, elements: int | None) -> None:
        """So many elements of the whole row in a block; None: a head's."""
        self._elements = elements

    def pack(self, rows: Tensor) -> Tensor:
        row = rows.shape[2:]
        elements = self._elements or row[-1]
        blocks, rest = divmod(math.prod(row), elements)
        if rest:
            raise ValueError(f"blocks of {elements} elements do not divide a row of {math.prod(row)}, {tuple(row)}")
        return self._encode(rows.float().reshape(*rows.shape[:2], blocks, elements))

    def unpack(self, stored: Tensor, row: torch.Size | tuple[int, ...], dtype: torch.dtype) -> Tensor:
        elements = self._elements or row[-1]
        blocks = self._decode(stored)[..., :elements]
        return blocks.to(dtype).reshape(*stored.shape[:2], *row)

    @abstractmethod
    def _encode(self, blocks: Tensor) -> Tensor:
        """(B, T, N, E) float32 -> (B, T, N, S) uint8, a new tensor."""

    @abstractmethod
    def _decode(self, stored: Tensor) -> Tensor:
        """(B, T, N, S) uint8 -> (B, T, N, E) float32, or more, where the last elements of a block only fill it."""
