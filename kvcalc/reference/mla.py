"""Multi-head latent attention as a causal layer, and the same layer with an expanded cache. Letters: base.py.

Source: DeepSeek-V2, https://arxiv.org/abs/2405.04434, section 2.1 (equations 9 to 19) and appendix C. Projections are
named as in Hugging Face's DeepseekV3Attention, so that its weights load here.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Self

import torch
from torch import Tensor, nn

from kvcalc.reference.base import ReferenceAttention, Rows, copy_columns, copy_rows, heads_of
from kvcalc.reference.functional import positions, rotate, softmax, textbook_mask, visible
from kvcalc.reference.pooled_indexer import indexer_of
from kvcalc.reference.stored_as import FP8_DS_MLA, INDEX_KEYS, LATENT

if TYPE_CHECKING:
    from kvcalc.mechanisms import MLA, MLAExpanded
    from kvcalc.model.span import Span

EPSILON = 1e-6


class MultiHeadLatentAttention(ReferenceAttention):
    """Keys and values of all heads are expanded from one latent vector; only it and one rotary key are kept."""

    small = {  # noqa: RUF012  # declared as a class variable in the base
        "kv_lora_rank": 10,
        "qk_rope_head_dim": 4,
        "qk_nope_head_dim": 6,
        "v_head_dim": 5,
        "q_lora_rank": 7,
        "index_head_dim": 6,
        "index_n_heads": 3,
        "index_topk": 4,
    }
    chosen = frozenset({"index_k"})
    stored_as = {"c_kv": LATENT, "k_rope": LATENT, "index_k": INDEX_KEYS}  # noqa: RUF012  # likewise
    layouts = {"fp8_ds_mla": FP8_DS_MLA}  # noqa: RUF012  # likewise

    def __init__(self, mechanism: MLA | MLAExpanded, hidden_size: int, span: Span | None = None) -> None:
        super().__init__(mechanism, hidden_size, span)
        self.num_heads = mechanism.num_heads
        self.rank, self.rope = mechanism.kv_lora_rank, mechanism.qk_rope_head_dim
        self.nope, self.v_head_dim = mechanism.qk_nope_head_dim, mechanism.v_head_dim
        self.scale = (self.nope + self.rope) ** -0.5
        query = self.num_heads * (self.nope + self.rope)
        if mechanism.q_lora_rank is None:
            self.q_proj = nn.Linear(hidden_size, query, bias=False)
        else:
            self.q_a_proj = nn.Linear(hidden_size, mechanism.q_lora_rank, bias=False)
            self.q_a_layernorm = nn.RMSNorm(mechanism.q_lora_rank, eps=EPSILON)
            self.q_b_proj = nn.Linear(mechanism.q_lora_rank, query, bias=False)
        self.kv_a_proj_with_mqa = nn.Linear(hidden_size, self.rank + self.rope, bias=False)
        self.kv_a_layernorm = nn.RMSNorm(self.rank, eps=EPSILON)
        self.kv_b_proj = nn.Linear(self.rank, self.num_heads * (self.nope + self.v_head_dim), bias=False)
        self.o_proj = nn.Linear(self.num_heads * self.v_head_dim, hidden_size, bias=False)
        self.indexer = indexer_of(mechanism, hidden_size)

    def queries(self, x_BTD: Tensor, at_T: Tensor) -> tuple[Tensor, Tensor]:
        """q_nope (B, T, H, N), and q_rope (B, T, H, P), rotated."""
        if self.mechanism.q_lora_rank is None:
            q = self.q_proj(x_BTD)
        else:
            q = self.q_b_proj(self.q_a_layernorm(self.q_a_proj(x_BTD)))
        q_nope_BTHN, q_rope_BTHP = q.unflatten(-1, (self.num_heads, -1)).split((self.nope, self.rope), dim=-1)
        return q_nope_BTHN, rotate(q_rope_BTHP, at_T)

    def latent(self, x_BTD: Tensor, at_T: Tensor) -> tuple[Tensor, Tensor]:
        """c_kv (B, T, R), normalised, and k_rope (B, T, P), rotated."""
        c_kv_BTR, k_rope_BTP = self.kv_a_proj_with_mqa(x_BTD).split((self.rank, self.rope), dim=-1)
        return self.kv_a_layernorm(c_kv_BTR), rotate(k_rope_BTP.unsqueeze(2), at_T).squeeze(2)

    def expand(self, c_kv_BSR: Tensor) -> tuple[Tensor, Tensor]:
        """k_nope (B, S, H, N) and v (B, S, H, V) of every head, from the latent."""
        heads = self.kv_b_proj(c_kv_BSR).unflatten(-1, (self.num_heads, -1))
        k_nope_BSHN, v_BSHV = heads.split((self.nope, self.v_head_dim), dim=-1)
        return k_nope_BSHN, v_BSHV

    def keep(self, x_BTD: Tensor, start: int) -> dict[str, Tensor]:
        """c_kv (B, T, R), k_rope (B, T, P) where keys are rotated, and what an indexer keeps."""
        at_T = positions(x_BTD, start)
        c_kv_BTR, k_rope_BTP = self.latent(x_BTD, at_T)
        kept = {"c_kv": c_kv_BTR}
        if self.rope:
            kept["k_rope"] = k_rope_BTP
        if self.indexer is not None:
            kept |= self.indexer.kept(x_BTD, at_T)
        return kept

    def attend(self, x_BTD: Tensor, start: int, rows: Rows) -> Tensor:
        """With the expansion absorbed: queries move into the latent space, and only the result moves out of it."""
        at_T = positions(x_BTD, start)
        c_kv_BSR = rows.tensors["c_kv"]
        heads_HXR = self.kv_b_proj.weight.view(self.num_heads, -1, self.rank)
        up_k_HNR, up_v_HVR = heads_HXR[:, : self.nope], heads_HXR[:, self.nope :]
        q_nope_BTHN, q_rope_BTHP = self.queries(x_BTD, at_T)
        q_BTHR = torch.einsum("bthn,hnr->bthr", q_nope_BTHN * self.scale, up_k_HNR)
        scores_BHTS = torch.einsum("bthr,bsr->bhts", q_BTHR, c_kv_BSR)
        if self.rope:
            k_rope_BSP = rows.tensors["k_rope"]
            scores_BHTS = scores_BHTS + torch.einsum("bthp,bsp->bhts", q_rope_BTHP * self.scale, k_rope_BSP)
        mask = visible(at_T, rows.positions_S, self.span)
        if self.indexer is not None:
            mask = self.indexer.chosen_of(x_BTD, at_T, rows, mask).unsqueeze(1)
        weights_BHTS = softmax(scores_BHTS, mask)
        o_BTHR = torch.einsum("bhts,bsr->bthr", weights_BHTS, c_kv_BSR)
        o_BTHV = torch.einsum("bthr,hvr->bthv", o_BTHR, up_v_HVR)
        return self.o_proj(o_BTHV.flatten(-2))  # type: ignore[no-any-return]  # torch: Any

    def attend_expanded(self, x_BTD: Tensor, start: int, rows: Rows) -> Tensor:
        """The naive way from the same rows: every head's keys and values are expanded first."""
        k_nope_BSHN, v_BSHV = self.expand(rows.tensors["c_kv"])
        k_BSHK = with_rope(k_nope_BSHN, rows.tensors["k_rope"]) if self.rope else k_nope_BSHN
        return self.attend_heads(x_BTD, start, k_BSHK, v_BSHV, rows.positions_S)

    def attend_heads(self, x_BTD: Tensor, start: int, k_BSHK: Tensor, v_BSHV: Tensor, at_S: Tensor) -> Tensor:
        """Multi-head attention over expanded keys (K = N + P) and values."""
        at_T = positions(x_BTD, start)
        q_BTHK = torch.cat(self.queries(x_BTD, at_T), dim=-1) * self.scale
        scores_BHTS = torch.einsum("bthk,bshk->bhts", q_BTHK, k_BSHK)
        weights_BHTS = softmax(scores_BHTS, visible(at_T, at_S, self.span))
        o_BTHV = torch.einsum("bhts,bshv->bthv", weights_BHTS, v_BSHV)
        return self.o_proj(o_BTHV.flatten(-2))  # type: ignore[no-any-return]  # torch: Any

    def forward(self, x_BTD: Tensor, last: int | None = None) -> Tensor:
        """Equations 9 to 19 as they stand: queries, keys and values of every head, then multi-head attention."""
        tokens = x_BTD.shape[1]
        last = tokens if last is None else last
        at_T = positions(x_BTD, 0)
        q_BHTK = torch.cat(self.queries(x_BTD[:, -last:], at_T[-last:]), dim=-1).transpose(1, 2)
        c_kv_BTR, k_rope_BTP = self.latent(x_BTD, at_T)
        k_nope_BTHN, v_BTHV = self.expand(c_kv_BTR)
        k_BHTK = with_rope(k_nope_BTHN, k_rope_BTP).transpose(1, 2)
        scores_BHTT = q_BHTK @ k_BHTK.transpose(2, 3) / (self.nope + self.rope) ** 0.5
        mask = textbook_mask(tokens, last, self.span, x_BTD.device)
        if self.indexer is not None:
            mask = self.indexer.textbook(x_BTD, mask).unsqueeze(1)
        weights_BHTT = softmax(scores_BHTT, mask)
        return self.o_proj((weights_BHTT @ v_BTHV.transpose(1, 2)).transpose(1, 2).flatten(-2))  # type: ignore[no-any-return]  # torch: Any

    def shard(self, rank: int, tp: int) -> Self:
        """The rank's heads. Latent and indexer have none to divide, so every rank computes and keeps all of them."""
        heads = heads_of(rank, tp, self.num_heads)
        part = self.empty_part(replace(self.mechanism, num_heads=len(heads)))
        query, expanded = self.nope + self.rope, self.nope + self.v_head_dim
        if self.mechanism.q_lora_rank is None:
            copy_rows(part.q_proj, self.q_proj, heads, query)
        else:
            part.q_a_proj.load_state_dict(self.q_a_proj.state_dict())
            part.q_a_layernorm.load_state_dict(self.q_a_layernorm.state_dict())
            copy_rows(part.q_b_proj, self.q_b_proj, heads, query)
        if self.indexer is not None and part.indexer is not None:
            part.indexer.load_state_dict(self.indexer.state_dict())
        part.kv_a_proj_with_mqa.load_state_dict(self.kv_a_proj_with_mqa.state_dict())
        part.kv_a_layernorm.load_state_dict(self.kv_a_layernorm.state_dict())
        copy_rows(part.kv_b_proj, self.kv_b_proj, heads, expanded)
        copy_columns(part.o_proj, self.o_proj, heads, self.v_head_dim)
        return part


def with_rope(k_nope_BSHN: Tensor, k_rope_BSP: Tensor) -> Tensor:
    """Keys (B, S, H, N + P): every head gets the one rotary key."""
    k_rope_BSHP = k_rope_BSP.unsqueeze(2).expand(-1, -1, k_nope_BSHN.shape[2], -1)
    return torch.cat((k_nope_BSHN, k_rope_BSHP), dim=-1)
