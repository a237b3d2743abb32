"""SGLang's weights beside what servers printed: matrices of 1 to 10 MiB share segments of PyTorch's allocator."""

from __future__ import annotations

from typing import Any

import pytest

import kvcalc
from kvcalc.cuda_allocator import predict
from kvcalc.memory import Ranks
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


@pytest.mark.parametrize(
    ("model", "options", "bytes_of_element"),
    [
        ("deepseek-v3", {"gpu": "h200-sxm"}, 2),  # fp8 of blocks is dequantised
        ("deepseek-v3", {"gpu": "mi300x"}, 1),  # or given one scale, in fp8
        ("mistral-small-4-119b-2603", {"gpu": "h200-sxm"}, 1),  # as its checkpoint has them
        ("minicpm3-4b", {"gpu": "h200-sxm", "tp": 1}, 0),  # kv_b_proj itself is let go
    ],
)
def test_up_projections_of_latents_are_there_twice(model: str, options: dict[str, Any], bytes_of_element: int) -> None:
    """w_kc and w_vc of sglang/srt/models/deepseek_common/deepseek_weight_loader.py, post_load_weights."""
    asked: dict[str, Any] = {"tp": 8, "context": 4096, **options}
    layout = Ranks(kvcalc.make_scenario(model, engine="sglang", **asked)).settled(kvcalc.Deployment(tp=asked["tp"]))
    (stage,) = layout.stages
    copies = [row.bytes for row in layout.weights_excess(stage) if row.path == "absorbed latent up-projections"]
    elements = {"deepseek-v3": 61 * 16 * 512 * 256, "mistral-small-4-119b-2603": 36 * 4 * 256 * 192}
    assert sum(copies) == bytes_of_element * elements.get(model, 0)


def test_a_stage_in_the_middle_has_no_table() -> None:
    """Of Qwen2.5-0.5B, whose 14 matrices of up to 9.5 MiB share the segments, a table would take one of its own."""
    layout = Ranks(kvcalc.make_scenario("qwen2.5-0.5b", engine="sglang", gpu="h200-sxm", pp=3)).settled(
        kvcalc.Deployment(pp=3)
    )
    middle = layout.stages[1]
    inner, wide = 2 * (14 * 64 + 2 * 2 * 64) * 896, 2 * 896 * 4864
    usage = predict([inner, 2 * 896 * 896, 2 * wide, wide] * len(middle.layers))
    rests = [row.bytes for row in layout.weights_excess(middle) if row.path.startswith("rests")]
    assert rests == [usage.reserved - usage.requested]
