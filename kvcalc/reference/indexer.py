"""The sparse indexer of multi-head latent attention: it chooses the positions that a token reads. Letters: base.py.

Source: DeepSeek-V3.2-Exp, https://github.com/deepseek-ai/DeepSeek-V3.2-Exp inference/model.py, class Indexer. There
queries come from the compressed query, and a Hadamard rotation goes before the fp8 rounding; neither changes what is
kept.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn.functional import relu

from kvcalc.reference.functional import positions, rotate

if TYPE_CHECKING:
    from kvcalc.reference.base import Rows

EPSILON = 1e-6


class Scorer(nn.Module):
    """score(t, s) = sum over j of w_tj relu(q_tj . k_s); of the rows that a token may read, the `topk` best are read.

    Of rows that score the same, earlier ones are better.
    """

    def __init__(self, hidden_size: int, heads: int, width: int, rope: int, topk: int | None) -> None:
        super().__init__()
        self.heads, self.rope, self.topk = heads, min(rope, width), topk
        self.q_proj = nn.Linear(hidden_size, heads * width, bias=False)
        self.weights_proj = nn.Linear(hidden_size, heads, bias=False)

    def chosen(self, x_BTD: Tensor, at_T: Tensor, k_BSI: Tensor, mask_TS: Tensor) -> Tensor:
        """Which rows are read, (B, T, S), of those that a mask lets through."""
        scores_BTS = self._scores(x_BTD, at_T, k_BSI).masked_fill(~mask_TS, float("-inf"))
        if self.topk is None or self.topk >= scores_BTS.shape[-1]:
            return mask_TS.expand_as(scores_BTS)
        best_BTk = scores_BTS.sort(dim=-1, descending=True, stable=True).indices[..., : self.topk]
        read_BTS = torch.zeros_like(scores_BTS, dtype=torch.bool).scatter(-1, best_BTk, value=True)
        return read_BTS & mask_TS

    def unsurpassed(self, x_BTD: Tensor, at_T: Tensor, k_BSI: Tensor, mask_TS: Tensor) -> Tensor:
        """The same, found in another way: rows that few others surpass."""
        scores_BTS = self._scores(x_BTD, at_T, k_BSI).masked_fill(~mask_TS, float("-inf"))
        if self.topk is None or self.topk >= scores_BTS.shape[-1]:
            return mask_TS.expand_as(scores_BTS)
        this_BTS1, other_BT1S = scores_BTS.unsqueeze(-1), scores_BTS.unsqueeze(-2)
        earlier_SS = torch.ones_like(this_BTS1[0, 0] == other_BT1S[0, 0]).tril(-1)  # of equals the earlier
        surpassing_BTS = ((other_BT1S > this_BTS1) | ((other_BT1S == this_BTS1) & earlier_SS)).sum(-1)
        return (surpassing_BTS < self.topk) & mask_TS

    def _scores(self, x_BTD: Tensor, at_T: Tensor, k_BSI: Tensor) -> Tensor:
        q_BTJI = self.rotated(self.q_proj(x_BTD).unflatten(-1, (self.heads, -1)), at_T)
        each_BTJS = relu(torch.einsum("btji,bsi->btjs", q_BTJI, k_BSI))
        return torch.einsum("btj,btjs->bts", self.weights_proj(x_BTD), each_BTJS)

    def rotated(self, x_BTJI: Tensor, at_T: Tensor) -> Tensor:
        """With its first elements rotated."""
        return torch.cat((rotate(x_BTJI[..., : self.rope], at_T), x_BTJI[..., self.rope :]), dim=-1)


class Indexer(Scorer):
    """One key for each token."""

    def __init__(self, hidden_size: int, heads: int, width: int, rope: int, topk: int | None) -> None:
        super().__init__(hidden_size, heads, width, rope, topk)
        self.k_proj = nn.Linear(hidden_size, width, bias=False)
        self.k_norm = nn.RMSNorm(width, eps=EPSILON)

    def keys(self, x_BTD: Tensor, at_T: Tensor) -> Tensor:
        """index_k (B, T, I), its first elements rotated."""
        return self.rotated(self.k_norm(self.k_proj(x_BTD)).unsqueeze(2), at_T).squeeze(2)

    def kept(self, x_BTD: Tensor, at_T: Tensor) -> dict[str, Tensor]:
        """What tokens leave: index_k (B, T, I)."""
        return {"index_k": self.keys(x_BTD, at_T)}

    def chosen_of(self, x_BTD: Tensor, at_T: Tensor, rows: Rows, mask_TS: Tensor) -> Tensor:
        """Which rows are read, (B, T, S), of those that a mask lets through."""
        return self.chosen(x_BTD, at_T, rows.tensors["index_k"], mask_TS)

    def textbook(self, x_BTD: Tensor, mask_TS: Tensor) -> Tensor:
        """What the last tokens read, from the tokens themselves."""
        last, at_T = len(mask_TS), positions(x_BTD, 0)
        return self.unsurpassed(x_BTD[:, -last:], at_T[-last:], self.keys(x_BTD, at_T), mask_TS)
