"""Paths of MHA, GQA and MQA. Letters of shapes are in kvcalc/reference/base.py."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch.nn.functional import scaled_dot_product_attention

from kvcalc.speed.paths.compiled import compiled_flex_attention, why_not_compiled
from kvcalc.speed.paths.path import Kept, Path, Query
from kvcalc.speed.storage import Storage

if TYPE_CHECKING:
    from torch import Tensor

    from kvcalc.speed.paths.path import Attend

_GROUPED = ("gqa", "mqa")
_ALL = ("mha", *_GROUPED)


def _heads_first(kept: Kept) -> tuple[Tensor, Tensor]:
    """K (B, G, S, K) and v (B, G, S, V)."""
    return kept.rows["k"].transpose(1, 2), kept.values.transpose(1, 2)


def _each_head(kept: Kept) -> Attend:
    k_BGSK, v_BGSV = _heads_first(kept)
    shared = kept.mechanism.kind != "mha"

    def attend(query: Query) -> Tensor:
        q_BHTK = query.q.unsqueeze(2)
        return scaled_dot_product_attention(q_BHTK, k_BGSK, v_BGSV, scale=kept.scale, enable_gqa=shared).squeeze(2)

    return attend


def _group_as_tokens(kept: Kept) -> Attend:
    k_BGSK, v_BGSV = _heads_first(kept)

    def attend(query: Query) -> Tensor:
        q_BGMK = query.q.view(len(query.q), k_BGSK.shape[1], -1, query.q.shape[-1])
        return scaled_dot_product_attention(q_BGMK, k_BGSK, v_BGSV, scale=kept.scale).flatten(1, 2)

    return attend


def _matrix_products(kept: Kept) -> Attend:
    k_BGSK, v_BGSV = _heads_first(kept)
    k_bSK, v_bSV = k_BGSK.flatten(0, 1), v_BGSV.flatten(0, 1)

    def attend(query: Query) -> Tensor:
        q_BHK = query.q * kept.scale
        q_bMK = q_BHK.view(len(k_bSK), -1, q_BHK.shape[-1])
        weights_bMS = torch.softmax(torch.bmm(q_bMK, k_bSK.transpose(1, 2)), dim=-1)
        o_bMV = torch.bmm(weights_bMS, v_bSV)
        o_BHV: Tensor = o_bMV.view(*q_BHK.shape[:2], o_bMV.shape[-1])
        return o_BHV

    return attend


def _flex(kept: Kept) -> Attend:
    k_BGSK, v_BGSV = _heads_first(kept)
    flex, shared = compiled_flex_attention(), kept.mechanism.kind != "mha"

    def attend(query: Query) -> Tensor:
        o_BHTV: Tensor = flex(query.q.unsqueeze(2), k_BGSK, v_BGSV, scale=kept.scale, enable_gqa=shared)
        return o_BHTV.squeeze(2)

    return attend


HEAD_PATHS = (
    Path("sdpa", ("mha",), "scaled_dot_product_attention", Storage.HEADS_FIRST, _each_head),
    Path(
        "sdpa, group as tokens",
        _GROUPED,
        "scaled_dot_product_attention: the queries of a KV head as tokens of one head",
        Storage.HEADS_FIRST,
        _group_as_tokens,
    ),
    Path(
        "matrix products",
        _ALL,
        "bmm, softmax, bmm over [batch x KV heads, group, head_dim]",
        Storage.HEADS_FIRST,
        _matrix_products,
    ),
    Path(
        "matrix products, keys transposed",
        _ALL,
        "the same with keys stored as [batch, KV heads, head_dim, context]",
        Storage.KEYS_TRANSPOSED,
        _matrix_products,
    ),
    Path(
        "sdpa, enable_gqa",
        _GROUPED,
        "scaled_dot_product_attention(enable_gqa=True)",
        Storage.HEADS_FIRST,
        _each_head,
    ),
    Path(
        "flex_attention",
        _ALL,
        "torch.compile(flex_attention)",
        Storage.HEADS_FIRST,
        _flex,
        why_not_compiled,
        in_float64=False,
    ),
)
