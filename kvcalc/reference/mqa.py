"""Multi-query attention as a causal, rotary layer. Letters of shapes are in base.py.

Source: Shazeer 2019, https://arxiv.org/abs/1911.02150, section 3: keys and values lose their head axis.
"""

from __future__ import annotations

import torch
from torch import Tensor

from kvcalc.reference.base import Rows
from kvcalc.reference.functional import positions, rotate, softmax, textbook_mask, visible
from kvcalc.reference.heads import HeadAttention


class MultiQueryAttention(HeadAttention):
    """All query heads share one key and one value (G = 1), which are kept once."""

    def keep(self, x_BTD: Tensor, start: int) -> dict[str, Tensor]:
        """k (B, T, K), rotated, and v (B, T, V), unless the key is the value."""
        k_BTK = rotate(self.keys(x_BTD), positions(x_BTD, start)).squeeze(2)
        return {"k": k_BTK} if self.k_equals_v else {"k": k_BTK, "v": self.values(x_BTD).squeeze(2)}

    def attend(self, x_BTD: Tensor, start: int, rows: Rows) -> Tensor:
        at_T = positions(x_BTD, start)
        q_BTHK = rotate(self.queries(x_BTD), at_T) * self.head_dim**-0.5
        scores_BHTS = torch.einsum("bthk,bsk->bhts", q_BTHK, rows.tensors["k"])
        weights_BHTS = softmax(scores_BHTS, visible(at_T, rows.positions_S, self.span))
        return self.output(torch.einsum("bhts,bsv->bthv", weights_BHTS, self.value_rows(rows)))

    def forward(self, x_BTD: Tensor, last: int | None = None) -> Tensor:
        """Multi-head attention whose heads all have the one key and the one value."""
        tokens = x_BTD.shape[1]
        last = tokens if last is None else last
        at_T = positions(x_BTD, 0)
        q_BHTK = rotate(self.queries(x_BTD[:, -last:]), at_T[-last:]).transpose(1, 2)
        k_B1TK = rotate(self.keys(x_BTD), at_T).transpose(1, 2)
        v_B1TV = k_B1TK if self.k_equals_v else self.values(x_BTD).transpose(1, 2)
        scores_BHTT = q_BHTK @ k_B1TK.transpose(2, 3) / self.head_dim**0.5
        weights_BHTT = softmax(scores_BHTT, textbook_mask(tokens, last, self.span, x_BTD.device))
        return self.output((weights_BHTT @ v_B1TV).transpose(1, 2))
