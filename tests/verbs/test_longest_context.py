"""The longest context is one that holds where the engine is started for it, whatever context was asked for."""

from __future__ import annotations

from typing import Any

import pytest

import kvcalc


@pytest.mark.parametrize(
    ("model", "gpu", "engine", "options"),
    [
        ("gemma-3-27b", "h100", "vllm", {}),  # logits and encoders are profiled for the context
        ("llama-3-8b", "h100", "vllm", {}),
        ("qwen3-8b", "l40s", "vllm", {"batch": 3}),
        ("deepseek-v2-lite", "h100", "vllm", {}),
        ("qwen3-next-80b-a3b", "h100", "vllm", {"tp": 4, "batch": 7}),
        ("llama-3-8b", "h100", "sglang", {}),
        ("llama-3-8b", "rtx4090", "llama-cpp", {}),
        ("llama-3-8b", "h100", "transformers", {}),
    ],
)
def test_it_holds_and_one_token_more_does_not(model: str, gpu: str, engine: str, options: dict[str, int]) -> None:
    given: dict[str, Any] = {"gpu": gpu, "engine": engine, "tp": 1, **options}

    def headroom(context: int) -> int:
        return kvcalc.estimate(model, context=context, **given).memory.per_rank.headroom_bytes or 0

    found = kvcalc.capacity(model, context=1, **given).max_context
    assert found is not None
    assert headroom(found) >= 0 > headroom(found + 1)
    assert kvcalc.capacity(model, context=50_000, **given).max_context == found
    (row,) = kvcalc.plan(
        model, gpu=gpu, engine=engine, tp=given["tp"], pp=1, context=2, batch=given.get("batch", 1), limit=1
    ).deployments
    assert row.max_context == found
