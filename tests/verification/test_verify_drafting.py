"""verify with what drafts tokens: its cache is allocated too."""

from __future__ import annotations

import pytest

import kvcalc
from kvcalc.errors import KvcalcError


def measured(result: kvcalc.Verification, name: str) -> int | float | None:
    [check] = [check for check in result.checks if check.name == name]
    return check.measured


def test_layers_of_the_models_own_that_draft_are_allocated_too() -> None:
    result = kvcalc.verify("deepseek-v3", mtp=1, context=256, batch=2, device="cpu")
    assert result.verified
    assert measured(result, "bytes of draft") == 2 * 256 * (512 + 64) * 2
    assert measured(result, "cache bytes") == 62 * 2 * 256 * (512 + 64) * 2
    assert measured(result, "cache bytes") == kvcalc.estimate("deepseek-v3", mtp=1, context=256, batch=2).cache.bytes


def test_a_draft_on_two_ranks_is_allocated_and_counted_twice() -> None:
    asked = {"draft": "llama-3.2-1b", "context": 128, "tp": 2}
    result = kvcalc.verify("llama-3-8b", device="cpu", **asked)  # type: ignore[arg-type]  # of several kinds
    one = 2 * 16 * 128 * 8 * 64 * 2
    assert result.verified
    assert measured(result, "bytes of draft") == one
    assert measured(result, "cache bytes") == 2 * 32 * 128 * 8 * 128 * 2 + 2 * one


def test_the_most_sequences_that_allocate_are_of_a_model_alone() -> None:
    with pytest.raises(KvcalcError, match="leave --draft and --mtp out"):
        kvcalc.verify("llama-3-8b", draft="llama-3.2-1b", context=16, device="cpu", boundary=True)
