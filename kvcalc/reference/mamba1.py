"""Mamba's selective state space. Letters of shapes are in base.py.

Source: https://arxiv.org/abs/2312.00752 section 3. There step sizes, B and C are computed from the convolved channels;
here from the layer's input, as Mamba-2 does, so that ranks that share the channels need not exchange them. Neither
changes what is kept.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Self

import torch
from torch import Tensor, nn
from torch.nn.functional import silu, softplus

from kvcalc.reference.base import ReferenceState, copy_columns, copy_entries, copy_rows, heads_of
from kvcalc.reference.convolution import CausalConvolution, Convolutions
from kvcalc.reference.stored_as import INPUTS, state_in_fp32

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kvcalc.mechanisms import Mamba1
    from kvcalc.model.span import Span


class MambaLayer(ReferenceState):
    """Each channel has a state of Z elements, each of which forgets at a rate of its own."""

    small = {"intermediate_size": 48, "state_size": 4, "conv_kernel": 6}  # noqa: RUF012  # declared as a class variable in the base
    stored_as = {  # noqa: RUF012  # likewise
        "conv": INPUTS,
        "state": state_in_fp32("transformers, models/mamba, selective_scan_fn"),
    }

    def __init__(self, mechanism: Mamba1, hidden_size: int, span: Span | None = None) -> None:
        super().__init__(mechanism, hidden_size, span)
        channels, size = mechanism.intermediate_size, mechanism.state_size
        self.x_proj = nn.Linear(hidden_size, channels, bias=False)
        self.z_proj = nn.Linear(hidden_size, channels, bias=False)
        self.dt_proj = nn.Linear(hidden_size, channels, bias=False)
        self.b_proj = nn.Linear(hidden_size, size, bias=False)
        self.c_proj = nn.Linear(hidden_size, size, bias=False)
        self.conv = CausalConvolution(channels, mechanism.conv_kernel)
        self.A_log = nn.Parameter(torch.empty(channels, size))
        self.D = nn.Parameter(torch.empty(channels))
        self.out_proj = nn.Linear(channels, hidden_size, bias=False)

    def begin(self, sequences: int) -> dict[str, Tensor]:
        """Inputs of the convolution (B, L - 1, C), and the state (B, 1, C, Z)."""
        state = self.A_log.new_zeros(sequences, 1, *self.A_log.shape).float()
        return {**Convolutions(conv=self.conv).begin(sequences), "state": state}

    def advance(self, x_BTD: Tensor, kept: Mapping[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        mixed, new = Convolutions(conv=self.conv).advance({"conv": self.x_proj(x_BTD)}, dict(kept))
        x_BTC, dt_BTC, b_BTZ, c_BTZ, a_CZ = self._selected(mixed["conv"], x_BTD)
        state_BCZ, outputs = kept["state"].to(x_BTC.dtype).squeeze(1), []
        for t in range(x_BTD.shape[1]):
            step_BC1 = dt_BTC[:, t].unsqueeze(-1)
            put_BCZ = step_BC1 * b_BTZ[:, t].unsqueeze(1) * x_BTC[:, t].unsqueeze(-1)
            state_BCZ = (step_BC1 * a_CZ).exp() * state_BCZ + put_BCZ
            outputs.append((state_BCZ * c_BTZ[:, t].unsqueeze(1)).sum(-1))
        return self._output(torch.stack(outputs, dim=1), x_BTC, x_BTD), {**new, "state": state_BCZ.unsqueeze(1)}

    def forward(self, x_BTD: Tensor, last: int | None = None) -> Tensor:
        """Every output as a sum over all earlier tokens, weighted by how much of them is left; by element of Z."""
        x_BTC, dt_BTC, b_BTZ, c_BTZ, a_CZ = self._selected(self.conv(self.x_proj(x_BTD)), x_BTD)
        last, sums_BTC = last or x_BTD.shape[1], dt_BTC.cumsum(1)
        since_BTSC = sums_BTC[:, -last:].unsqueeze(2) - sums_BTC.unsqueeze(1)
        past_TS = torch.ones(last, x_BTD.shape[1], dtype=torch.bool, device=x_BTD.device).tril(x_BTD.shape[1] - last)
        y_BTC = torch.zeros_like(x_BTC[:, -last:])
        for z in range(a_CZ.shape[1]):
            left_BTSC = (since_BTSC * a_CZ[:, z]).masked_fill(~past_TS[..., None], float("-inf")).exp()
            put_BSC = dt_BTC * b_BTZ[..., z, None] * x_BTC
            y_BTC = y_BTC + c_BTZ[:, -last:, z, None] * (left_BTSC * put_BSC.unsqueeze(1)).sum(2)
        return self._output(y_BTC, x_BTC[:, -last:], x_BTD[:, -last:])

    def _selected(self, mixed_BTC: Tensor, x_BTD: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
        """x, step sizes, B, C, and the rates A, in float32 or better."""
        wide = torch.promote_types(x_BTD.dtype, torch.float32)
        return (
            silu(mixed_BTC).to(wide),
            softplus(self.dt_proj(x_BTD).to(wide)),
            self.b_proj(x_BTD).to(wide),
            self.c_proj(x_BTD).to(wide),
            -self.A_log.to(wide).exp(),
        )

    def _output(self, y_BTC: Tensor, x_BTC: Tensor, x_BTD: Tensor) -> Tensor:
        y_BTC = (y_BTC + self.D * x_BTC).to(x_BTD.dtype)
        return self.out_proj(y_BTC * silu(self.z_proj(x_BTD)))  # type: ignore[no-any-return]  # torch: Any

    def shard(self, rank: int, tp: int) -> Self:
        """The rank's channels. B and C have none, so every rank computes them."""
        channels = heads_of(rank, tp, self.mechanism.intermediate_size)
        part = self.empty_part(replace(self.mechanism, intermediate_size=len(channels)))
        for name in ("x_proj", "z_proj", "dt_proj", "conv"):
            copy_rows(getattr(part, name), getattr(self, name), channels, 1)
        for name in ("b_proj", "c_proj"):
            getattr(part, name).load_state_dict(getattr(self, name).state_dict())
        copy_entries(part.A_log, self.A_log, channels, 1)
        copy_entries(part.D, self.D, channels, 1)
        copy_columns(part.out_proj, self.out_proj, channels, 1)
        return part
