"""Compressed attention: a window of entries, and pooled entries of all before. Letters of shapes are in base.py.

Source: DeepSeek-V4, section 2.3; transformers 5.24, models/deepseek_v4/modeling_deepseek_v4.py; DeepSeek-V4.1-Flash,
inference/model.py. There each head has a sink beside the scores, the output is rotated back, its projection is
low-rank, and V4.1's later indexers choose within blocks that an earlier one has chosen: none changes what is kept.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Self

import torch
from torch import Tensor, nn

from kvcalc.model.span import Window
from kvcalc.reference.base import ReferenceParts, Rows, copy_columns, copy_rows, heads_of
from kvcalc.reference.compressor import EPSILON, Compressor, KeysOfEntries
from kvcalc.reference.functional import positions, rotate, softmax, split_heads, textbook_mask, visible
from kvcalc.reference.indexer import Scorer
from kvcalc.reference.stored_as import COMPRESSED, FP8_DS_V4, INDEX_KEYS, state_in_fp32

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kvcalc.mechanisms import Compressed
    from kvcalc.model.span import Span

_STATES = state_in_fp32("vLLM 0.33.0, vllm/models/deepseek_v4/compressor.py, CompressorStateCache")


class CompressedAttention(ReferenceParts):
    """Queries of every head read the same entries, each of which is its own value.

    A layer that reads an earlier layer's entries is here its window alone: those entries are the earlier layer's.
    """

    small = {  # noqa: RUF012  # declared as a class variable in the base
        "head_dim": 8,
        "qk_rope_head_dim": 4,
        "sliding_window": 5,
        "compress_ratio": 3,
        "q_lora_rank": 7,
        "index_head_dim": 4,
        "index_n_heads": 3,
        "index_topk": 3,
    }
    chosen = frozenset({"index_k", "index_state"})
    stored_as = {  # noqa: RUF012  # likewise
        "kv": COMPRESSED,
        "compressed_kv": COMPRESSED,
        "index_k": INDEX_KEYS,
        "compressor_state": _STATES,
        "index_state": _STATES,
    }

    layouts = {"fp8_ds_mla": FP8_DS_V4}  # noqa: RUF012  # likewise

    def __init__(self, mechanism: Compressed, hidden_size: int, span: Span | None = None) -> None:
        super().__init__(mechanism, hidden_size, span)
        self.num_heads, self.head_dim, self.window = mechanism.num_heads, mechanism.head_dim, mechanism.sliding_window
        self.rope = self.head_dim if mechanism.qk_rope_head_dim is None else mechanism.qk_rope_head_dim
        queries = self.num_heads * self.head_dim
        if mechanism.q_lora_rank is None:
            self.q_proj = nn.Linear(hidden_size, queries, bias=False)
        else:
            self.q_a_proj = nn.Linear(hidden_size, mechanism.q_lora_rank, bias=False)
            self.q_b_proj = nn.Linear(mechanism.q_lora_rank, queries, bias=False)
        self.kv_proj = nn.Linear(hidden_size, self.head_dim, bias=False)
        self.kv_norm = nn.RMSNorm(self.head_dim, eps=EPSILON)
        self.o_proj = nn.Linear(queries, hidden_size, bias=False)
        self.compressor = self.indexer = self.index_compressor = self.index_keys = None
        if mechanism.compress_ratio is None or mechanism.shared_entries:
            return
        self.compressor = self._compressor(self.head_dim)
        if mechanism.index_head_dim is not None:
            width, heads = mechanism.index_head_dim, mechanism.index_n_heads or self.num_heads
            if mechanism.index_of_entries:
                self.index_keys = KeysOfEntries(width, self.head_dim, mechanism.compress_ratio, self.rope)
            else:
                self.index_compressor = self._compressor(width)
            self.indexer = Scorer(hidden_size, heads, width, self.rope, mechanism.index_topk)

    def _compressor(self, width: int) -> Compressor:
        dims = self.mechanism
        return Compressor(self.hidden_size, width, dims.compress_ratio, self.rope, overlap=dims.overlap)

    @property
    def makers(self) -> dict[str, Compressor]:
        """What pools tokens, by what waits for it."""
        found = {"compressor_state": self.compressor, "index_state": self.index_compressor}
        return {name: each for name, each in found.items() if each is not None}

    @property
    def pooled(self) -> tuple[str, ...]:  # type: ignore[override]  # those that this layer has
        return tuple(self.makers) if self.stride > 1 else ()

    @property
    def entries(self) -> tuple[str, ...]:
        return self._made if self.stride > 1 else ()

    @property
    def _made(self) -> tuple[str, ...]:
        if self.compressor is None:
            return ()
        return ("compressed_kv",) if self.indexer is None else ("compressed_kv", "index_k")

    @property
    def rings(self) -> Mapping[str, int | None]:
        waiting = dict.fromkeys(self.pooled, self.stride + self.reach)
        return {"kv": self.window, **waiting, **({} if self.stride > 1 else dict.fromkeys(self._made))}

    @property
    def stride(self) -> int:
        return 1 if self.compressor is None else self.compressor.ratio

    @property
    def reach(self) -> int:
        return self.stride if self.mechanism.overlap else 0

    def keep(self, x_BTD: Tensor, start: int) -> dict[str, Tensor]:
        """kv (B, T, K), and what waits for its entry: (B, T, 2 x vectors, K)."""
        at_T = positions(x_BTD, start)
        states = {name: each.states(x_BTD, at_T) for name, each in self.makers.items()}
        return {"kv": self._window_entries(x_BTD, at_T), **(states if self.stride > 1 else self.pool(states, start))}

    def _window_entries(self, x_BTD: Tensor, at_T: Tensor) -> Tensor:
        return self._rotated(self.kv_norm(self.kv_proj(x_BTD)).unsqueeze(2), at_T).squeeze(2)

    def _rotated(self, x_BTHK: Tensor, at_T: Tensor) -> Tensor:
        still, turning = x_BTHK[..., : self.head_dim - self.rope], x_BTHK[..., self.head_dim - self.rope :]
        return torch.cat((still, rotate(turning, at_T)), dim=-1)

    def _queries(self, x_BTD: Tensor, at_T: Tensor) -> Tensor:
        q = self.q_proj(x_BTD) if self.mechanism.q_lora_rank is None else self.q_b_proj(self.q_a_proj(x_BTD))
        scale = float(self.head_dim) ** -0.5
        return torch.mul(self._rotated(split_heads(q, self.num_heads), at_T), scale)

    def pool(self, rows: Mapping[str, Tensor], first: int) -> dict[str, Tensor]:
        """compressed_kv (B, T, K) and index_k (B, T, I)."""
        if self.compressor is None:
            return {}
        latents = self.compressor.latents(rows["compressor_state"], first)
        found = {"compressed_kv": self.compressor.rotated(latents, first)}
        if self.index_keys is not None:
            found["index_k"] = self.index_keys.keys(latents, first)
        elif self.index_compressor is not None:
            found["index_k"] = self.index_compressor.entries(rows["index_state"], first)
        return found

    def attend(self, x_BTD: Tensor, start: int, rows: Mapping[str, Rows]) -> Tensor:
        """One softmax over the window and the entries that are chosen."""
        at_T = positions(x_BTD, start)
        entries_BSK = rows["kv"].tensors["kv"]
        mask = visible(at_T, rows["kv"].positions_S, Window(self.window)).expand(len(x_BTD), -1, -1)
        if self.compressor is not None:
            compressed = rows["compressed_kv"]
            readable_TS = visible(at_T, compressed.positions_S, None)
            chosen = readable_TS.expand(len(x_BTD), -1, -1)
            if self.indexer is not None:
                chosen = self.indexer.chosen(x_BTD, at_T, rows["index_k"].tensors["index_k"], readable_TS)
            entries_BSK = torch.cat((entries_BSK, compressed.tensors["compressed_kv"]), 1)
            mask = torch.cat((mask, chosen), -1)
        return self._read(self._queries(x_BTD, at_T), entries_BSK, mask)

    def _read(self, q_BTHK: Tensor, entries_BSK: Tensor, mask_BTS: Tensor) -> Tensor:
        weights_BHTS = softmax(torch.einsum("bthk,bsk->bhts", q_BTHK, entries_BSK), mask_BTS.unsqueeze(1))
        o_BTHK = torch.einsum("bhts,bsk->bthk", weights_BHTS, entries_BSK)
        return self.o_proj(o_BTHK.flatten(-2))  # type: ignore[no-any-return]  # torch: Any

    def forward(self, x_BTD: Tensor, last: int | None = None) -> Tensor:
        """The whole sequence: a band of its entries, and of the compressed ones those that end before a token."""
        tokens = x_BTD.shape[1]
        last, at_T = tokens if last is None else last, positions(x_BTD, 0)
        entries_BSK = self._window_entries(x_BTD, at_T)
        mask = textbook_mask(tokens, last, Window(self.window), x_BTD.device).expand(len(x_BTD), -1, -1)
        if self.compressor is not None:
            latents_BSK = self.compressor.textbook_latents(x_BTD, at_T)
            entries_BSK = torch.cat((entries_BSK, self.compressor.rotated(latents_BSK, 0)), 1)
            ends_S = at_T[self.stride - 1 :: self.stride]
            readable_TS = ends_S.unsqueeze(0) <= at_T[-last:].unsqueeze(1)
            chosen = readable_TS.expand(len(x_BTD), -1, -1)
            if self.indexer is not None:
                keys = self._textbook_keys(x_BTD, at_T, latents_BSK)
                chosen = self.indexer.unsurpassed(x_BTD[:, -last:], at_T[-last:], keys, readable_TS)
            mask = torch.cat((mask, chosen), -1)
        return self._read(self._queries(x_BTD[:, -last:], at_T[-last:]), entries_BSK, mask)

    def _textbook_keys(self, x_BTD: Tensor, at_T: Tensor, latents_BSK: Tensor) -> Tensor:
        if self.index_compressor is not None:
            return self.index_compressor.textbook(x_BTD, at_T)
        return self.index_keys.keys(latents_BSK, 0)  # type: ignore[union-attr]  # an indexer has one or the other

    def shard(self, rank: int, tp: int) -> Self:
        """The rank's heads. No entry has heads, so every rank computes and keeps all of them."""
        heads = heads_of(rank, tp, self.num_heads)
        fewer = replace(self.mechanism, num_heads=len(heads))
        if fewer.index_head_dim is not None and fewer.index_n_heads is None:
            fewer = replace(fewer, index_n_heads=self.num_heads)
        part = self.empty_part(fewer)
        divided = {"q_proj", "q_b_proj", "o_proj"}
        for name, module in self.named_children():
            if name not in divided:
                getattr(part, name).load_state_dict(module.state_dict())
        copy_rows(
            *((part.q_proj, self.q_proj) if hasattr(self, "q_proj") else (part.q_b_proj, self.q_b_proj)),
            heads,
            self.head_dim,
        )
        copy_columns(part.o_proj, self.o_proj, heads, self.head_dim)
        return part
