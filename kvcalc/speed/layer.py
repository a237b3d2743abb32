"""One decode step of a whole attention layer: projections, the new row, attention by a path, output projection.

And the proof of a path: such a step beside the textbook module, which computes the whole sequence without a cache.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from kvcalc.reference import build
from kvcalc.reference.functional import positions, rotate
from kvcalc.reference.mha_mqa_gqa import HeadAttention
from kvcalc.reference.mla import MultiHeadLatentAttention
from kvcalc.speed.paths import Kept, Query
from kvcalc.speed.storage import empty_cache, save

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kvcalc.speed.mechanism import Measured
    from kvcalc.speed.paths import Attend, Path

Module = HeadAttention | MultiHeadLatentAttention

PROOF_SEQUENCES, PROOF_TOKENS, PROOF_HIDDEN = 2, 64, 32
"""Sizes of a proof; heads and widths are the layer's own."""

TOLERANCES = {torch.float64: 1e-9, torch.float32: 1e-4, torch.float16: 2e-2, torch.bfloat16: 5e-2}
"""Of the largest output: rounding of so many bits over a few hundred additions."""


def module_of(mechanism: Measured, hidden_size: int, device: torch.device, dtype: torch.dtype) -> Module:
    """The reference module of a mechanism."""
    module = build(mechanism, hidden_size, None, device=device, dtype=dtype)
    if not isinstance(module, Module):
        raise TypeError(f"{type(module).__name__} has no queries that a path could take")
    return module


def kept_of(module: Module, rows: Mapping[str, Tensor]) -> Kept:
    """A cache with what paths must know of its layer."""
    if isinstance(module, HeadAttention):
        return Kept(rows, module.mechanism, module.head_dim**-0.5)
    heads_HXR = module.kv_b_proj.weight.view(module.num_heads, -1, module.rank)
    up_k_HNR = heads_HXR[:, : module.nope].contiguous()
    return Kept(rows, module.mechanism, module.scale, (up_k_HNR, heads_HXR[:, module.nope :].contiguous()))


def query_of(module: Module, x_BTD: Tensor, start: int) -> Query:
    """The queries of one token of each sequence."""
    at_T = positions(x_BTD, start)
    if isinstance(module, HeadAttention):
        return Query(rotate(module.queries(x_BTD), at_T)[:, 0])
    q_nope_BTHN, q_rope_BTHP = module.queries(x_BTD, at_T)
    return Query(q_nope_BTHN[:, 0], q_rope_BTHP[:, 0] if module.rope else None)


def layer_step(module: Module, attend: Attend, rows: Mapping[str, Tensor], x_BTD: Tensor, start: int) -> Tensor:
    """The output (B, 1, D) of the next token, whose row is stored at `start` first."""
    save(rows, module.keep(x_BTD, start), start)
    o_BHV = attend(query_of(module, x_BTD, start))
    return module.o_proj(o_BHV.flatten(1)).unsqueeze(1)  # type: ignore[no-any-return]  # torch: Any


def error_of(path: Path, mechanism: Measured, device: torch.device, dtype: torch.dtype) -> float:
    """How far a path is off the textbook, as a share of the largest output.

    The cache is what the reference module keeps of random tokens, and the last token is computed from it by the path.

    Args:
        path: to be proven.
        mechanism: with its own heads and widths.
        device: where.
        dtype: that is measured; float64 is taken instead where the path computes in it.
    """
    used = torch.float64 if path.in_float64 else dtype
    module = module_of(mechanism, PROOF_HIDDEN, device, used)
    generator = torch.Generator(device=device).manual_seed(1)
    x_BTD = torch.empty(PROOF_SEQUENCES, PROOF_TOKENS, PROOF_HIDDEN, device=device, dtype=used)
    x_BTD.normal_(generator=generator)
    rows = empty_cache(path.storage, mechanism, PROOF_SEQUENCES, PROOF_TOKENS, device=device, dtype=used)
    last = PROOF_TOKENS - 1
    save(rows, module.keep(x_BTD[:, :last], 0), 0)
    save(rows, module.keep(x_BTD[:, last:], last), last)  # before a path looks at the rows to prepare
    attend = path.prepare(kept_of(module, rows))
    found = layer_step(module, attend, rows, x_BTD[:, last:], last).to(torch.float64)
    expected = module.to(torch.float64)(x_BTD.to(torch.float64), last=1)
    return float((found - expected).abs().max() / expected.abs().max())


def is_right(error: float, path: Path, dtype: torch.dtype) -> bool:
    """Whether that is rounding."""
    return error <= TOLERANCES[torch.float64 if path.in_float64 else dtype]
