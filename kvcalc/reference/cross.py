"""Cross attention to an encoder's tokens. Letters of shapes are in base.py.

Source: https://arxiv.org/abs/1706.03762 section 3.2.3.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Self

import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention

from kvcalc.reference.base import ReferenceState, copy_columns, copy_rows, heads_of, kv_heads_of
from kvcalc.reference.functional import split_heads
from kvcalc.reference.stored_as import KEYS_AND_VALUES

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kvcalc.mechanisms import Cross
    from kvcalc.model.span import Span


class CrossAttention(ReferenceState):
    """The encoder's keys and values are computed once; each token of the text reads all of them, and adds none."""

    small = {"head_dim": 6, "encoder_context": 9}  # noqa: RUF012  # declared as a class variable in the base
    stored_as = {"k": KEYS_AND_VALUES, "v": KEYS_AND_VALUES}  # noqa: RUF012  # likewise

    def __init__(self, mechanism: Cross, hidden_size: int, span: Span | None = None) -> None:
        super().__init__(mechanism, hidden_size, span)
        self.num_heads, self.num_kv_heads = mechanism.num_heads, mechanism.num_kv_heads
        self.head_dim = mechanism.head_dim
        self.q_proj = nn.Linear(hidden_size, self.num_heads * self.head_dim, bias=False)
        self.k_proj = nn.Linear(hidden_size, self.num_kv_heads * self.head_dim, bias=False)
        self.v_proj = nn.Linear(hidden_size, self.num_kv_heads * self.head_dim, bias=False)
        self.o_proj = nn.Linear(self.num_heads * self.head_dim, hidden_size, bias=False)

    def encoder_tokens(self, sequences: int) -> Tensor:
        """Stand-ins for an encoder's output, (B, E, D): always the same, and exact in every dtype of computing."""
        weight, shape = self.q_proj.weight, (sequences, self.mechanism.encoder_context, self.hidden_size)
        if weight.is_meta:
            return weight.new_empty(shape)
        drawn = torch.randn(shape, generator=torch.Generator().manual_seed(2), dtype=torch.float32)
        return drawn.to(torch.bfloat16).to(weight)

    def begin(self, sequences: int) -> dict[str, Tensor]:
        """k and v of the encoder's tokens, (B, E, G, K)."""
        tokens_BED = self.encoder_tokens(sequences)
        return {
            name: split_heads(proj(tokens_BED), self.num_kv_heads)
            for name, proj in (("k", self.k_proj), ("v", self.v_proj))
        }

    def advance(self, x_BTD: Tensor, kept: Mapping[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        q_BTGMK = self.q_proj(x_BTD).unflatten(-1, (self.num_kv_heads, -1, self.head_dim))
        k_BEGK, v_BEGK = kept["k"].to(x_BTD.dtype), kept["v"].to(x_BTD.dtype)
        scores_BGMTE = torch.einsum("btgmk,begk->bgmte", q_BTGMK * self.head_dim**-0.5, k_BEGK)
        weights = torch.softmax(scores_BGMTE.to(torch.promote_types(x_BTD.dtype, torch.float32)), dim=-1)
        o_BTGMK = torch.einsum("bgmte,begk->btgmk", weights.to(x_BTD.dtype), v_BEGK)
        return self.o_proj(o_BTGMK.flatten(2)), dict(kept)

    def forward(self, x_BTD: Tensor, last: int | None = None) -> Tensor:
        """torch's own attention, from the encoder's tokens."""
        x_BTD = x_BTD[:, -(last or x_BTD.shape[1]) :]
        tokens_BED = self.encoder_tokens(len(x_BTD))
        q_BHTK, k_BGEK, v_BGEK = (
            proj(of).unflatten(-1, (-1, self.head_dim)).transpose(1, 2)
            for proj, of in ((self.q_proj, x_BTD), (self.k_proj, tokens_BED), (self.v_proj, tokens_BED))
        )
        repeats = self.num_heads // self.num_kv_heads
        o_BHTK = scaled_dot_product_attention(
            q_BHTK, k_BGEK.repeat_interleave(repeats, dim=1), v_BGEK.repeat_interleave(repeats, dim=1)
        )
        return self.o_proj(o_BHTK.transpose(1, 2).flatten(-2))  # type: ignore[no-any-return]  # torch: Any

    def shard(self, rank: int, tp: int) -> Self:
        heads = heads_of(rank, tp, self.num_heads)
        kv_heads = kv_heads_of(heads, self.num_heads, self.num_kv_heads)
        part = self.empty_part(replace(self.mechanism, num_heads=len(heads), num_kv_heads=len(kv_heads)))
        copy_rows(part.q_proj, self.q_proj, heads, self.head_dim)
        copy_rows(part.k_proj, self.k_proj, kv_heads, self.head_dim)
        copy_rows(part.v_proj, self.v_proj, kv_heads, self.head_dim)
        copy_columns(part.o_proj, self.o_proj, heads, self.head_dim)
        return part
