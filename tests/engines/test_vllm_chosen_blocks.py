"""Layers whose indexer chooses whole blocks of tokens (MiniMax-M3), as vLLM 0.33.0's own planner laid them out.

tests/live/vllm_planner.py, plan, asked on the CPU with the text model's config.json, tp 4, max_model_len 32768 and
40 GiB for the cache: one group of 117 layers, the 57 indexers' keys in bf16 whatever the cache is in.
"""

from __future__ import annotations

from typing import Any

import pytest

import kvcalc

M3: dict[str, Any] = {"engine": "vllm@0.33.0", "gpu": "h100-sxm", "tp": 4, "context": 32_768}
PLANNED = [
    ("bf16", 7405, 947_840, 5_799_936),
    ("fp8", 11_202, 1_433_856, 3_833_856),
]


@pytest.mark.parametrize(("cache_dtype", "blocks", "tokens", "block"), PLANNED)
def test_blocks_are_those_of_vllms_planner(cache_dtype: str, blocks: int, tokens: int, block: int) -> None:
    pool = kvcalc.capacity("minimax-m3", cache_memory=40 * 2**30, cache_dtype=cache_dtype, **M3)
    assert (pool.blocks, pool.block_size, pool.tokens) == (blocks, 128, tokens)
    one = kvcalc.estimate("minimax-m3", cache_dtype=cache_dtype, **M3)
    assert one.cache.bytes_per_rank == block * (1 + 32_768 // 128)  # with the null block


@pytest.mark.parametrize(
    ("asked", "says"),
    [
        ({"engine": "vllm@0.23"}, "which came with 0.24"),
        ({"engine": "vllm@0.24"}, "since 0.25"),
        ({"block_size": 64}, "blocks of 128 tokens"),
    ],
)
def test_what_is_not_kept_so_is_refused(asked: dict[str, Any], says: str) -> None:
    with pytest.raises(kvcalc.KvcalcError, match=says):
        kvcalc.estimate("minimax-m3", **{**M3, **asked})
