"""Compressed attention in vLLM: what it does not serve, and in which formats it keeps what.

The planner's own figures of DeepSeek-V4 are in test_vllm_vectors.py.
"""

from __future__ import annotations

from typing import Any

import pytest

import kvcalc
from kvcalc.mechanisms import Compressed
from kvcalc.model.layers import LayerGroup

V4: dict[str, Any] = {"engine": "vllm", "gpu": "h200", "tp": 4}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"engine": "vllm@0.19"}, "has no class for deepseek-v4-flash .*, which came with 0.20"),
        ({"engine": "vllm@0.28", "pp": 2}, "on several stages since 0.29"),
        ({"gpu": "mi300x"}, "does not follow how vllm keeps compressed attention on mi300x"),
        ({"gpu": "rtxpro6000-bw", "engine": "vllm@0.26"}, "FlashMLA's layout is that of NVIDIA's data-centre cards"),
        ({"cache_dtype": "bf16"}, "vllm keeps DeepSeek-V4's entries in fp8_ds_mla"),
        ({"cache_dtype": "kv=fp8"}, "vllm keeps DeepSeek-V4's entries in fp8_ds_mla"),
        ({"dcp": 2}, "vllm shares out no tokens of windows"),
        ({"block_size": 64}, "64 tokens are no whole groups of 128"),
        (
            {"engine_option": {"disable-hybrid-kv-cache-manager": "true"}},
            "disable-hybrid-kv-cache-manager does not go with compressed attention",
        ),
    ],
)
def test_what_it_does_not_serve_is_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(kvcalc.KvcalcError, match=message):
        kvcalc.estimate("deepseek-v4-flash", **{**V4, **options})


def test_before_0_30_the_format_is_asked_for() -> None:
    """0.21 to 0.29 assert that kv_cache_dtype starts with fp8; 0.30 takes auto for it."""
    asked: dict[str, Any] = {**V4, "context": 8192}
    with pytest.raises(kvcalc.KvcalcError, match=r"before 0\.30.*; --cache-dtype fp8$"):
        kvcalc.capacity("deepseek-v4-flash", **{**asked, "engine": "vllm@0.29"})
    asked["engine"] = "vllm@0.30"
    new = kvcalc.capacity("deepseek-v4-flash", **asked)
    said = kvcalc.capacity("deepseek-v4-flash", cache_dtype="fp8", **asked)
    assert new.blocks == said.blocks


def test_layers_that_draft_a_block_are_named_where_others_are_asked_for() -> None:
    asked: dict[str, Any] = {"engine": "vllm", "gpu": "b200", "tp": 8, "context": 8192, "mtp": 3}
    with pytest.raises(kvcalc.KvcalcError, match="--engine vllm --engine-option speculative-method=dspark beside it"):
        kvcalc.capacity("deepseek-v4.1-flash", **asked)
    assert kvcalc.capacity("deepseek-v4.1-flash", engine_option={"speculative-method": "dspark"}, **asked).blocks


def test_blocks_are_packed_alike_since_0_29() -> None:
    """_get_packed_kv_cache_groups and the specs that the classes give, as the sources of four versions have them."""
    asked: dict[str, Any] = {**V4, "context": 65_536, "cache_memory": 40 * 2**30, "cache_dtype": "fp8"}
    found = [
        kvcalc.capacity("deepseek-v4-flash", **{**asked, "engine": f"vllm@{version}"})
        for version in ("0.29.0", "0.30.0", "0.31.0", "0.33.0")
    ]
    assert len({(each.blocks, each.block_size) for each in found}) == 1


PRINTED = [
    # tp, max_model_len, GiB, tokens and concurrency as servers printed them
    ("0.22.0", 8, 256_000, 37.93, 2_497_693, 9.76),  # stored file 60215495369
    ("0.23.0", 2, 262_144, 32.08, 2_175_276, 8.30),  # stored file 63396953296
]


@pytest.mark.parametrize(("version", "tp", "context", "gib", "tokens", "concurrency"), PRINTED)
def test_before_0_29_tokens_are_those_that_servers_printed(
    version: str, tp: int, context: int, gib: float, tokens: int, concurrency: float
) -> None:
    """Both with max_num_batched_tokens 8192; the memory is rounded to 0.01 GiB, which is five blocks or so."""
    asked: dict[str, Any] = {"tp": tp, "context": context, "engine_option": {"max-num-batched-tokens": "8192"}}
    low, high = (
        kvcalc.capacity(
            "deepseek-v4-flash",
            engine=f"vllm@{version}",
            gpu="h200",
            cache_dtype="fp8",
            cache_memory=int((gib + off) * 2**30),
            **asked,
        )
        for off in (-0.005, 0.005)
    )
    assert (low.tokens or 0) <= tokens <= (high.tokens or 0)
    assert round(low.concurrency or 0, 2) <= concurrency <= round(high.concurrency or 0, 2)


def test_blocks_of_0_28_are_as_wide_as_packed_ones() -> None:
    asked: dict[str, Any] = {**V4, "context": 65_536, "cache_memory": 40 * 2**30, "cache_dtype": "fp8"}
    old, new = (kvcalc.capacity("deepseek-v4-pro", **{**asked, "engine": each}) for each in ("vllm@0.28", "vllm@0.29"))
    assert old.blocks == new.blocks


def test_it_keeps_entries_in_one_layout_whatever_is_asked() -> None:
    plain = kvcalc.estimate("deepseek-v4-flash", **V4).cache.bytes
    for asked in ("fp8", "fp8_ds_mla"):
        assert kvcalc.estimate("deepseek-v4-flash", cache_dtype=asked, **V4).cache.bytes == plain
    formula = kvcalc.estimate("deepseek-v4-flash", cache_dtype="fp8_ds_mla", context=1_000_000).cache
    assert formula.bytes_per_token_at_context == -(-(21 * (584 + 132) * 32 + 20 * 584) // 128)


def test_a_model_with_entries_of_another_width_is_refused() -> None:

    layer = Compressed(num_heads=8, head_dim=64, sliding_window=128, compress_ratio=4, overlap=True)
    model = kvcalc.Model(name="narrow", dtype="bf16", layers=(LayerGroup(count=1, attention=layer),))
    with pytest.raises(kvcalc.KvcalcError, match="vllm has compressed attention with entries of 512"):
        kvcalc.estimate(model, engine="vllm", gpu="h200")


def test_weights_of_v4_are_about_what_a_server_printed() -> None:
    """74.08 GiB on each of two H200, vLLM 0.23.0 (stored file 63396953296): two tables of 2**20 x 64 in fp32.

    Marlin's experts are the checkpoint's (_get_priority_backends of fused_moe/oracle/mxfp4.py); Triton's would be 4 GiB
    more.
    """
    found, plain = (kvcalc.estimate("deepseek-v4-flash", tp=2, gpu="h200", engine=each) for each in ("vllm", "exact"))
    weights = found.memory.per_rank.weights_bytes or 0
    beside = weights - (plain.memory.per_rank.weights_bytes or 0)
    chosen = 8192 * 512 * 4  # by the indexers, for each token of a step
    assert beside == pytest.approx(2 * 2**20 * 64 * 4 + chosen, rel=0.01)  # and ends of the allocator's blocks
    assert weights == pytest.approx(74.08 * 2**30, rel=0.005)


V41: dict[str, Any] = {"engine": "vllm@0.33", "gpu": "h200", "tp": 8}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"engine": "vllm@0.29"}, "lays out DeepSeek-V4.1 since 0.31"),
        ({"gpu": "rtxpro6000-bw"}, "its records are those of Hopper and of data-centre Blackwell"),
        ({"cache_dtype": "bf16"}, "in fp8_ds_mla, and takes fp8 for fp8_ds_mla"),
        ({"gpu": "b200", "cache_dtype": "bf16"}, "in nvfp4_ds_mla or fp8_ds_mla"),
        ({"block_size": 128}, "blocks of 64 tokens for DeepSeek-V4.1"),
        ({"tp": 16}, "leaves fewer than 8 heads a rank"),
        ({"tp": 2, "pp": 4}, "layer 10, the first of pipeline stage 1, reads the entries of a layer before it"),
    ],
)
def test_what_it_does_not_serve_of_v4_1_is_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(kvcalc.KvcalcError, match=message):
        kvcalc.estimate("deepseek-v4.1-flash", **{**V41, **options})


BLACKWELL = [
    # max_model_len, tokens of a step, drafted: blocks, tokens, concurrency, blocks of a request, as vLLM 0.33.0 plans
    # in 20 GiB of a B200 (tests/live, with pretended_card.CAPABILITY (10, 0))
    (65_536, 16_384, 0, 157_643, 1_825_961, 27.86, 5_658 + 1),
    (1_048_576, 16_384, 0, 157_643, 12_393_212, 11.82, 13_338 + 1),
    (65_536, 16_384, 8, 157_643, 1_825_639, 27.86, 5_659 + 1),
    (65_536, 4_096, 0, 157_643, 5_682_778, 86.71, 1_818 + 1),
]


@pytest.mark.parametrize(("context", "step", "drafted", "blocks", "tokens", "concurrency", "taken"), BLACKWELL)
def test_on_blackwell_v4_1_is_as_the_planner_says(
    context: int, step: int, drafted: int, blocks: int, tokens: int, concurrency: float, taken: int
) -> None:
    options: dict[str, Any] = {"max-num-batched-tokens": step, "num-speculative-tokens": drafted}
    asked: dict[str, Any] = {**V41, "gpu": "b200", "context": context, "engine_option": options}
    found = kvcalc.capacity("deepseek-v4.1-flash", cache_memory=20 * 2**30, **asked)
    assert (found.blocks, found.block_size, found.tokens, found.concurrency) == (blocks, 128, tokens, concurrency)
    assert kvcalc.estimate("deepseek-v4.1-flash", **asked).cache.bytes_per_rank == taken * 136_224


def test_before_0_33_its_blocks_hold_no_whole_records() -> None:
    asked: dict[str, Any] = {**V41, "gpu": "b200", "context": 65_536, "cache_memory": 20 * 2**30}
    pages = 3 * 18_432 + 36_864 + 3 * 8_704 + 16_896  # entries of 288 bytes and keys of 132, in pages of 512
    for version in ("0.31", "0.32"):
        found = kvcalc.capacity("deepseek-v4.1-flash", **{**asked, "engine": f"vllm@{version}"})
        assert found.blocks == 20 * 2**30 // pages


def test_tables_of_n_grams_are_in_host_memory() -> None:
    """EngramConfig.cpu_offload of vllm/config/engram.py is on by default: 264 bytes a row, 189 GiB."""
    tables = (384_006_168 + 384_016_682) * 264
    found = kvcalc.estimate("deepseek-v4.1-flash", **V41)
    (told,) = (note for note in found.notes if note.code == "weights-on-host")
    assert dict(told.figures)["bytes"] == tables
    exact = kvcalc.estimate("deepseek-v4.1-flash", gpu="h200", tp=8)
    more = (exact.memory.per_rank.weights_bytes or 0) - (found.memory.per_rank.weights_bytes or 0)
    assert 0 < tables // 8 - more < 12 * 2**30  # experts padded to 384 wide and tables of rotations are beside it
    assert found.memory.weights_bytes == 8 * (found.memory.per_rank.weights_bytes or 0)


def test_a_plan_needs_no_room_for_them() -> None:
    """Two B200 have 354 GB for 312 GB of weights; with the tables it would be 515 GB."""
    found = kvcalc.plan("deepseek-v4.1-flash", engine="vllm@0.33", gpu="b200", context=8192, max_gpus=2)
    assert {row.count for row in found.deployments} == {2}


def test_layers_that_draft_a_block_weigh_what_is_published() -> None:
    """14.2 billion parameters of DeepSeek-V4.1-Flash's (https://huggingface.co/yushengsu/deepseek-v4.1-flash-dspark-8000step)."""
    asked: dict[str, Any] = {"engine": "vllm", "gpu": "b200", "tp": 8, "context": 8192}
    blocks: dict[str, Any] = {"num-speculative-tokens": 5, "speculative-method": "dspark"}
    drafting = kvcalc.make_scenario("deepseek-v4.1-flash", engine_option=blocks, **asked).drafting
    assert drafting is not None
    assert round((drafting.model.parameters or 0) / 10**9, 1) == 14.2
    assert drafting.model.num_layers == 3


@pytest.mark.parametrize(
    ("model", "options", "version", "message"),
    [
        ("llama-3.1-8b", {}, "0.33", "llama-3.1-8b is neither; --draft MODEL"),
        ("deepseek-v4-flash", {}, "0.25", "dspark: followed since vllm 0.26"),
        ("deepseek-v4-flash", {"max-num-batched-tokens": 4096}, "0.26", "leave no room.*max-num-seqs=1023"),
    ],
)
def test_what_cannot_draft_blocks_is_refused(model: str, options: dict[str, Any], version: str, message: str) -> None:
    own = {"num-speculative-tokens": 5, "speculative-method": "dspark", **options}
    with pytest.raises(kvcalc.KvcalcError, match=message):
        kvcalc.estimate(model, **{**V4, "engine": f"vllm@{version}"}, cache_dtype="fp8", engine_option=own)


def test_a_line_that_drafts_blocks_is_read_and_written() -> None:
    line = "vllm serve deepseek-ai/DeepSeek-V4-Flash -tp 4 --max-model-len 65536 --speculative-config '{}'"
    config = '{"method": "dspark", "num_speculative_tokens": 5}'
    found = kvcalc.capacity_from_command(line.format(config), gpu="h200", cache_memory=40 * 2**30)
    asked: dict[str, Any] = {**V4, "context": 65_536, "cache_memory": 40 * 2**30, "mtp": 5}
    assert (
        found.blocks
        == kvcalc.capacity("deepseek-v4-flash", engine_option={"speculative-method": "dspark"}, **asked).blocks
    )
