"""Paths of MLA: naive, and with the expansion absorbed. Letters of shapes are in kvcalc/reference/base.py.

Absorbed, queries move into the latent space and only the result moves out of it (DeepSeek-V2,
https://arxiv.org/abs/2405.04434, section 2.1.2): what is attended to is the latent itself, one KV head for all.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch.nn.functional import scaled_dot_product_attention

from kvcalc.speed.paths.compiled import compiled_flex_attention, why_not_compiled
from kvcalc.speed.paths.path import Kept, Path, Query
from kvcalc.speed.storage import JOINED, Storage

if TYPE_CHECKING:
    from torch import Tensor

    from kvcalc.speed.paths.path import Attend


def absorbed(query: Query, up_k_HNR: Tensor) -> Tensor:
    """The queries (B, H, R) of the latent."""
    return torch.bmm(query.q.transpose(0, 1), up_k_HNR).transpose(0, 1)


def expanded(o_BHR: Tensor, up_v_HVR: Tensor) -> Tensor:
    """The output (B, H, V) of the latent's."""
    return torch.bmm(o_BHR.transpose(0, 1), up_v_HVR.transpose(1, 2)).transpose(0, 1)


def expansion(kept: Kept) -> tuple[Tensor, Tensor]:
    """The projections of an MLA layer."""
    if kept.expansion is None:
        raise TypeError("an MLA path needs the layer's expansion")
    return kept.expansion


def joined_query(query: Query, up_k_HNR: Tensor) -> Tensor:
    """(B, H, R + P), as the joined cache has its rows."""
    q_BHR = absorbed(query, up_k_HNR)
    return q_BHR if query.rope is None else torch.cat((q_BHR, query.rope), dim=-1)


def _naive(kept: Kept) -> Attend:
    """Keys and values of every head are expanded at every step, one sequence after another."""
    up_k_HNR, up_v_HVR = expansion(kept)
    c_kv_BSR, k_rope_BSP = kept.rows["c_kv"], kept.rows.get("k_rope")

    def attend(query: Query) -> Tensor:
        outputs = []
        for place, c_kv_SR in enumerate(c_kv_BSR):
            k_HSK, v_HSV = c_kv_SR @ up_k_HNR.transpose(1, 2), c_kv_SR @ up_v_HVR.transpose(1, 2)
            q_HK = query.q[place]
            if k_rope_BSP is not None and query.rope is not None:
                k_HSK = torch.cat((k_HSK, k_rope_BSP[place].expand(len(k_HSK), -1, -1)), dim=-1)
                q_HK = torch.cat((q_HK, query.rope[place]), dim=-1)
            one = scaled_dot_product_attention(q_HK[None, :, None], k_HSK[None], v_HSV[None], scale=kept.scale)
            outputs.append(one[0, :, 0])
        return torch.stack(outputs)

    return attend


def _matrix_products(kept: Kept) -> Attend:
    up_k_HNR, up_v_HVR = expansion(kept)
    c_kv_BSR, k_rope_BSP = kept.rows["c_kv"], kept.rows.get("k_rope")

    def attend(query: Query) -> Tensor:
        scores_BHS = torch.bmm(absorbed(query, up_k_HNR), c_kv_BSR.transpose(1, 2))
        if query.rope is not None and k_rope_BSP is not None:
            scores_BHS = scores_BHS.baddbmm_(query.rope, k_rope_BSP.transpose(1, 2))
        weights_BHS = torch.softmax(scores_BHS.mul_(kept.scale), dim=-1)
        return expanded(torch.bmm(weights_BHS, c_kv_BSR), up_v_HVR)

    return attend


def _joined_products(kept: Kept) -> Attend:
    up_k_HNR, up_v_HVR = expansion(kept)
    rows_BSW, c_kv_BSR = kept.rows[JOINED], kept.rows["c_kv"]

    def attend(query: Query) -> Tensor:
        scores_BHS = torch.bmm(joined_query(query, up_k_HNR), rows_BSW.transpose(1, 2))
        weights_BHS = torch.softmax(scores_BHS.mul_(kept.scale), dim=-1)
        return expanded(torch.bmm(weights_BHS, c_kv_BSR), up_v_HVR)

    return attend


def _sdpa(kept: Kept) -> Attend:
    """The whole row is summed, rotary key and all, which is cut off: kernels want keys and values of one width."""
    up_k_HNR, up_v_HVR = expansion(kept)
    rows_B1SW = kept.rows[JOINED].unsqueeze(1)
    rank = kept.rows["c_kv"].shape[-1]

    def attend(query: Query) -> Tensor:
        q_B1HW = joined_query(query, up_k_HNR).unsqueeze(1)
        o_B1HW = scaled_dot_product_attention(q_B1HW, rows_B1SW, rows_B1SW, scale=kept.scale)
        return expanded(o_B1HW.squeeze(1)[..., :rank], up_v_HVR)

    return attend


def _flex(kept: Kept) -> Attend:
    up_k_HNR, up_v_HVR = expansion(kept)
    rows_B1SW, c_kv_B1SR = kept.rows[JOINED].unsqueeze(1), kept.rows["c_kv"].unsqueeze(1)
    flex = compiled_flex_attention()

    def attend(query: Query) -> Tensor:
        q_BHTW = joined_query(query, up_k_HNR).unsqueeze(2)
        o_BHTR = flex(q_BHTW, rows_B1SW, c_kv_B1SR, scale=kept.scale, enable_gqa=True)
        return expanded(o_BHTR.squeeze(2), up_v_HVR)

    return attend


NAIVE = "naive"

LATENT_PATHS = (
    Path(
        "absorbed, matrix products", ("mla",), "bmm, softmax, bmm over latents", Storage.LATENTS_APART, _matrix_products
    ),
    Path(
        "absorbed, matrix products, joined",
        ("mla",),
        "the same with latent and rotary key in one row",
        Storage.LATENTS_JOINED,
        _joined_products,
    ),
    Path(
        "absorbed, sdpa",
        ("mla",),
        "scaled_dot_product_attention: all heads as tokens of one head as wide as a row",
        Storage.LATENTS_JOINED,
        _sdpa,
    ),
    Path(
        "absorbed, flex_attention",
        ("mla",),
        "torch.compile(flex_attention)",
        Storage.LATENTS_JOINED,
        _flex,
        why_not_compiled,
        in_float64=False,
    ),
    Path(NAIVE, ("mla",), "keys and values of every head expanded, then sdpa", Storage.LATENTS_APART, _naive),
)
