"""A layer that keeps nothing: it has no attention, or it reads the cache of an earlier layer."""

from __future__ import annotations

from typing import Self

import torch
from torch import Tensor

from kvcalc.reference.base import ReferenceAttention, Rows


class KeepsNothing(ReferenceAttention):
    """Adds nothing to its tokens: what such layers compute is not attention over a cache of their own."""

    def keep(self, x_BTD: Tensor, start: int) -> dict[str, Tensor]:  # noqa: ARG002  # the interface's
        """Nothing."""
        return {}

    def attend(self, x_BTD: Tensor, start: int, rows: Rows) -> Tensor:  # noqa: ARG002  # the interface's
        return torch.zeros_like(x_BTD)

    def forward(self, x_BTD: Tensor, last: int | None = None) -> Tensor:
        return torch.zeros_like(x_BTD if last is None else x_BTD[:, -last:])

    def shard(self, rank: int, tp: int) -> Self:  # noqa: ARG002  # the interface's
        return self
