"""vLLM against figures that its own planner computed (0.33.0, kv_cache_planning.py run on a CPU)."""

from __future__ import annotations

from typing import NamedTuple

import pytest

import kvcalc
from kvcalc.deployment import Deployment
from kvcalc.engines import Load, Pool
from kvcalc.memory import Ranks

GIB = 2**30


class Planned(NamedTuple):
    """What the planner said of 40 GiB on each rank, with 16,384 tokens in flight.

    Attributes:
        block_bytes: of a block of the pool.
        blocks: of a request.
    """

    model: str
    context: int
    block_bytes: int
    blocks: int
    tokens: int
    concurrency: float
    deployment: Deployment = Deployment()
    cache_dtype: str | None = None


EVERY = [
    Planned("falcon-7b", 2048, 131_072, 128, 5_242_880, 2560.0),
    Planned("llama-3-8b", 1000, 2_097_152, 63, 325_079, 325.08),
    Planned("llama-3-8b", 8192, 524_288, 512, 1_310_720, 160.0, Deployment(4)),
    Planned("llama-3-8b", 8192, 262_144, 512, 2_621_440, 320.0, Deployment(16)),
    Planned("llama-3-8b", 131_072, 262_144, 4096, 5_242_880, 40.0, Deployment(16, dcp=2)),
    Planned("llama-3.1-70b", 131_072, 655_360, 8192, 1_048_576, 8.0, Deployment(8)),
    Planned("llama-3.1-70b", 131_072, 655_360, 8192, 1_048_576, 8.0, Deployment(4, 2)),
    Planned("llama-3-8b", 131_072, 1_048_576, 8192, 655_360, 5.0, cache_dtype="fp8"),
    Planned("llama-3-8b", 131_072, 1_081_344, 8192, 635_488, 4.85, cache_dtype="fp8_per_token_head"),
    Planned("llama-3-8b", 131_072, 557_056, 8192, 1_233_616, 9.41, cache_dtype="int4_per_token_head"),
    Planned("gpt-oss-20b", 131_072, 393_216, 9225, 1_551_920, 11.84),
    Planned("gpt-oss-120b", 131_072, 73_728, 9225, 8_276_958, 63.15, Deployment(8)),
]
"""Llama-3-8B stands for Llama-3.1-8B, whose layers keep the same."""


@pytest.mark.parametrize("planned", EVERY, ids=[f"{each.model} {each.deployment}" for each in EVERY])
def test_the_pool_is_as_the_planner_said(planned: Planned) -> None:
    asked = kvcalc.make_scenario(
        planned.model,
        engine="vllm@0.33.0",
        engine_option={"max-num-batched-tokens": "8192"},
        context=planned.context,
        cache_dtype=planned.cache_dtype,
    )
    settled = Ranks(asked).settled(planned.deployment)
    pool = settled.pool([40 * GIB] * len(settled.stages), Load(1, planned.context))
    assert pool == Pool(40 * GIB // planned.block_bytes, 16, planned.tokens, planned.concurrency)
    held = settled.held_bytes(settled.stages[0], Load(1, planned.context))
    assert held == (planned.blocks + 1) * planned.block_bytes
