"""RWKV-6's time mixing and channel mixing. Letters of shapes are in base.py.

Source: https://arxiv.org/abs/2404.05892 sections 3 and 4. What keeps nothing is left out: the norm of each head, and
that tokens decide how they are mixed with the last. Channel mixing reads the layer's input, not time mixing's output,
so that the outputs of ranks add up.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Self

import torch
from torch import Tensor, nn
from torch.nn.functional import silu

from kvcalc.reference.base import ReferenceState, copy_columns, copy_entries, copy_rows, heads_of
from kvcalc.reference.functional import integers, split_heads
from kvcalc.reference.stored_as import StoredAs, state_in_fp32

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kvcalc.mechanisms import RWKV
    from kvcalc.model.span import Span

_SOURCE = "https://github.com/BlinkDL/RWKV-LM, RWKV-v6, rwkv_v6_demo.py: time_mixing, channel_mixing"
_PROJECTIONS = ("r_proj", "k_proj", "v_proj", "g_proj", "w_proj")


class RWKVLayer(ReferenceState):
    """o_t = r_t (S + diag(u) k_t^T v_t), S = diag(w_t) S + k_t^T v_t, and a feed-forward block that looks back a token.

    Attributes:
        mixes_channels: whether it has that block, and the second token shift.
    """

    small = {"hidden_size": 12, "head_dim": 5}  # noqa: RUF012  # declared as a class variable in the base
    means = {"mix": 0.5, "ffn_mix": 0.5, "decay": 0.0}  # noqa: RUF012  # likewise
    stored_as = {"shift": StoredAs(_SOURCE), "state": state_in_fp32(_SOURCE)}  # noqa: RUF012  # likewise

    def __init__(self, mechanism: RWKV, hidden_size: int, span: Span | None = None) -> None:
        super().__init__(mechanism, hidden_size, span)
        self.num_heads, width = mechanism.num_heads, mechanism.num_heads * mechanism.head_dim
        channels = mechanism.hidden_size
        self.att_in = nn.Linear(hidden_size, channels, bias=False)
        self.mix: Tensor = nn.Parameter(torch.empty(channels))
        self.r_proj = nn.Linear(channels, width, bias=False)
        self.k_proj = nn.Linear(channels, width, bias=False)
        self.v_proj = nn.Linear(channels, width, bias=False)
        self.g_proj = nn.Linear(channels, width, bias=False)
        self.w_proj = nn.Linear(channels, width, bias=False)
        self.decay: Tensor = nn.Parameter(torch.empty(width))
        self.bonus: Tensor = nn.Parameter(torch.empty(width))
        self.o_proj = nn.Linear(width, hidden_size, bias=False)
        self.mixes_channels = mechanism.token_shifts > 1
        if self.mixes_channels:
            self.ffn_in = nn.Linear(hidden_size, channels, bias=False)
            self.ffn_mix: Tensor = nn.Parameter(torch.empty(channels))
            self.ffn_r = nn.Linear(channels, hidden_size, bias=False)
            self.ffn_k = nn.Linear(channels, width, bias=False)
            self.ffn_v = nn.Linear(width, hidden_size, bias=False)

    def begin(self, sequences: int) -> dict[str, Tensor]:
        """The last token's inputs (B, shifts, C), and the state (B, 1, H, K, V), where V = K."""
        weight, width = self.o_proj.weight, self.mechanism.head_dim
        shifts, channels = 1 + self.mixes_channels, self.mechanism.hidden_size
        state = weight.new_zeros(sequences, 1, self.num_heads, width, width).float()
        return {"shift": weight.new_zeros(sequences, shifts, channels), "state": state}

    def advance(self, x_BTD: Tensor, kept: Mapping[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        last_BLC = kept["shift"].to(x_BTD.dtype)
        inputs = [self.att_in(x_BTD), *([self.ffn_in(x_BTD)] if self.mixes_channels else [])]
        r, k, v, log_w, gate = self._mixed(inputs[0], last_BLC[:, :1])
        state_BHKV, outputs = kept["state"].to(r.dtype).squeeze(1), []
        for t in range(x_BTD.shape[1]):
            new_BHKV = k[:, t].unsqueeze(-1) * v[:, t].unsqueeze(-2)
            read_BHKV = state_BHKV + self._bonus(r.dtype).unsqueeze(-1) * new_BHKV
            outputs.append((r[:, t].unsqueeze(-1) * read_BHKV).sum(-2))
            state_BHKV = log_w[:, t].exp().unsqueeze(-1) * state_BHKV + new_BHKV
        y_BTD = self._output(torch.stack(outputs, dim=1), gate)
        if self.mixes_channels:
            y_BTD = y_BTD + self._channels(inputs[1], last_BLC[:, 1:])
        shift = torch.stack([each[:, -1] for each in inputs], dim=1)
        return y_BTD, {"shift": shift, "state": state_BHKV.unsqueeze(1)}

    def forward(self, x_BTD: Tensor, last: int | None = None) -> Tensor:
        """The sum over all earlier tokens, each as much as the decays since then leave of it."""
        last = last or x_BTD.shape[1]
        nothing_B1C = x_BTD.new_zeros(x_BTD.shape[0], 1, self.mechanism.hidden_size)
        r, k, v, log_w, gate = self._mixed(self.att_in(x_BTD), nothing_B1C)
        sums_BTHK = log_w.cumsum(1)
        before_BTHK = sums_BTHK - log_w
        left = before_BTHK[:, -last:, None] - sums_BTHK[:, None]
        at_T = integers(0, x_BTD.shape[1], x_BTD.device)
        earlier_TS = at_T.unsqueeze(0) < at_T[-last:].unsqueeze(1)
        left = left.masked_fill(~earlier_TS[None, :, :, None, None], float("-inf")).exp()
        scores_BTSH = torch.einsum("bthk,bshk,btshk->btsh", r[:, -last:], k, left)
        own_BTH = (r[:, -last:] * self._bonus(r.dtype) * k[:, -last:]).sum(-1)
        o_BTHV = torch.einsum("btsh,bshv->bthv", scores_BTSH, v) + own_BTH.unsqueeze(-1) * v[:, -last:]
        y_BTD = self._output(o_BTHV, gate[:, -last:])
        if self.mixes_channels:
            y_BTD = y_BTD + self._channels(self.ffn_in(x_BTD), nothing_B1C)[:, -last:]
        return y_BTD

    def _mixed(self, x_BTC: Tensor, last_B1C: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
        """r, k, v and the logarithm of the decay (B, T, H, K), in float32 or better, and the gate (B, T, H x V)."""
        wide = torch.promote_types(x_BTC.dtype, torch.float32)
        mixed_BTC = shifted(x_BTC, last_B1C, self.mix)
        r, k, v, w = (
            split_heads(proj(mixed_BTC).to(wide), self.num_heads)
            for proj in (self.r_proj, self.k_proj, self.v_proj, self.w_proj)
        )
        log_w = -(split_heads(self.decay.to(wide), self.num_heads) + w).exp()
        return r, k, v, log_w, silu(self.g_proj(mixed_BTC))

    def _bonus(self, wide: torch.dtype) -> Tensor:
        return split_heads(self.bonus.to(wide), self.num_heads)

    def _output(self, o_BTHV: Tensor, gate: Tensor) -> Tensor:
        return self.o_proj(o_BTHV.flatten(-2).to(gate.dtype) * gate)  # type: ignore[no-any-return]  # torch: Any

    def _channels(self, x_BTC: Tensor, last_B1C: Tensor) -> Tensor:
        mixed_BTC = shifted(x_BTC, last_B1C, self.ffn_mix)
        inner = torch.relu(self.ffn_k(mixed_BTC)) ** 2
        return torch.sigmoid(self.ffn_r(mixed_BTC)) * self.ffn_v(inner)  # type: ignore[no-any-return]  # torch: Any

    def shard(self, rank: int, tp: int) -> Self:
        heads, width = heads_of(rank, tp, self.num_heads), self.mechanism.head_dim
        part = self.empty_part(replace(self.mechanism, num_heads=len(heads)))
        for name in (*_PROJECTIONS, *(["ffn_k"] if self.mixes_channels else [])):
            copy_rows(getattr(part, name), getattr(self, name), heads, width)
        for name in ("o_proj", *(["ffn_v"] if self.mixes_channels else [])):
            copy_columns(getattr(part, name), getattr(self, name), heads, width)
        for name in ("decay", "bonus"):
            copy_entries(getattr(part, name), getattr(self, name), heads, width)
        whole = ("att_in.weight", "mix", "ffn_in.weight", "ffn_mix", "ffn_r.weight")
        own, theirs = dict(self.named_parameters()), dict(part.named_parameters())
        for name in (each for each in whole if each in own):
            theirs[name].data.copy_(own[name].data)
        return part


def shifted(x_BTC: Tensor, last_B1C: Tensor, mix_C: Tensor) -> Tensor:
    """Each token mixed with the one before it."""
    before_BTC = torch.cat((last_B1C, x_BTC[:, :-1]), dim=1)
    return before_BTC + (x_BTC - before_BTC) * mix_C
