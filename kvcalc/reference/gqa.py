"""Grouped-query attention as a causal, rotary layer. Letters of shapes are in base.py.

Source: Ainslie et al. 2023, https://arxiv.org/abs/2305.13245, section 2.2.
"""

from __future__ import annotations

import torch
from torch import Tensor

from kvcalc.reference.base import Rows
from kvcalc.reference.functional import positions, rotate, softmax, textbook_mask, visible
from kvcalc.reference.heads import HeadAttention


class GroupedQueryAttention(HeadAttention):
    """M = H/G query heads share each key head and value head; the G of them are kept."""

    def keep(self, x_BTD: Tensor, start: int) -> dict[str, Tensor]:
        """k (B, T, G, K), rotated, and v (B, T, G, V), unless the key is the value."""
        k_BTGK = rotate(self.keys(x_BTD), positions(x_BTD, start))
        return {"k": k_BTGK} if self.k_equals_v else {"k": k_BTGK, "v": self.values(x_BTD)}

    def attend(self, x_BTD: Tensor, start: int, rows: Rows) -> Tensor:
        at_T = positions(x_BTD, start)
        q_BTHK = rotate(self.queries(x_BTD), at_T) * self.head_dim**-0.5
        q_BTGMK = q_BTHK.unflatten(2, (self.num_kv_heads, -1))
        scores_BGMTS = torch.einsum("btgmk,bsgk->bgmts", q_BTGMK, rows.tensors["k"])
        weights_BGMTS = softmax(scores_BGMTS, visible(at_T, rows.positions_S, self.span))
        o_BTGMV = torch.einsum("bgmts,bsgv->btgmv", weights_BGMTS, self.value_rows(rows))
        return self.output(o_BTGMV.flatten(2, 3))

    def forward(self, x_BTD: Tensor, last: int | None = None) -> Tensor:
        """Multi-head attention over keys and values that are repeated for each query head of their group."""
        tokens = x_BTD.shape[1]
        last = tokens if last is None else last
        at_T = positions(x_BTD, 0)
        repeats = self.num_heads // self.num_kv_heads
        q_BHTK = rotate(self.queries(x_BTD[:, -last:]), at_T[-last:]).transpose(1, 2)
        k_BHTK = rotate(self.keys(x_BTD), at_T).repeat_interleave(repeats, dim=2).transpose(1, 2)
        v_BHTV = k_BHTK
        if not self.k_equals_v:
            v_BHTV = self.values(x_BTD).repeat_interleave(repeats, dim=2).transpose(1, 2)
        scores_BHTT = q_BHTK @ k_BHTK.transpose(2, 3) / self.head_dim**0.5
        weights_BHTT = softmax(scores_BHTT, textbook_mask(tokens, last, self.span, x_BTD.device))
        return self.output((weights_BHTT @ v_BHTV).transpose(1, 2))
