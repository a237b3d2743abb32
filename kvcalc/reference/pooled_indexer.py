"""A sparse indexer that pools its keys over several tokens, and chooses whole groups of them. Letters: base.py.

Source: transformers 5.24, models/glm5_next/modeling_glm5_next.py, Glm5NextTextIndexer, and models/qwen4_exp,
Qwen4ExpTextQSAIndexer. They keep what a key is made of for every token and pool anew at each step; engines keep a
pooled key for each group, and of the group that is not full what its key will be made of (vLLM 0.33.0,
vllm/models/glm5next/common/attention.py and vllm/models/qwen4_exp).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from kvcalc.mechanisms import GQA, MLA
from kvcalc.reference.functional import integers, positions
from kvcalc.reference.indexer import EPSILON, Indexer, Scorer

if TYPE_CHECKING:
    from kvcalc.mechanisms import MHA, MQA, MLAExpanded
    from kvcalc.reference.base import Rows

TAIL = "index_tail"


class PooledIndexer(Scorer):
    """One key for every `group` tokens: their keys, each channel weighed by a softmax of its gates over the group.

    A token reads the groups that are chosen, and the tokens so far of the group that is not full.
    """

    def __init__(self, hidden_size: int, heads: int, width: int, topk: int | None, group: int) -> None:
        super().__init__(hidden_size, heads, width, 0, None if topk is None else max(1, topk // group))
        self.group = group
        self.k_proj = nn.Linear(hidden_size, width, bias=False)
        self.k_norm: nn.Module = nn.LayerNorm(width, eps=EPSILON)
        self.gate_proj = nn.Linear(hidden_size, width, bias=False)
        self.gate_bias = nn.Parameter(torch.empty(group, width))

    def kept(self, x_BTD: Tensor, at_T: Tensor) -> dict[str, Tensor]:
        """index_tail (B, T, 2, I): a token's key and its gates."""
        gates = self.gate_proj(x_BTD) + self.gate_bias[at_T % self.group]
        return {TAIL: torch.stack((self.k_norm(self.k_proj(x_BTD)), gates), dim=2)}

    def pooled(self, tail_BT2I: Tensor) -> Tensor:
        """index_k (B, T / group, I), of whole groups."""
        sequences, tokens, _, width = tail_BT2I.shape
        key, gates = tail_BT2I.reshape(sequences, tokens // self.group, self.group, 2, width).unbind(3)
        return torch.mul(torch.softmax(gates, dim=2), key).sum(2)

    def made(self, tail: Tensor, first: int) -> Tensor:  # noqa: ARG002  # keys are not rotated
        """The same of groups, of which the first has that number."""
        return self.pooled(tail)

    def chosen_of(self, x_BTD: Tensor, at_T: Tensor, rows: Rows, mask_TS: Tensor) -> Tensor:
        """Which rows of tokens are read, (B, T, S)."""
        keys_BPI = rows.tensors["index_k"].to(x_BTD.dtype)
        ends_P = self.group * (integers(0, keys_BPI.shape[1], at_T.device) + 1) - 1
        groups_BTP = self.chosen(x_BTD, at_T, keys_BPI, ends_P <= at_T.unsqueeze(1))
        return self._tokens(groups_BTP, at_T, rows.positions_S, mask_TS)

    def _tokens(self, groups_BTP: Tensor, at_T: Tensor, rows_S: Tensor, mask_TS: Tensor) -> Tensor:
        """The tokens of groups, and those of each token's own group while that is not full."""
        none_BT1 = torch.zeros_like(groups_BTP[..., :1])
        padded = torch.cat((groups_BTP, none_BT1), dim=-1) if groups_BTP.shape[-1] else torch.zeros_like(none_BT1)
        group_S = (rows_S // self.group).clamp(0, padded.shape[-1] - 1)
        open_TS = rows_S >= ((at_T + 1) // self.group * self.group).unsqueeze(1)
        return (padded[..., group_S] | open_TS) & mask_TS

    def textbook(self, x_BTD: Tensor, mask_TT: Tensor) -> Tensor:
        """What the last tokens read, from the tokens themselves: each key by itself, each group by those before it."""
        tokens, last = x_BTD.shape[1], len(mask_TT)
        at_T = positions(x_BTD, 0)
        read_BTT = torch.zeros(len(x_BTD), last, tokens, dtype=torch.bool, device=x_BTD.device)
        keys = self._each(x_BTD)
        if keys:
            ends_P = at_T[self.group - 1 :: self.group]
            asked = x_BTD[:, -last:], at_T[-last:]
            groups_BTP = self.unsurpassed(*asked, torch.stack(keys, 1), ends_P <= at_T[-last:].unsqueeze(1))
            read_BTT[..., : len(keys) * self.group] = groups_BTP.repeat_interleave(self.group, dim=-1)
        for row, position in enumerate(at_T[-last:].tolist()):
            read_BTT[:, row, (position + 1) // self.group * self.group :] = True
        return read_BTT & mask_TT

    def _each(self, x_BTD: Tensor) -> list[Tensor]:
        """Each group's key by itself."""
        key_BTI, gate_BTI = self.k_norm(self.k_proj(x_BTD)), self.gate_proj(x_BTD)
        return [self._one(key_BTI, gate_BTI, number) for number in range(x_BTD.shape[1] // self.group)]

    def _one(self, key_BTI: Tensor, gate_BTI: Tensor, number: int) -> Tensor:
        own = slice(number * self.group, (number + 1) * self.group)
        weights = (gate_BTI[:, own] + self.gate_bias).exp()
        return (weights * key_BTI[:, own]).sum(1) / weights.sum(1)


class AveragingIndexer(PooledIndexer):
    """The plain mean of a group's vectors, then a norm, and a rotation by the place of the group's first token."""

    def __init__(self, hidden_size: int, heads: int, width: int, rope: int, topk: int | None, group: int) -> None:
        Scorer.__init__(self, hidden_size, heads, width, rope, None if topk is None else max(1, topk // group))
        self.group = group
        self.k_proj = nn.Linear(hidden_size, width, bias=False)
        self.k_norm = nn.RMSNorm(width, eps=EPSILON)

    def kept(self, x_BTD: Tensor, at_T: Tensor) -> dict[str, Tensor]:  # noqa: ARG002  # as of any indexer
        """index_tail (B, T, I): a token's vector."""
        return {TAIL: self.k_proj(x_BTD)}

    def made(self, tail: Tensor, first: int) -> Tensor:
        mean_BPI = tail.reshape(len(tail), -1, self.group, tail.shape[-1]).mean(2).to(self.k_proj.weight.dtype)
        at_P = self.group * (first + integers(0, mean_BPI.shape[1], tail.device))
        return self.rotated(self.k_norm(mean_BPI).unsqueeze(2), at_P).squeeze(2)

    def _each(self, x_BTD: Tensor) -> list[Tensor]:
        found = []
        for start in range(0, x_BTD.shape[1] // self.group * self.group, self.group):
            vectors = [self.k_proj(x_BTD[:, start + place]) for place in range(self.group)]
            key_BI = self.k_norm(torch.stack(vectors).sum(0) / self.group)
            found.append(self.rotated(key_BI[:, None, None], positions(x_BTD[:, :1], start))[:, 0, 0])
        return found


def indexer_of(mechanism: MLA | MLAExpanded | MHA | MQA | GQA, hidden_size: int) -> Indexer | PooledIndexer | None:
    """The layer's own indexer; None where it has none, or where an earlier layer's choice is used.

    MiniMax-M3's chooses whole blocks of tokens, and all heads of a group read its choice: here single tokens, as many.
    """
    if not isinstance(mechanism, MLA | GQA) or mechanism.index_head_dim is None:
        return None
    heads, width = mechanism.index_n_heads or mechanism.num_heads, mechanism.index_head_dim
    if isinstance(mechanism, GQA) and mechanism.index_kpool is not None:
        rope, topk = mechanism.head_dim, mechanism.index_topk
        return AveragingIndexer(hidden_size, heads, width, rope, topk, mechanism.index_kpool)
    if isinstance(mechanism, GQA):
        return Indexer(hidden_size, heads, width, mechanism.head_dim, mechanism.positions_read)
    if mechanism.index_kpool is not None:
        return PooledIndexer(hidden_size, heads, width, mechanism.index_topk, mechanism.index_kpool)
    return Indexer(hidden_size, heads, width, mechanism.qk_rope_head_dim, mechanism.index_topk)
