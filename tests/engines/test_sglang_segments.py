"""SGLang's weights beside what servers printed: matrices of 1 to 10 MiB share segments of PyTorch's allocator."""

from __future__ import annotations

import pytest

import kvcalc
from kvcalc.units import GIB

PRINTED = (
    ("qwen2.5-0.5b", 1, 0.98, 0.01),
    ("minicpm5-1b", 1, 2.16, 0.005),
    ("qwen3-8b", 1, 15.28, 0.005),
    ("llama-3.1-8b", 1, 15.02, 0.005),
    ("qwen3-14b", 4, 7.08, 0.02),
    ("qwen3-32b", 4, 15.50, 0.005),
    ("qwq-32b", 4, 15.54, 0.05),
)
"""Model, ranks, GiB of a rank in `Load weight end ... mem usage` (tests/data/sglang/logs.json), and what is left."""


@pytest.mark.parametrize(("model", "tp", "printed", "within"), PRINTED)
def test_weights_take_the_memory_that_is_printed(model: str, tp: int, printed: float, within: float) -> None:
    found = kvcalc.estimate(model, engine="sglang", gpu="h100-sxm", tp=tp, context=4096).memory
    assert found is not None
    assert found.per_rank.weights_bytes is not None
    assert found.per_rank.weights_bytes / GIB == pytest.approx(printed, abs=within + 0.005)
