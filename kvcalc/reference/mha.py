"""Multi-head attention as a causal, rotary layer. Letters of shapes are in base.py.

Source: Vaswani et al. 2017, https://arxiv.org/abs/1706.03762, section 3.2.2.
"""

from __future__ import annotations

import torch
from torch import Tensor

from kvcalc.reference.base import Rows
from kvcalc.reference.functional import positions, rotate, softmax, textbook_mask, visible
from kvcalc.reference.heads import HeadAttention


class MultiHeadAttention(HeadAttention):
    """Every query head has a key head and a value head of its own (G = H); both are kept for every token."""

    def keep(self, x_BTD: Tensor, start: int) -> dict[str, Tensor]:
        """k (B, T, H, K), rotated, and v (B, T, H, V), unless the key is the value."""
        k_BTHK = rotate(self.keys(x_BTD), positions(x_BTD, start))
        return {"k": k_BTHK} if self.k_equals_v else {"k": k_BTHK, "v": self.values(x_BTD)}

    def attend(self, x_BTD: Tensor, start: int, rows: Rows) -> Tensor:
        at_T = positions(x_BTD, start)
        q_BTHK = rotate(self.queries(x_BTD), at_T) * self.head_dim**-0.5
        scores_BHTS = torch.einsum("bthk,bshk->bhts", q_BTHK, rows.tensors["k"])
        weights_BHTS = softmax(scores_BHTS, visible(at_T, rows.positions_S, self.span))
        return self.output(torch.einsum("bhts,bshv->bthv", weights_BHTS, self.value_rows(rows)))

    def forward(self, x_BTD: Tensor, last: int | None = None) -> Tensor:
        """softmax(Q K^T / sqrt(K)) V for each head, the heads side by side (equation 1)."""
        tokens = x_BTD.shape[1]
        last = tokens if last is None else last
        at_T = positions(x_BTD, 0)
        q_BHTK = rotate(self.queries(x_BTD[:, -last:]), at_T[-last:]).transpose(1, 2)
        k_BHTK = rotate(self.keys(x_BTD), at_T).transpose(1, 2)
        v_BHTV = k_BHTK if self.k_equals_v else self.values(x_BTD).transpose(1, 2)
        scores_BHTT = q_BHTK @ k_BHTK.transpose(2, 3) / self.head_dim**0.5
        weights_BHTT = softmax(scores_BHTT, textbook_mask(tokens, last, self.span, x_BTD.device))
        return self.output((weights_BHTT @ v_BHTV).transpose(1, 2))
