"""The pieces of attention without weights: rotary embedding, masks, softmax. Letters of shapes are in base.py."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from kvcalc.model.span import Chunk, Window

if TYPE_CHECKING:
    from kvcalc.model.span import Span

ROPE_BASE = 10_000.0


def positions(x_BTD: Tensor, start: int) -> Tensor:
    """Positions (T,) of tokens that begin at `start`."""
    return integers(start, start + x_BTD.shape[1], x_BTD.device)


def split_heads(x: Tensor, heads: int) -> Tensor:
    """(..., heads x width) as (..., heads, width)."""
    return x.reshape(*x.shape[:-1], heads, x.shape[-1] // heads)


def rotate(x_BTHK: Tensor, positions_T: Tensor) -> Tensor:
    """Rotary embedding: elements 2i and 2i + 1 of each head turn by position x base^(-2i/K).

    An odd last element stays as it is, and K is one less. Source: RoFormer, https://arxiv.org/abs/2104.09864, eq. 34.
    """
    pairs = x_BTHK.shape[-1] // 2
    compute = torch.promote_types(x_BTHK.dtype, torch.float32)
    steps = integers(0, pairs, x_BTHK.device).to(torch.float64)
    angles_T1p = torch.outer(positions_T.to(torch.float64), ROPE_BASE ** (-steps / max(1, pairs))).unsqueeze(1)
    cos, sin = torch.cos(angles_T1p).to(compute), torch.sin(angles_T1p).to(compute)
    even = x_BTHK[..., 0 : 2 * pairs : 2].to(compute)
    odd = x_BTHK[..., 1 : 2 * pairs : 2].to(compute)
    turned = torch.stack((even * cos - odd * sin, even * sin + odd * cos), dim=-1).flatten(-2).to(x_BTHK.dtype)
    return torch.cat((turned, x_BTHK[..., 2 * pairs :]), dim=-1)


def visible(queries_T: Tensor, rows_S: Tensor, span: Span | None) -> Tensor:
    """Which rows of the cache a query may read, (T, S): its own and earlier ones, of its window or its chunk."""
    distance_TS = queries_T.unsqueeze(1) - rows_S.unsqueeze(0)
    mask_TS = (distance_TS >= 0) & (rows_S >= 0)
    match span:
        case Window(tokens):
            return mask_TS & (distance_TS < tokens)
        case Chunk(tokens):
            return mask_TS & (distance_TS <= (queries_T % tokens).unsqueeze(1))
        case _:
            return mask_TS


def textbook_mask(tokens: int, last: int, span: Span | None, device: torch.device) -> Tensor:
    """The causal mask (last, tokens) of the last tokens: a triangle, a band, or triangles along the diagonal."""
    mask = torch.ones(last, tokens, dtype=torch.bool, device=device).tril(tokens - last)
    match span:
        case Window(width):
            return mask.triu(tokens - last - width + 1)
        case Chunk(width):
            chunks = integers(0, tokens, device) // width
            return mask & (chunks[-last:].unsqueeze(1) == chunks.unsqueeze(0))
        case _:
            return mask


def softmax(scores: Tensor, mask_TS: Tensor) -> Tensor:
    """Attention weights from scores (..., T, S), computed in float32 or better."""
    wide = scores.to(torch.promote_types(scores.dtype, torch.float32))
    return torch.softmax(wide.masked_fill(~mask_TS, float("-inf")), dim=-1).to(scores.dtype)


def integers(start: int, end: int, device: torch.device) -> Tensor:
    """start, start + 1, ..., end - 1. On the meta device, where torch.arange loads a compiler first, a shape alone."""
    if device.type == "meta":
        return torch.empty(end - start, dtype=torch.int64, device=device)
    return torch.arange(start, end, device=device)
