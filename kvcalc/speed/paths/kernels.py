"""Kernels of other packages, where they are installed. Not run on CUDA yet: written from their documentation.

Sources: FlashMLA, https://github.com/deepseek-ai/FlashMLA, README.md, Usage; FlashInfer 0.2 and newer,
https://docs.flashinfer.ai/api/attention.html, BatchDecodeWithPagedKVCacheWrapper and BatchMLAPagedAttentionWrapper.
"""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING

import torch

from kvcalc.speed.paths.latents import absorbed, expanded, expansion, joined_query
from kvcalc.speed.paths.path import Facts, Kept, Path, Query
from kvcalc.speed.storage import JOINED, Storage

if TYPE_CHECKING:
    from torch import Tensor

    from kvcalc.speed.paths.path import Attend

PAGE = 64
"""Tokens of a page: FlashMLA takes no other; the contexts that are measured are multiples of it, or it is not taken."""

WORKSPACE = 128 * 2**20
"""Bytes that FlashInfer's documentation gives its wrappers."""

_FLASH_MLA_RANK, _FLASH_MLA_ROPE = 512, 64


def _why_not(package: str, facts: Facts) -> str | None:
    if facts.device != "cuda":
        return "runs on CUDA alone"
    if find_spec(package) is None:
        return f"{package} is not installed"
    if facts.dtype not in {torch.bfloat16, torch.float16}:
        return "takes bf16 and fp16 alone"
    return f"is called with whole pages of {PAGE} tokens" if facts.positions % PAGE else None


def _why_no_flash_mla(facts: Facts) -> str | None:
    widths = (
        getattr(facts.mechanism, "kv_lora_rank", None),
        getattr(facts.mechanism, "qk_rope_head_dim", None),
    )
    if widths != (_FLASH_MLA_RANK, _FLASH_MLA_ROPE):
        return f"is for latents of {_FLASH_MLA_RANK} and rotary keys of {_FLASH_MLA_ROPE}"
    return _why_not("flash_mla", facts)


def _why_no_flashinfer(facts: Facts) -> str | None:
    if getattr(facts.mechanism, "v_head_dim", None) not in {None, getattr(facts.mechanism, "head_dim", None)}:
        return "takes keys and values of one width"
    return _why_not("flashinfer", facts)


def _why_no_flashinfer_mla(facts: Facts) -> str | None:
    if not getattr(facts.mechanism, "qk_rope_head_dim", None):
        return "takes latents with a rotary key"
    return _why_not("flashinfer", facts)


def _paged(rows: Tensor) -> Tensor:
    """(B, S, ...) as pages (B x S / PAGE, PAGE, ...)."""
    return rows.reshape(-1, PAGE, *rows.shape[2:])


def _page_table(sequences: int, pages: int, device: torch.device) -> Tensor:
    return torch.arange(sequences * pages, dtype=torch.int32, device=device).view(sequences, pages)


def _starts(sequences: int, each: int, device: torch.device) -> Tensor:
    return torch.arange(0, (sequences + 1) * each, each, dtype=torch.int32, device=device)


def _flash_mla(kept: Kept) -> Attend:
    kernel = import_module("flash_mla")
    up_k_HNR, up_v_HVR = expansion(kept)
    rows_BSW = kept.rows[JOINED]
    sequences, tokens = rows_BSW.shape[:2]
    lengths = torch.full((sequences,), tokens, dtype=torch.int32, device=rows_BSW.device)
    table = _page_table(sequences, tokens // PAGE, rows_BSW.device)
    schedule, splits = kernel.get_mla_metadata(lengths, kept.mechanism.num_heads, 1)
    pages = _paged(rows_BSW.unsqueeze(2))

    def attend(query: Query) -> Tensor:
        q_BTHW = joined_query(query, up_k_HNR).unsqueeze(1)
        o_BTHR, _ = kernel.flash_mla_with_kvcache(
            q_BTHW, pages, table, lengths, up_v_HVR.shape[-1], schedule, splits, softmax_scale=kept.scale, causal=False
        )
        return expanded(o_BTHR.squeeze(1), up_v_HVR)

    return attend


def _flashinfer(kept: Kept) -> Attend:
    decode = import_module("flashinfer.decode")
    k_BSGK, v_BSGV = kept.rows["k"], kept.values
    sequences, tokens, heads, width = k_BSGK.shape
    on = k_BSGK.device
    wrapper = decode.BatchDecodeWithPagedKVCacheWrapper(torch.empty(WORKSPACE, dtype=torch.uint8, device=on), "NHD")
    wrapper.plan(
        _starts(sequences, tokens // PAGE, on),
        _page_table(sequences, tokens // PAGE, on).flatten(),
        torch.full((sequences,), PAGE, dtype=torch.int32, device=on),
        kept.mechanism.num_heads,
        heads,
        width,
        PAGE,
        q_data_type=k_BSGK.dtype,
        sm_scale=kept.scale,
    )
    pages = (_paged(k_BSGK), _paged(v_BSGV))

    def attend(query: Query) -> Tensor:
        return wrapper.run(query.q.contiguous(), pages)  # type: ignore[no-any-return]  # an untyped package

    return attend


def _flashinfer_mla(kept: Kept) -> Attend:
    mla = import_module("flashinfer.mla")
    up_k_HNR, up_v_HVR = expansion(kept)
    c_kv_BSR, k_rope_BSP = kept.rows["c_kv"], kept.rows["k_rope"]
    sequences, tokens, rank = c_kv_BSR.shape
    on = c_kv_BSR.device
    wrapper = mla.BatchMLAPagedAttentionWrapper(torch.empty(WORKSPACE, dtype=torch.uint8, device=on))
    wrapper.plan(
        _starts(sequences, 1, on),
        _starts(sequences, tokens // PAGE, on),
        _page_table(sequences, tokens // PAGE, on).flatten(),
        torch.full((sequences,), tokens, dtype=torch.int32, device=on),
        kept.mechanism.num_heads,
        rank,
        k_rope_BSP.shape[-1],
        PAGE,
        False,  # causal: one token sees every row
        kept.scale,
        c_kv_BSR.dtype,
        c_kv_BSR.dtype,
    )
    pages = (_paged(c_kv_BSR), _paged(k_rope_BSP))

    def attend(query: Query) -> Tensor:
        o_BHR = wrapper.run(absorbed(query, up_k_HNR).contiguous(), query.rope, *pages)
        return expanded(o_BHR, up_v_HVR)

    return attend


KERNEL_PATHS = (
    Path(
        "FlashMLA",
        ("mla",),
        "flash_mla.flash_mla_with_kvcache",
        Storage.LATENTS_JOINED,
        _flash_mla,
        _why_no_flash_mla,
        in_float64=False,
    ),
    Path(
        "FlashInfer",
        ("mha", "gqa", "mqa"),
        "flashinfer.decode.BatchDecodeWithPagedKVCacheWrapper",
        Storage.TOKENS_FIRST,
        _flashinfer,
        _why_no_flashinfer,
        in_float64=False,
    ),
    Path(
        "FlashInfer MLA",
        ("mla",),
        "flashinfer.mla.BatchMLAPagedAttentionWrapper",
        Storage.LATENTS_APART,
        _flashinfer_mla,
        _why_no_flashinfer_mla,
        in_float64=False,
    ),
)
