"""LFM2's gated short convolution. Letters of shapes are in base.py.

Source: https://arxiv.org/abs/2511.23404 section 2; projections as in transformers' Lfm2ShortConv.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Self

from torch import Tensor, nn

from kvcalc.reference.base import ReferenceState, copy_columns, copy_rows, heads_of
from kvcalc.reference.convolution import CausalConvolution, Convolutions
from kvcalc.reference.stored_as import INPUTS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kvcalc.mechanisms import ShortConv
    from kvcalc.model.span import Span


class ShortConvolution(ReferenceState):
    """y = C * conv(B * x): two gates around a convolution, whose inputs are all that is kept."""

    small = {"hidden_size": 48, "conv_kernel": 6, "dilation": 2}  # noqa: RUF012  # declared as a class variable in the base
    stored_as = {"conv": INPUTS}  # noqa: RUF012  # likewise

    def __init__(self, mechanism: ShortConv, hidden_size: int, span: Span | None = None) -> None:
        super().__init__(mechanism, hidden_size, span)
        channels, self.steps = mechanism.hidden_size, mechanism.dilation
        self.b_proj = nn.Linear(hidden_size, channels, bias=False)
        self.c_proj = nn.Linear(hidden_size, channels, bias=False)
        self.x_proj = nn.Linear(hidden_size, channels, bias=False)
        self.conv = CausalConvolution(channels, mechanism.conv_kernel, mechanism.dilation)
        self.out_proj = nn.Linear(channels, hidden_size, bias=False)

    def begin(self, sequences: int) -> dict[str, Tensor]:
        """Inputs of the convolution (B, L - 1, C)."""
        return Convolutions(conv=self.conv).begin(sequences)

    def advance(self, x_BTD: Tensor, kept: Mapping[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        inputs = {"conv": self.b_proj(x_BTD) * self.x_proj(x_BTD)}
        mixed, new = Convolutions(conv=self.conv).advance(inputs, dict(kept))
        return self.out_proj(self.c_proj(x_BTD) * mixed["conv"]), new

    def forward(self, x_BTD: Tensor, last: int | None = None) -> Tensor:
        mixed_BTC = self.conv(self.b_proj(x_BTD) * self.x_proj(x_BTD))
        y_BTD = self.out_proj(self.c_proj(x_BTD) * mixed_BTC)
        return y_BTD[:, -(last or x_BTD.shape[1]) :]  # type: ignore[no-any-return]  # torch: Any

    def shard(self, rank: int, tp: int) -> Self:
        if self.mechanism.whole:
            return self
        channels = heads_of(rank, tp, self.mechanism.hidden_size)
        part = self.empty_part(replace(self.mechanism, hidden_size=len(channels)))
        for name in ("b_proj", "c_proj", "x_proj", "conv"):
            copy_rows(getattr(part, name), getattr(self, name), channels, 1)
        copy_columns(part.out_proj, self.out_proj, channels, 1)
        return part
