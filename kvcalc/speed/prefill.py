"""Attention of a whole prompt: a few ways, proven against the textbook module. Letters: kvcalc/reference/base.py.

MLA's heads are made of the latents first, which computes less than attending to latents where every token asks.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from kvcalc.mechanisms import MLA
from kvcalc.reference.functional import positions, rotate
from kvcalc.reference.mha_mqa_gqa import HeadAttention
from kvcalc.reference.mla import with_rope
from kvcalc.speed.layer import PROOF_HIDDEN, PROOF_SEQUENCES, PROOF_TOKENS, Module, module_of
from kvcalc.speed.mechanism import Measured


class Prompt(NamedTuple):
    """Queries (B, H, T, K), keys (B, G, T, K) and values (B, G, T, V) of a whole prompt."""

    q: Tensor
    k: Tensor
    v: Tensor
    scale: float


class PrefillPath(NamedTuple):
    """A way: causal attention (B, H, T, V)."""

    name: str
    call: Callable[[Prompt], Tensor]


def _sdpa(prompt: Prompt) -> Tensor:
    shared = prompt.k.shape[1] != prompt.q.shape[1]
    return scaled_dot_product_attention(
        prompt.q, prompt.k, prompt.v, is_causal=True, scale=prompt.scale, enable_gqa=shared
    )


def _repeated(prompt: Prompt) -> Tensor:
    readers = prompt.q.shape[1] // prompt.k.shape[1]
    k_BHTK, v_BHTV = (rows.repeat_interleave(readers, dim=1) for rows in (prompt.k, prompt.v))
    return scaled_dot_product_attention(prompt.q, k_BHTK, v_BHTV, is_causal=True, scale=prompt.scale)


def _one_width(prompt: Prompt) -> Tensor:
    """Values padded to the keys' width, or the other way round: kernels want one."""
    k_width, v_width = prompt.k.shape[-1], prompt.v.shape[-1]
    width = max(k_width, v_width)

    def wide(rows: Tensor) -> Tensor:
        return torch.nn.functional.pad(rows, (0, width - rows.shape[-1]))

    padded = prompt._replace(q=wide(prompt.q), k=wide(prompt.k), v=wide(prompt.v))
    return _sdpa(padded)[..., :v_width]


PREFILL_PATHS = (
    PrefillPath("sdpa, causal", _sdpa),
    PrefillPath("sdpa, causal, heads repeated", _repeated),
    PrefillPath("sdpa, causal, one width", _one_width),
)


def prompt_of(module: Module, x_BTD: Tensor) -> Prompt:
    """What a module attends to of these tokens."""
    at_T = positions(x_BTD, 0)
    if isinstance(module, HeadAttention):
        k_BGTK = rotate(module.keys(x_BTD), at_T).transpose(1, 2)
        v_BGTV = k_BGTK if module.k_equals_v else module.values(x_BTD).transpose(1, 2)
        return Prompt(rotate(module.queries(x_BTD), at_T).transpose(1, 2), k_BGTK, v_BGTV, module.head_dim**-0.5)
    c_kv_BTR, k_rope_BTP = module.latent(x_BTD, at_T)
    k_nope_BTHN, v_BTHV = module.expand(c_kv_BTR)
    k_BTHK = with_rope(k_nope_BTHN, k_rope_BTP)
    q_BHTK = torch.cat(module.queries(x_BTD, at_T), dim=-1).transpose(1, 2)
    return Prompt(q_BHTK, k_BTHK.transpose(1, 2), v_BTHV.transpose(1, 2), module.scale)


def random_prompt(mechanism: Measured, tokens: int, device: torch.device, dtype: torch.dtype) -> Prompt:
    """One prompt of the shape that a module of this mechanism would attend to."""
    if isinstance(mechanism, MLA):
        heads = kv_heads = mechanism.num_heads
        k_width, v_width = mechanism.qk_nope_head_dim + mechanism.qk_rope_head_dim, mechanism.v_head_dim
    else:
        heads, kv_heads = mechanism.num_heads, mechanism.heads.num_kv_heads or mechanism.num_heads
        k_width = mechanism.head_dim
        v_width = mechanism.v_head_dim or k_width

    def drawn(number: int, width: int) -> Tensor:
        return torch.randn(1, number, tokens, width, device=device, dtype=dtype)

    return Prompt(drawn(heads, k_width), drawn(kv_heads, k_width), drawn(kv_heads, v_width), k_width**-0.5)


def prefill_error(path: PrefillPath, mechanism: Measured, device: torch.device) -> float:
    """How far a path is off the textbook in float64, as a share of the largest output."""
    module = module_of(mechanism, PROOF_HIDDEN, device, torch.float64)
    generator = torch.Generator(device=device).manual_seed(1)
    x_BTD = torch.empty(PROOF_SEQUENCES, PROOF_TOKENS, PROOF_HIDDEN, device=device, dtype=torch.float64)
    x_BTD.normal_(generator=generator)
    o_BHTV = path.call(prompt_of(module, x_BTD))
    found = module.o_proj(o_BHTV.transpose(1, 2).flatten(-2))
    expected = module(x_BTD)
    return float((found - expected).abs().max() / expected.abs().max())
