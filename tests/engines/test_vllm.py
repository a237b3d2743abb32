"""vLLM against figures that its own planner computed (0.33.0, kv_cache_planning.py run on a CPU), and printed ones."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from each import for_each

import kvcalc
from kvcalc.deployment import Deployment
from kvcalc.engines import Load, Pool, Settled
from kvcalc.errors import KvcalcError
from kvcalc.memory import Ranks

GIB = 2**30
LOGS = json.loads((Path(__file__).parents[1] / "data/vllm/logs.json").read_text(encoding="utf-8"))["logs"]


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
    block_size: int | None = None
    prefixes: bool = True


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
    Planned("deepseek-v2-lite", 32_768, 1_990_656, 512, 1_380_800, 42.14, block_size=64),
    Planned("gemma-3n-e4b", 32_768, 131_072, 6276, 1_710_869, 52.21),
    Planned("qwen3-next-80b-a3b", 262_144, 13_369_344, 485, 1_736_095, 6.62, block_size=544, prefixes=False),
    Planned("qwen3-next-80b-a3b", 262_144, 13_369_344, 488, 1_725_423, 6.58, block_size=544),
    Planned("lfm2-1.2b", 32_768, 196_608, 2050, 3_491_838, 106.56, prefixes=False),
]
"""Llama-3-8B stands for Llama-3.1-8B, whose layers keep the same."""


@pytest.mark.parametrize("planned", EVERY, ids=[f"{each.model} {each.deployment}" for each in EVERY])
def test_the_pool_is_as_the_planner_said(planned: Planned) -> None:
    """On a card whose attention backends take any block of 16, and export no states from within a prefill."""
    asked = kvcalc.make_scenario(
        planned.model,
        engine="vllm@0.33.0",
        engine_option={"max-num-batched-tokens": "8192", "enable-prefix-caching": str(planned.prefixes).lower()},
        gpu="l40s",
        context=planned.context,
        cache_dtype=planned.cache_dtype,
        block_size=None if planned.block_size == 544 else planned.block_size,
    )
    settled = Ranks(asked).settled(planned.deployment)
    pool = settled.pool([40 * GIB] * len(settled.stages), Load(1, planned.context))
    size = planned.block_size or 16
    assert pool == Pool(40 * GIB // planned.block_bytes, size, planned.tokens, planned.concurrency)
    held = settled.held_bytes(settled.stages[0], Load(1, planned.context))
    assert held == (planned.blocks + 1) * planned.block_bytes


ONE = Deployment()


def settled_of(model: str, version: str = "0.33.0", deployment: Deployment = ONE, **options: Any) -> Settled:
    return Ranks(kvcalc.make_scenario(model, engine=f"vllm@{version}", **options)).settled(deployment)


def test_windows_with_8192_tokens_in_flight() -> None:
    """Gemma-3-27B with 40 GiB, and gpt-oss-120b with 5.38 GiB, by the planner of 0.33."""
    for model, memory, tokens, concurrency in [
        ("gemma-3-27b", 40 * GIB, 368_540, 2.81),
        ("gpt-oss-120b", 538 * GIB // 100, 147_318, 1.12),
    ]:
        settled = settled_of(model, engine_option={"max-num-batched-tokens": "4096"}, context=131_072)
        pool = settled.pool([memory], Load(1, 131_072))
        assert pool is not None
        assert (pool.tokens, pool.concurrency) == (tokens, concurrency)


def test_windows_kept_whole_without_the_hybrid_manager() -> None:
    """Gemma-3-27B at 131,072 tokens: 66.57 GB a request, by the planner of 0.33."""
    settled = settled_of("gemma-3-27b", engine_option={"disable-hybrid-kv-cache-manager": "true"}, context=131_072)
    assert settled.pool([80 * GIB], Load(1, 131_072)) is not None
    (stage,) = settled.stages
    null_block = settled.held_bytes(stage, Load(1, 16)) // 2
    request = settled.held_bytes(stage, Load(1, 131_072)) - null_block
    assert request == 62 * 131_072 * 16 * 256 * 2
    assert round(request / 10**9, 2) == 66.57


NOT_HERE = {"poolside/Laguna-S-2.1-INT4"}
"""Models of logs that the catalogue does not have."""

PRINTED = [
    log
    for log in LOGS
    if {"tokens", "cache memory"} <= log["printed"].keys() and "version" in log and "pp" not in log["options"]
    if log["model"] not in NOT_HERE
]
"""Where a pipeline stage prints its memory, another one may be the smallest."""

NOT_EXPLAINED = {
    "v04": "0.25 % more tokens than the printed pool of one rank holds; ranks differ",
    "h35": "0.9 % fewer tokens than the printed pool of one rank holds; ranks on two machines differ",
    "k08": "0.02 % fewer tokens than the printed pool of one rank holds; ranks differ",
    "k34": "1.2 % fewer tokens than a build between 0.21 and 0.22 prints",
    "m02": "3 % more tokens: it drafts by EAGLE-3, whose layer is not counted",
    "m15": "twice as many tokens: it drafts by DFlash, whose layers are not counted",
    "m54": "0.2 % fewer tokens than a build between 0.28 and 0.29 prints for a model that drafts a token",
    "n03": "a third as many tokens: NVIDIA's build of 0.13 in its image 26.01 lays states and attention out otherwise",
    "n16": "0.06 % fewer tokens than the printed pool of one rank holds; ranks differ",
    "t06": "0.20.1rc1, which is counted as 0.20.0, and printed as 0.20.1 does",
}


@for_each("log", PRINTED)
def test_printed_tokens_follow_from_the_printed_pool(log: dict[str, Any]) -> None:
    """The pool is printed to 0.01 GiB: the tokens lie between those of its bounds."""
    printed, options = log["printed"], {key: str(value).lower() for key, value in log.get("engine_options", {}).items()}
    asked = kvcalc.make_scenario(
        log["model"],
        engine=f"vllm@{log['version']}",
        engine_option=options,
        gpu=log.get("gpu", "h100"),
        **log["options"],
    )
    settled = Ranks(asked).settled(asked.deployment or Deployment())
    low, high = (
        settled.pool([int((printed["cache memory"] + error) * GIB)], Load(1, asked.workload.context))
        for error in (-0.005, 0.005)
    )
    assert low is not None
    assert high is not None
    if log["id"] in NOT_EXPLAINED:
        assert not low.tokens <= printed["tokens"] <= high.tokens
        return
    assert low.tokens <= printed["tokens"] <= high.tokens
    if "concurrency" in printed:
        assert low.concurrency <= printed["concurrency"] <= high.concurrency


REFUSED = [
    ("gemma-3-27b", "0.33.0", Deployment(32, dcp=2), {}, "--dcp: vllm shares out no tokens of windows"),
    ("deepseek-v3.2", "0.28.0", Deployment(8, dcp=2), {}, "its backend there does so since 0.29"),
    ("deepseek-v3.2", "0.33.0", Deployment(8, dcp=2), {}, "only where latents are kept in fp8"),
    ("deepseek-v3.2", "0.33.0", Deployment(8, dcp=2), {"gpu": "mi300x"}, "which other kernels keep"),
    ("qwen3-next-80b-a3b", "0.33.0", Deployment(4, dcp=2), {}, "--dcp: vllm does not serve models with states"),
    ("llama-3-8b", "0.9.2", Deployment(16, dcp=2), {}, "--dcp: vllm before 0.10.2"),
    ("minimax-text-01", "0.33.0", Deployment(8), {}, "up to 0.23"),
    ("llama-3.2-11b-vision", "0.33.0", Deployment(), {}, "Llama-3.2-Vision"),
    ("deepseek-v3", "0.6.6", Deployment(8), {}, "before 0.7.1 expands latents"),
    ("mixtral-8x7b-v0.1", "0.7.3", Deployment(8, ep=8), {}, "--ep: vllm before 0.8 shares experts over tp alone"),
    ("deepseek-v3.2", "0.10.2", Deployment(8), {}, "deepseek-v3.2 .*, which came with 0.11 "),
    ("qwen3-next-80b-a3b", "0.9.2", Deployment(), {}, "qwen3-next-80b-a3b .*, which came with 0.10.2 "),
    (
        "llama-3-8b",
        "0.33.0",
        Deployment(),
        {"cache_dtype": "q8_0"},
        "vllm 0.33.0 keeps no cache in q8_0",
    ),
    ("llama-3-8b", "0.19.0", Deployment(), {"cache_dtype": "nvfp4"}, "keeps no cache in nvfp4"),
    ("llama-3-8b", "0.31.0", Deployment(), {"cache_dtype": "nvfp4"}, "keeps no cache in nvfp4 on h100-sxm"),
    ("deepseek-v3", "0.33.0", Deployment(8), {"cache_dtype": "nvfp4"}, "it has bf16, in which it computes, and fp8 "),
    ("llama-3-8b", "0.33.0", Deployment(), {"cache_dtype": "fp8", "gpu": "t4"}, "no cache in fp8 on t4"),
    (
        "llama-3-8b",
        "0.33.0",
        Deployment(),
        {"gpu": "tpu-v5e"},
        "vllm on cards of NVIDIA and AMD",
    ),
    ("llama-3-8b", "0.33.0", Deployment(), {"cache_dtype": "k=fp8,v=bf16"}, "all of a cache in one format"),
    ("deepseek-v3", "0.33.0", Deployment(8), {"cache_dtype": "fp8_ds_mla"}, "only where the layer has an indexer"),
    (
        "granite-4.0-h-small",
        "0.19.0",
        Deployment(),
        {"engine_option": {"enable-prefix-caching": "true"}},
        "keep a state for every block",
    ),
    ("llama-3-8b", "0.33.0", Deployment(), {"engine_option": {"block-size": "24"}}, "24 is no multiple of 16"),
    ("qwen3-235b-a22b", "0.33.0", Deployment(8, ep=2), {}, "whole experts to all 8 ranks of tp or to none"),
    (
        "qwen3-235b-a22b",
        "0.33.0",
        Deployment(1, dp=5, dp_attention=True),
        {},
        "5 ranks of tp x dp do not divide an expert's 1,536 columns",
    ),
    (
        "llama-3-8b",
        "0.33.0",
        Deployment(),
        {"engine_option": {"max-num-batched-tokens": "16", "max-num-seqs": "64"}},
        "is less than max-num-seqs 64",
    ),
    (
        "qwen3-next-80b-a3b",
        "0.33.0",
        Deployment(),
        {"engine_option": {"disable-hybrid-kv-cache-manager": "true"}},
        "does not go with states",
    ),
]


@pytest.mark.parametrize(("model", "version", "deployment", "options", "words"), REFUSED)
def test_what_vllm_does_not_serve_is_refused(
    model: str, version: str, deployment: Deployment, options: dict[str, Any], words: str
) -> None:
    with pytest.raises(KvcalcError, match=words):
        settled_of(model, version, deployment, **options)


@pytest.mark.parametrize(
    ("version", "gpu", "cache_dtype", "row"), [("0.29.0", "h200", "fp8", 656), ("0.28.0", "b200", None, 1152)]
)
def test_ranks_take_an_indexers_keys_in_turn(version: str, gpu: str, cache_dtype: str | None, row: int) -> None:
    """Blocks are as long on each rank, and hold twice the tokens; what a rank keeps is half the latents and keys."""
    load, alone = Load(3, 65_536), settled_of("deepseek-v3.2", version, Deployment(8), gpu=gpu, cache_dtype=cache_dtype)
    shared = settled_of("deepseek-v3.2", version, Deployment(8, dcp=2), gpu=gpu, cache_dtype=cache_dtype)
    stage = shared.stages[0]
    assert shared.content_bytes(stage, load) == 3 * 32_768 * 61 * (row + 132)
    assert shared.content_bytes(stage, load) * 2 == alone.content_bytes(alone.stages[0], load)
    assert shared.rate(stage, load).bytes_per_token * 2 == 61 * (row + 132)
    pools = [each.pool([40 * GIB], load) for each in (alone, shared)]
    assert pools[0] is not None
    assert pools[1] is not None
    assert pools[1].tokens == 2 * pools[0].tokens


def test_sparse_latents_follow_version_and_card() -> None:
    """Bytes of a token: 656 or 576 of a latent of 512 + 64, 1,152 in bf16, and 132 of the indexer's key."""

    def of_a_token(version: str, gpu: str, cache_dtype: str | None) -> int:
        settled = settled_of("deepseek-v3.2", version, Deployment(8), gpu=gpu, cache_dtype=cache_dtype)
        return settled.rate(settled.stages[0], Load(1, 0)).bytes_per_token

    layers = 61
    assert of_a_token("0.33.0", "h100", None) == layers * (1152 + 132)
    assert of_a_token("0.33.0", "h100", "fp8") == layers * (656 + 132)
    assert of_a_token("0.33.0", "b200", "fp8") == layers * (576 + 132)
    assert of_a_token("0.17.0", "b200", "fp8") == layers * (656 + 132)
    assert of_a_token("0.11.0", "h200", None) == layers * (656 + 132)
    assert of_a_token("0.11.0", "h200", "bf16") == layers * (1152 + 132)


def test_blocks_follow_the_backend() -> None:
    def block(model: str, version: str, gpu: str, cache_dtype: str | None = None) -> int:
        settled = settled_of(model, version, gpu=gpu, cache_dtype=cache_dtype)
        pool = settled.pool([GIB], Load(1, 4096))
        assert pool is not None
        return pool.block_size

    assert block("deepseek-v2-lite", "0.33.0", "h100") == 16  # FlashAttention's
    assert block("deepseek-v2-lite", "0.33.0", "h100", "fp8") == 64  # FlashMLA
    assert block("deepseek-v2-lite", "0.33.0", "b200") == 32  # FlashInfer's
    assert block("deepseek-v2-lite", "0.33.0", "a100-80-sxm") == 16  # Triton's
    assert block("deepseek-v2-lite", "0.11.0", "h100") == 64
    assert block("deepseek-v2-lite", "0.11.0", "b200") == 128
    assert block("deepseek-v3.2", "0.33.0", "b200") == 64
    assert block("llama-3-8b", "0.33.0", "b200") == 16


def test_drafting_layers_are_kept_and_states_are_longer() -> None:
    """Qwen3.6-27B with one drafted token: blocks of 800, where 784 hold a state without it."""
    options = {"max-num-batched-tokens": "8192", "num-speculative-tokens": "1"}
    settled = settled_of("qwen3.6-27b", gpu="mi300x", context=262_144, engine_option=options)
    pool = settled.pool([20 * GIB], Load(1, 262_144))
    assert pool is not None
    assert pool.block_size == 800
    (stage,) = settled.stages
    drafting = [term for term in settled.excess(stage, Load(1, 262_144)) if term.path.endswith("layers that draft")]
    assert [term.bytes for term in drafting] == [328 * 800 * 4096]


def test_a_prefix_is_shared_in_whole_blocks_where_prefix_caching_is_on() -> None:
    """Of 100 tokens in common 6 blocks of 16; a request of 160 tokens has 10."""
    block = 16 * 32 * 8 * 256 * 2
    for caching, blocks in (("true", 6 + 3 * 4), ("false", 3 * 10)):
        settled = settled_of("llama-3-8b", engine_option={"enable-prefix-caching": caching})
        (stage,) = settled.stages
        load = Load(3, 160, 100)
        assert settled.held_bytes(stage, load) == (1 + blocks) * block == settled.held(stage, load).bytes
        names = {term.path for term in settled.excess(stage, load)}
        assert any(name.endswith("prefix that is not shared") for name in names) == (caching == "false")


def test_a_sparse_latent_in_nvfp4() -> None:
    """DeepSeek-V3.2 by the planner of 0.33: 1,889,536 bytes a block of 64 tokens."""
    settled = settled_of(
        "deepseek-v3.2", deployment=Deployment(8), gpu="b200", cache_dtype="c_kv=nvfp4,k_rope=fp8", context=163_840
    )
    pool = settled.pool([40 * GIB], Load(1, 163_840))
    assert pool is not None
    assert (pool.block_size, pool.tokens, pool.concurrency) == (64, 1_454_720, 8.88)
    assert settled.held_bytes(settled.stages[0], Load(0, 0)) == 1_889_536


def test_a_checkpoint_in_fp32_is_computed_in_bf16_unless_said() -> None:
    """OLMo-2-1124-13B by the planner of 0.33: 40 layers x 40 heads x 256 x 2 bytes."""
    asked = kvcalc.make_scenario("olmo-2-1124-13b", engine="vllm", context=4096)
    assert asked.model.dtype == "bf16"
    settled = Ranks(asked).settled(ONE)
    assert settled.rate(settled.stages[0], Load(1, 0)).bytes_per_token == 40 * 40 * 256 * 2
    bf16, fp32 = (Ranks(each).of(ONE)[0].weights_bytes for each in (asked, kvcalc.make_scenario("olmo-2-1124-13b")))
    assert bf16 is not None
    assert fp32 is not None
    assert bf16 < 0.51 * fp32
    in_fp32 = settled_of("olmo-2-1124-13b", dtype="fp32")
    assert in_fp32.rate(in_fp32.stages[0], Load(1, 0)).bytes_per_token == 40 * 40 * 256 * 4


def test_layers_that_do_not_divide_go_before_the_last_stage() -> None:
    settled = settled_of("deepseek-v3", deployment=Deployment(8, 4))
    lengths = {number: len(stage.layers) for stage in settled.stages for held in stage.numbers for number in held}
    assert [lengths[number] for number in range(4)] == [15, 15, 16, 15]


def test_of_drafting_layers_nothing_is_left_out_once_they_draft() -> None:
    def left_out(**options: str) -> list[str]:
        found = kvcalc.capacity("deepseek-v3", engine="vllm", gpu="h200", tp=8, engine_option=options)
        return [each.text for each in found.not_modelled if each.code == "mtp-layers"]

    assert left_out() == ["multi-token-prediction layers (1 in the checkpoint): their weights and cache (--mtp N)"]
    assert left_out(**{"num-speculative-tokens": "1"}) == []


def test_a_cache_that_is_stated_and_is_not_there_does_not_fit() -> None:
    """vLLM takes kv-cache-memory-bytes as they are (vllm/v1/worker/gpu_worker.py, determine_available_memory)."""

    def of(size: str) -> Any:
        return kvcalc.capacity("llama-3.1-8b", engine="vllm", tp=1, engine_option={"kv-cache-memory-bytes": size})

    assert of("50GiB").cache_memory_bytes == 50 * 2**30
    lacking = of("100GiB")
    assert (lacking.sequences, lacking.blocks) == (0, 0)
    assert any("for a cache of 107,374,182,400 bytes and all else" in each.text for each in lacking.notes)


def test_sequences_beyond_max_num_seqs_wait() -> None:
    """max-num-seqs bounds what runs at once, not what the pool holds."""
    options = {"max-num-seqs": "16"}
    held = kvcalc.capacity("llama-3-8b", engine="vllm", tp=1, engine_option=options)
    told = [each.data for each in held.notes if each.code == "sequences-that-wait"]
    assert [dict(each) for each in told] == [{"at_once": 16, "held": held.sequences}]
    few = kvcalc.estimate("llama-3-8b", engine="vllm", batch=16, engine_option=options)
    assert not any(each.code == "sequences-that-wait" for each in few.notes)


def test_notes_are_of_the_deployment_that_is_shown() -> None:
    shown = kvcalc.estimate("llama-3-70b", engine="vllm", batch=32, context=8192)
    (non_torch,) = (each for each in shown.notes if each.data.get("part") == "non-torch memory")
    assert shown.answer.deployment.tp == 4
    assert shown.gpus.per_rank is not None
    (row,) = (
        each
        for each in kvcalc.estimate("llama-3-70b", engine="vllm", tp=4, context=8192, batch=32).notes
        if each.data.get("part") == "non-torch memory"
    )
    assert non_torch.data["bytes"] == row.data["bytes"]
    told = kvcalc.estimate("llama-3-70b", engine="vllm", batch=32, context=8192, overhead="1GiB").notes
    assert not any(each.code == "engine-overhead-range" for each in told)
