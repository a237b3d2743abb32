"""Lightning attention, as MiniMax-01 has it. Letters of shapes are in base.py.

Source: https://arxiv.org/abs/2405.17381 section 3; https://arxiv.org/abs/2501.08313 section 2.2. The norm before the
output projection is left out: it keeps nothing, and spans the heads of all ranks.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Self

import torch
from torch import Tensor, nn
from torch.nn.functional import silu

from kvcalc.reference.base import ReferenceState, copy_columns, copy_rows, heads_of
from kvcalc.reference.functional import integers, split_heads
from kvcalc.reference.stored_as import state_in_fp32

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kvcalc.mechanisms import Lightning
    from kvcalc.model.span import Span


class LightningAttention(ReferenceState):
    """Each head sums v k^T over its tokens and forgets at a fixed rate, which the head's number gives.

    Attributes:
        all_heads: of the layer, of which a rank has a part.
        first_head: of that part.
    """

    small = {"head_dim": 5}  # noqa: RUF012  # declared as a class variable in the base
    stored_as = {"state": state_in_fp32("MiniMax-Text-01, modeling_minimax_text_01.py, kv")}  # noqa: RUF012  # likewise

    def __init__(self, mechanism: Lightning, hidden_size: int, span: Span | None = None) -> None:
        super().__init__(mechanism, hidden_size, span)
        self.num_heads, width = mechanism.num_heads, mechanism.num_heads * mechanism.head_dim
        self.all_heads, self.first_head = self.num_heads, 0
        self.q_proj = nn.Linear(hidden_size, width, bias=False)
        self.k_proj = nn.Linear(hidden_size, width, bias=False)
        self.v_proj = nn.Linear(hidden_size, width, bias=False)
        self.g_proj = nn.Linear(hidden_size, width, bias=False)
        self.o_proj = nn.Linear(width, hidden_size, bias=False)

    def log_decay(self, wide: torch.dtype, device: torch.device) -> Tensor:
        """(H,): minus 2^(-8 (h + 1) / H), as ALiBi has its slopes."""
        heads_H = integers(1, self.num_heads + 1, device).to(wide) + self.first_head
        return -(2.0 ** (-8.0 * heads_H / self.all_heads))

    def begin(self, sequences: int) -> dict[str, Tensor]:
        """The state (B, 1, H, V, K), where V = K."""
        shape = sequences, 1, self.num_heads, self.mechanism.head_dim, self.mechanism.head_dim
        return {"state": self.q_proj.weight.new_zeros(shape).float()}

    def advance(self, x_BTD: Tensor, kept: Mapping[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        q_BTHK, k_BTHK, v_BTHV = self._heads(x_BTD)
        decay_H11 = self.log_decay(q_BTHK.dtype, x_BTD.device).exp()[:, None, None]
        state_BHVK, outputs = kept["state"].to(q_BTHK.dtype).squeeze(1), []
        for t in range(x_BTD.shape[1]):
            state_BHVK = decay_H11 * state_BHVK + torch.einsum("bhv,bhk->bhvk", v_BTHV[:, t], k_BTHK[:, t])
            outputs.append(torch.einsum("bhvk,bhk->bhv", state_BHVK, q_BTHK[:, t]))
        return self._output(torch.stack(outputs, dim=1), x_BTD), {"state": state_BHVK.unsqueeze(1)}

    def forward(self, x_BTD: Tensor, last: int | None = None) -> Tensor:
        """((Q K^T) * M) V, where M is the decay to the power of the distance."""
        tokens, last = x_BTD.shape[1], last or x_BTD.shape[1]
        q_BTHK, k_BTHK, v_BTHV = self._heads(x_BTD)
        at_T = integers(0, tokens, x_BTD.device)
        distance_TS = at_T[-last:].unsqueeze(1) - at_T.unsqueeze(0)
        powers_HTS = self.log_decay(q_BTHK.dtype, x_BTD.device)[:, None, None] * distance_TS
        mask_HTS = powers_HTS.masked_fill(distance_TS < 0, float("-inf")).exp()
        scores_BHTS = q_BTHK[:, -last:].transpose(1, 2) @ k_BTHK.permute(0, 2, 3, 1) * mask_HTS
        return self._output((scores_BHTS @ v_BTHV.transpose(1, 2)).transpose(1, 2), x_BTD[:, -last:])

    def _heads(self, x_BTD: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """q, k (B, T, H, K) and v (B, T, H, V), in float32 or better."""
        wide = torch.promote_types(x_BTD.dtype, torch.float32)
        q, k, v = (
            split_heads(silu(proj(x_BTD)).to(wide), self.num_heads) for proj in (self.q_proj, self.k_proj, self.v_proj)
        )
        return q, k, v

    def _output(self, o_BTHV: Tensor, x_BTD: Tensor) -> Tensor:
        gate = torch.sigmoid(self.g_proj(x_BTD))
        return self.o_proj(o_BTHV.flatten(-2).to(x_BTD.dtype) * gate)  # type: ignore[no-any-return]  # torch: Any

    def shard(self, rank: int, tp: int) -> Self:
        heads, width = heads_of(rank, tp, self.num_heads), self.mechanism.head_dim
        part = self.empty_part(replace(self.mechanism, num_heads=len(heads)))
        part.all_heads, part.first_head = self.all_heads, self.first_head + heads.start
        for name in ("q_proj", "k_proj", "v_proj", "g_proj"):
            copy_rows(getattr(part, name), getattr(self, name), heads, width)
        copy_columns(part.o_proj, self.o_proj, heads, width)
        return part
