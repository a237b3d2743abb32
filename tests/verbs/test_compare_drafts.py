"""What drafts tokens, and adapters, in comparisons and in demand: by hand and against an estimate."""

from __future__ import annotations

from typing import Any

import pytest

import kvcalc

LLAMA_70B, LLAMA_8B = 2 * 80 * 8 * 128, 2 * 32 * 8 * 128
"""Elements of a token: keys and values of 80 and of 32 layers, 8 heads of 128."""
DRAFTS: dict[str, Any] = {"draft": "llama-3.1-8b", "draft_tokens": 3, "context": 8192, "tp": 4}


def test_formats_are_compared_with_the_drafts_cache() -> None:
    found = kvcalc.compare("llama-3-70b", cache_dtype="bf16,fp8", **DRAFTS)
    bf16, fp8 = (row.cache_bytes for row in found.rows)
    assert (bf16, fp8) == (8192 * 2 * (LLAMA_70B + LLAMA_8B), 8192 * (LLAMA_70B + LLAMA_8B))
    assert [row.saved_bytes for row in found.rows] == [0, bf16 - fp8]
    assert "all-drafted-kept" in {each.code for each in found.notes}


def test_engines_are_compared_with_the_formula_of_both() -> None:
    """Whole blocks of 16 tokens and one null block are all that vLLM reserves beyond it."""
    for row in kvcalc.compare("llama-3-70b", engine="exact,vllm", **DRAFTS).rows:
        assert row.content_bytes == 8192 * 2 * (LLAMA_70B + LLAMA_8B)
        assert 0 <= row.cache_bytes - row.content_bytes <= 16 * 2 * (LLAMA_70B + LLAMA_8B)
        asked = kvcalc.estimate("llama-3-70b", engine=row.engine, **DRAFTS).decode
        assert asked is not None
        assert row.given.tokens_per_second == asked.tokens_per_second


def test_what_drafts_is_the_same_under_every_mechanism() -> None:
    found = kvcalc.compare("llama-3-70b", **DRAFTS)
    plain = kvcalc.compare("llama-3-70b", tp=4, context=8192)
    beside = {row.cache_bytes - other.cache_bytes for row, other in zip(found.rows, plain.rows, strict=True)}
    assert beside == {8192 * 2 * LLAMA_8B}
    assert "draft-unchanged" in {each.code for each in found.notes}


def test_requests_of_a_trace_hold_the_drafts_cache_too() -> None:
    """A draft on one GPU, which each of four ranks of two KV heads holds."""
    asked: Any = {"trace": "chat", "tp": 4, "tokens_per_second": 40}
    plain, drafted = kvcalc.demand("llama-3-70b", **asked), kvcalc.demand("llama-3-70b", **asked, **_of(DRAFTS))
    ratio = (LLAMA_70B + 4 * LLAMA_8B) / LLAMA_70B
    assert drafted.tokens == plain.tokens
    assert drafted.cache.max_bytes == pytest.approx(ratio * plain.cache.max_bytes)
    bound = kvcalc.demand("llama-3-70b", trace="chat", tp=4, **_of(DRAFTS))
    assert {"speed-is-a-bound", "all-drafted-kept"} <= {each.code for each in bound.notes}
    assert bound.pace.tokens_per_second > kvcalc.demand("llama-3-70b", trace="chat", tp=4).pace.tokens_per_second


def _of(options: dict[str, Any]) -> Any:
    return {name: value for name, value in options.items() if name.startswith("draft")}
