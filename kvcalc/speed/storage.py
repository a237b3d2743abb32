"""How the rows of a cache lie in memory. Each path has an order that suits it; its size is the same in every one.

Letters of shapes are in kvcalc/reference/base.py. A cache is always seen in one shape, k (B, S, G, K) or c_kv
(B, S, R), as `keep` of the reference modules gives rows; only the order in memory differs.
"""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from kvcalc.mechanisms import MLA

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kvcalc.speed.mechanism import Measured


class Storage(Enum):
    """The order of axes in memory, the last one dense."""

    TOKENS_FIRST = "k and v as (B, S, G, K)"
    HEADS_FIRST = "k and v as (B, G, S, K)"
    KEYS_TRANSPOSED = "k as (B, G, K, S), v as (B, G, S, V)"
    LATENTS_APART = "c_kv as (B, S, R), k_rope as (B, S, P)"
    LATENTS_JOINED = "c_kv and k_rope as one (B, S, R + P)"


JOINED = "joined"
"""The name under which latent and rotary key stand as one tensor."""

BLOCK = 2**24
"""Elements that are drawn; drawing all of a large cache takes longer than measuring it."""


def empty_cache(storage: Storage, mechanism: Measured, sequences: int, positions: int, **on: Any) -> dict[str, Tensor]:
    """Views (B, S, ...) of memory that has this order, by the names of the reference modules.

    Args:
        storage: the order.
        mechanism: whose cache.
        sequences: B.
        positions: S.
        on: `device` and `dtype`, as torch takes them.
    """
    if isinstance(mechanism, MLA):
        return _latents(storage, mechanism, sequences, positions, on)
    heads, k_width = _kv_heads(mechanism), mechanism.head_dim
    v_width = mechanism.v_head_dim or k_width

    def rows(width: int, *, transposed: bool) -> Tensor:
        if transposed:
            return torch.empty(sequences, heads, width, positions, **on).permute(0, 3, 1, 2)
        if storage is Storage.TOKENS_FIRST:
            return torch.empty(sequences, positions, heads, width, **on)
        return torch.empty(sequences, heads, positions, width, **on).transpose(1, 2)

    kept = {"k": rows(k_width, transposed=storage is Storage.KEYS_TRANSPOSED)}
    if not mechanism.k_equals_v:
        kept["v"] = rows(v_width, transposed=False)
    return kept


def fill(cache: Mapping[str, Tensor], generator: torch.Generator) -> None:
    """Write random numbers over all of its memory: a drawn block, and after it that block, each time scaled anew."""
    for rows in {each.untyped_storage().data_ptr(): each for each in cache.values()}.values():
        flat = rows.as_strided((rows.untyped_storage().nbytes() // rows.itemsize,), (1,), 0)
        block = flat[:BLOCK].normal_(generator=generator)
        for part in torch.split(flat[BLOCK:], BLOCK):
            factor = torch.rand((), device=flat.device, generator=generator).add_(0.5).to(flat.dtype)
            torch.mul(block[: len(part)], factor, out=part)


def stored_bytes(cache: Mapping[str, Tensor]) -> int:
    """Bytes of the memory behind the views."""
    return sum({rows.untyped_storage().data_ptr(): rows.untyped_storage().nbytes() for rows in cache.values()}.values())


def save(cache: Mapping[str, Tensor], kept: Mapping[str, Tensor], start: int) -> None:
    """Store what `keep` of a reference module gave for tokens start, start + 1, ..."""
    for name, new in kept.items():
        view = cache[name][:, start : start + new.shape[1]]
        view.copy_(new if new.dim() == view.dim() else new.unsqueeze(2))  # MQA's one head has no axis there


def _latents(
    storage: Storage, mechanism: MLA, sequences: int, positions: int, on: Mapping[str, Any]
) -> dict[str, Tensor]:
    rank, rope = mechanism.kv_lora_rank, mechanism.qk_rope_head_dim
    if storage is Storage.LATENTS_APART:
        kept = {"c_kv": torch.empty(sequences, positions, rank, **on)}
        return kept | ({"k_rope": torch.empty(sequences, positions, rope, **on)} if rope else {})
    joined: Tensor = torch.empty(sequences, positions, rank + rope, **on)
    parts = {"c_kv": joined[..., :rank], "k_rope": joined[..., rank:]} if rope else {"c_kv": joined}
    return {**parts, JOINED: joined}


def _kv_heads(mechanism: Measured) -> int:
    return mechanism.heads.num_kv_heads or mechanism.num_heads
