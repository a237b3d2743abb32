"""Mamba-2's state space with heads. Letters of shapes are in base.py.

Source: https://arxiv.org/abs/2405.21060 section 7 for the layer, section 5 for the whole sequence at once. The norm
before the output projection is left out: it keeps nothing, and spans the heads of several ranks.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Self

import torch
from torch import Tensor, nn
from torch.nn.functional import silu, softplus

from kvcalc.reference.base import ReferenceState, copy_columns, copy_entries, copy_rows, heads_of, kv_heads_of
from kvcalc.reference.convolution import CausalConvolution, Convolutions
from kvcalc.reference.functional import split_heads
from kvcalc.reference.stored_as import INPUTS, state_in_fp32

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kvcalc.mechanisms import Mamba2
    from kvcalc.model.span import Span


class Mamba2Layer(ReferenceState):
    """Each head has a state (K, Z) that forgets at one rate; the heads of a group G share B and C."""

    small = {"head_dim": 4, "state_size": 5, "conv_kernel": 6}  # noqa: RUF012  # declared as a class variable in the base
    stored_as = {  # noqa: RUF012  # likewise
        **dict.fromkeys(("conv_x", "conv_b", "conv_c"), INPUTS),
        "state": state_in_fp32("transformers, models/mamba2, mamba_chunk_scan_combined"),
    }
    means = {"A_log": -2.0}  # noqa: RUF012  # likewise; forgets slowly

    def __init__(self, mechanism: Mamba2, hidden_size: int, span: Span | None = None) -> None:
        super().__init__(mechanism, hidden_size, span)
        self.num_heads, self.num_groups = mechanism.num_heads, mechanism.num_groups
        inner, shared = self.num_heads * mechanism.head_dim, self.num_groups * mechanism.state_size
        self.z_proj = nn.Linear(hidden_size, inner, bias=False)
        self.x_proj = nn.Linear(hidden_size, inner, bias=False)
        self.b_proj = nn.Linear(hidden_size, shared, bias=False)
        self.c_proj = nn.Linear(hidden_size, shared, bias=False)
        self.dt_proj = nn.Linear(hidden_size, self.num_heads, bias=False)
        self.x_conv = CausalConvolution(inner, mechanism.conv_kernel)
        self.b_conv = CausalConvolution(shared, mechanism.conv_kernel)
        self.c_conv = CausalConvolution(shared, mechanism.conv_kernel)
        self.A_log = nn.Parameter(torch.empty(self.num_heads))
        self.dt_bias = nn.Parameter(torch.empty(self.num_heads))
        self.D = nn.Parameter(torch.empty(self.num_heads))
        self.out_proj = nn.Linear(inner, hidden_size, bias=False)

    @property
    def convolutions(self) -> Convolutions:
        return Convolutions(conv_x=self.x_conv, conv_b=self.b_conv, conv_c=self.c_conv)

    def begin(self, sequences: int) -> dict[str, Tensor]:
        """Inputs of convolutions (B, L - 1, H K) and twice (B, L - 1, G Z), and the state (B, 1, H, K, Z)."""
        shape = sequences, 1, self.num_heads, self.mechanism.head_dim, self.mechanism.state_size
        return {**self.convolutions.begin(sequences), "state": self.D.new_zeros(shape).float()}

    def advance(self, x_BTD: Tensor, kept: Mapping[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        inputs = {"conv_x": self.x_proj(x_BTD), "conv_b": self.b_proj(x_BTD), "conv_c": self.c_proj(x_BTD)}
        mixed, new = self.convolutions.advance(inputs, dict(kept))
        x_BTHK, b_BTHZ, c_BTHZ = self._heads(mixed["conv_x"], mixed["conv_b"], mixed["conv_c"])
        dt_BTH, log_decay_BTH = self._steps(x_BTD)
        state_BHKZ, outputs = kept["state"].to(x_BTHK.dtype).squeeze(1), []
        for t in range(x_BTD.shape[1]):
            put_BHKZ = torch.einsum("bhk,bhz,bh->bhkz", x_BTHK[:, t], b_BTHZ[:, t], dt_BTH[:, t])
            state_BHKZ = log_decay_BTH[:, t, :, None, None].exp() * state_BHKZ + put_BHKZ
            outputs.append(torch.einsum("bhkz,bhz->bhk", state_BHKZ, c_BTHZ[:, t]))
        return self._output(torch.stack(outputs, dim=1), x_BTHK, x_BTD), {**new, "state": state_BHKZ.unsqueeze(1)}

    def forward(self, x_BTD: Tensor, last: int | None = None) -> Tensor:
        """Section 5's dual: attention without softmax, whose mask says how much of an earlier token is left."""
        x_BTHK, b_BTHZ, c_BTHZ = self._heads(
            self.x_conv(self.x_proj(x_BTD)), self.b_conv(self.b_proj(x_BTD)), self.c_conv(self.c_proj(x_BTD))
        )
        dt_BTH, log_decay_BTH = self._steps(x_BTD)
        last, sums_BHT = last or x_BTD.shape[1], log_decay_BTH.cumsum(1).transpose(1, 2)
        since_BHTS = sums_BHT[..., -last:].unsqueeze(-1) - sums_BHT.unsqueeze(-2)
        past_TS = torch.ones(last, x_BTD.shape[1], dtype=torch.bool, device=x_BTD.device).tril(x_BTD.shape[1] - last)
        left_BHTS = since_BHTS.masked_fill(~past_TS, float("-inf")).exp()
        scores_BHTS = c_BTHZ[:, -last:].transpose(1, 2) @ b_BTHZ.permute(0, 2, 3, 1) * left_BHTS
        y_BTHK = (scores_BHTS @ (x_BTHK * dt_BTH.unsqueeze(-1)).transpose(1, 2)).transpose(1, 2)
        return self._output(y_BTHK, x_BTHK[:, -last:], x_BTD[:, -last:])

    def _heads(self, x: Tensor, b: Tensor, c: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """x (B, T, H, K), and each head's B and C (B, T, H, Z), in float32 or better."""
        wide = torch.promote_types(x.dtype, torch.float32)
        repeats = self.num_heads // self.num_groups
        b_BTHZ, c_BTHZ = (
            split_heads(silu(each).to(wide), self.num_groups).repeat_interleave(repeats, dim=2) for each in (b, c)
        )
        return split_heads(silu(x).to(wide), self.num_heads), b_BTHZ, c_BTHZ

    def _steps(self, x_BTD: Tensor) -> tuple[Tensor, Tensor]:
        """Step sizes, and the logarithm of how much a step leaves of the state: (B, T, H)."""
        wide = torch.promote_types(x_BTD.dtype, torch.float32)
        dt_BTH = softplus((self.dt_proj(x_BTD) + self.dt_bias).to(wide))
        return dt_BTH, -self.A_log.to(wide).exp() * dt_BTH

    def _output(self, y_BTHK: Tensor, x_BTHK: Tensor, x_BTD: Tensor) -> Tensor:
        y = (y_BTHK + self.D.unsqueeze(-1) * x_BTHK).flatten(-2).to(x_BTD.dtype)
        return self.out_proj(y * silu(self.z_proj(x_BTD)))  # type: ignore[no-any-return]  # torch: Any

    def shard(self, rank: int, tp: int) -> Self:
        """The rank's heads, and the groups that they read: where ranks outnumber groups, each has a copy of one."""
        heads = heads_of(rank, tp, self.num_heads)
        groups = kv_heads_of(heads, self.num_heads, self.num_groups)
        part = self.empty_part(replace(self.mechanism, num_heads=len(heads), num_groups=len(groups)))
        for name in ("x_proj", "z_proj", "x_conv"):
            copy_rows(getattr(part, name), getattr(self, name), heads, self.mechanism.head_dim)
        for name in ("b_proj", "c_proj", "b_conv", "c_conv"):
            copy_rows(getattr(part, name), getattr(self, name), groups, self.mechanism.state_size)
        copy_rows(part.dt_proj, self.dt_proj, heads, 1)
        for name in ("A_log", "dt_bias", "D"):
            copy_entries(getattr(part, name), getattr(self, name), heads, 1)
        copy_columns(part.out_proj, self.out_proj, heads, self.mechanism.head_dim)
        return part
