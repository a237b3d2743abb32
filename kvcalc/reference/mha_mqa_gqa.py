"""Multi-head, multi-query and grouped-query attention as one causal, rotary layer. Letters of shapes are in base.py.

G key and value heads are kept, each read by M = H/G query heads: G = H is multi-head attention (Vaswani et al. 2017,
https://arxiv.org/abs/1706.03762, section 3.2.2), G = 1 multi-query (Shazeer 2019, https://arxiv.org/abs/1911.02150,
section 3), anything between grouped-query (Ainslie et al. 2023, https://arxiv.org/abs/2305.13245, section 2.2).
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Self

import torch
from torch import Tensor, nn

from kvcalc.mechanisms import GQA, MHA, MQA
from kvcalc.reference.base import ReferenceAttention, Rows, copy_columns, copy_rows, heads_of, kv_heads_of
from kvcalc.reference.functional import positions, rotate, softmax, textbook_mask, visible
from kvcalc.reference.pooled_indexer import indexer_of
from kvcalc.reference.stored_as import BF16_INDEX_KEYS, KEYS_AND_VALUES

if TYPE_CHECKING:
    from kvcalc.model.span import Span


class HeadAttention(ReferenceAttention):
    """Keys and values of G heads are kept for every token; the mechanism says how many those are."""

    small = {  # noqa: RUF012  # declared as a class variable in the base
        "head_dim": 6,
        "v_head_dim": 4,
        "index_head_dim": 6,
        "index_n_heads": 3,
        "index_block_size": 1,
        "index_topk_blocks": 4,
    }
    chosen = frozenset({"index_k"})
    stored_as = {"k": KEYS_AND_VALUES, "v": KEYS_AND_VALUES}  # noqa: RUF012  # likewise

    def __init__(self, mechanism: MHA | MQA | GQA, hidden_size: int, span: Span | None = None) -> None:
        super().__init__(mechanism, hidden_size, span)
        self.k_equals_v = mechanism.k_equals_v
        self.num_heads, self.num_kv_heads = mechanism.num_heads, _kv_heads(mechanism)
        self.head_dim = mechanism.head_dim
        self.v_head_dim = mechanism.v_head_dim or mechanism.head_dim
        self.q_proj = nn.Linear(hidden_size, self.num_heads * self.head_dim, bias=False)
        self.k_proj = nn.Linear(hidden_size, self.num_kv_heads * self.head_dim, bias=False)
        if not self.k_equals_v:
            self.v_proj = nn.Linear(hidden_size, self.num_kv_heads * self.v_head_dim, bias=False)
        self.o_proj = nn.Linear(self.num_heads * self.v_head_dim, hidden_size, bias=False)
        self.indexer = indexer_of(mechanism, hidden_size)

    def queries(self, x_BTD: Tensor) -> Tensor:
        """q (B, T, H, K), not yet rotated."""
        return self.q_proj(x_BTD).unflatten(-1, (self.num_heads, self.head_dim))  # type: ignore[no-any-return]  # torch: Any

    def keys(self, x_BTD: Tensor) -> Tensor:
        """k (B, T, G, K), not yet rotated."""
        return self.k_proj(x_BTD).unflatten(-1, (self.num_kv_heads, self.head_dim))  # type: ignore[no-any-return]  # torch: Any

    def values(self, x_BTD: Tensor) -> Tensor:
        """V (B, T, G, V)."""
        return self.v_proj(x_BTD).unflatten(-1, (self.num_kv_heads, self.v_head_dim))  # type: ignore[no-any-return]  # torch: Any

    def value_rows(self, rows: Rows) -> Tensor:
        """The values that were kept: the keys themselves where those are the values."""
        return rows.tensors["k" if self.k_equals_v else "v"]

    def output(self, o_BTHV: Tensor) -> Tensor:
        """The heads' outputs joined and projected: (B, T, D)."""
        return self.o_proj(o_BTHV.flatten(-2))  # type: ignore[no-any-return]  # torch: Any

    def keep(self, x_BTD: Tensor, start: int) -> dict[str, Tensor]:
        """k (B, T, G, K), rotated, v (B, T, G, V), unless the key is the value, and what an indexer keeps."""
        at_T = positions(x_BTD, start)
        kept = {"k": rotate(self.keys(x_BTD), at_T)}
        if not self.k_equals_v:
            kept["v"] = self.values(x_BTD)
        if self.indexer is not None:
            kept |= self.indexer.kept(x_BTD, at_T)
        return kept

    def attend(self, x_BTD: Tensor, start: int, rows: Rows) -> Tensor:
        at_T = positions(x_BTD, start)
        q_BTHK = rotate(self.queries(x_BTD), at_T) * self.head_dim**-0.5
        q_BTGMK = q_BTHK.unflatten(2, (self.num_kv_heads, -1))
        scores_BGMTS = torch.einsum("btgmk,bsgk->bgmts", q_BTGMK, rows.tensors["k"])
        mask = visible(at_T, rows.positions_S, self.span)
        if self.indexer is not None:
            mask = self.indexer.chosen_of(x_BTD, at_T, rows, mask)[:, None, None]
        weights_BGMTS = softmax(scores_BGMTS, mask)
        o_BTGMV = torch.einsum("bgmts,bsgv->btgmv", weights_BGMTS, self.value_rows(rows))
        return self.output(o_BTGMV.flatten(2, 3))

    def forward(self, x_BTD: Tensor, last: int | None = None) -> Tensor:
        """softmax(Q K^T / sqrt(K)) V for each query head, its keys and values repeated for each head of their group."""
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
        mask = textbook_mask(tokens, last, self.span, x_BTD.device)
        if self.indexer is not None:
            mask = self.indexer.textbook(x_BTD, mask).unsqueeze(1)
        weights_BHTT = softmax(scores_BHTT, mask)
        return self.output((weights_BHTT @ v_BHTV).transpose(1, 2))

    def shard(self, rank: int, tp: int) -> Self:
        heads = heads_of(rank, tp, self.num_heads)
        kv_heads = kv_heads_of(heads, self.num_heads, self.num_kv_heads)
        fewer = {"num_heads": len(heads)}
        if isinstance(self.mechanism, GQA):
            fewer["num_kv_heads"] = len(kv_heads)
            if self.indexer is not None:
                fewer["index_n_heads"] = self.indexer.heads
        part = self.empty_part(replace(self.mechanism, **fewer))
        copy_rows(part.q_proj, self.q_proj, heads, self.head_dim)
        copy_rows(part.k_proj, self.k_proj, kv_heads, self.head_dim)
        if not self.k_equals_v:
            copy_rows(part.v_proj, self.v_proj, kv_heads, self.v_head_dim)
        copy_columns(part.o_proj, self.o_proj, heads, self.v_head_dim)
        if self.indexer is not None and part.indexer is not None:
            part.indexer.load_state_dict(self.indexer.state_dict())
        return part


class MultiHeadAttention(HeadAttention):
    """Every query head has a key head and a value head of its own: G = H."""


class GroupedQueryAttention(HeadAttention):
    """M = H/G query heads share each key head and value head. An indexer is whole on every rank."""

    stored_as = {**HeadAttention.stored_as, "index_k": BF16_INDEX_KEYS}  # noqa: RUF012  # as in the base


class MultiQueryAttention(HeadAttention):
    """All query heads share one key and one value, which lose their head axis: G = 1."""

    def keep(self, x_BTD: Tensor, start: int) -> dict[str, Tensor]:
        """k (B, T, K), rotated, and v (B, T, V), unless the key is the value."""
        return {name: rows.squeeze(2) for name, rows in super().keep(x_BTD, start).items()}

    def attend(self, x_BTD: Tensor, start: int, rows: Rows) -> Tensor:
        of_one_head = {name: tensor.unsqueeze(2) for name, tensor in rows.tensors.items()}
        return super().attend(x_BTD, start, rows._replace(tensors=of_one_head))


def _kv_heads(mechanism: MHA | MQA | GQA) -> int:
    match mechanism:
        case MHA():
            return mechanism.num_heads
        case MQA():
            return 1
        case GQA():
            return mechanism.num_kv_heads
