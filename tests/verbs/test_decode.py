"""The bound of decoding: bytes read, operations and seconds by hand, and the laws that a bound obeys."""

from __future__ import annotations

import json
from dataclasses import astuple, replace
from fractions import Fraction
from typing import Any, NamedTuple

import pytest
from conftest import Kvcalc, texts
from hypothesis import given, settings
from hypothesis import strategies as st

import kvcalc
from kvcalc.catalogue import model_names
from kvcalc.mechanisms import GQA, MHA, MLA, MQA, NoAttention, Shared
from kvcalc.model.layers import LayerGroup
from kvcalc.model.model import WeightPart
from kvcalc.verbs.decode_bound import DecodeBound
from kvcalc.verbs.estimate_result import SpillResult

laws = settings(max_examples=80, deadline=None)

H100, H200 = 3_350 * 10**9, 4_800 * 10**9
BF16, FP8 = 989_500 * 10**9, 1_979 * 10**12
"""Operations a second of both."""


def bound(model: kvcalc.Model | str, **options: Any) -> DecodeBound:
    """On an accelerator that holds everything, unless another is asked for."""
    found = kvcalc.estimate(model, **{"gpu_memory": "100TB", **options}).decode
    assert found is not None
    return found


# By hand. Of an untied model a step reads all but the embedding, of which it looks up rows.


def test_llama_3_70b_on_four_gpus() -> None:
    """70,553,706,496 parameters without a table of 128,256 x 8,192; 32 x 8,192 tokens; 64 query heads of 128."""
    read = 70_553_706_496 - 128_256 * 8_192
    weights = 2 * read // 4
    cache = 2 * 80 * 32 * 8_192 * 2 * 128 * 2
    operations = 2 * 32 * read // 4 + 2 * 80 * 32 * 8_192 * 64 * 2 * 128 // 4
    found = bound("llama-3-70b", tp=4, batch=32, context=8192)

    assert (weights, cache) == (34_751_516_672, 21_474_836_480)
    assert (found.weights_read_bytes, found.cache_read_bytes) == (weights, cache)
    assert found.read_bytes == 56_226_353_152
    assert found.operations == operations
    assert found.memory_seconds == found.seconds_per_token == 56_226_353_152 / H100
    assert found.compute_seconds == operations / BF16
    assert found.tokens_per_second_per_sequence == H100 / 56_226_353_152
    assert found.tokens_per_second == 32 * H100 / 56_226_353_152
    assert (found.deployment, found.limited_by, found.spill) == (kvcalc.Deployment(tp=4), "memory", None)


def test_deepseek_v3_reads_8_of_256_experts() -> None:
    experts = 653_908_770_816 * 8 // 256
    others = 14_233_370_624 + 2 * 926_679_040
    scales = 4 * 39_911_424 * 8 // 256 + 4 * 868_736
    copies = 923_467_776 + 2 * 107_437_056 + 4 * 58_072  # on every rank
    found = bound("deepseek-v3", tp=8, context=8192, gpu="h200")

    assert found.weights_read_bytes == (experts + others + scales) // 8 + copies
    assert found.cache_read_bytes == 575_668_224
    assert found.memory_seconds == ((experts + others + scales) // 8 + copies + 575_668_224) / H200
    # 64 sequences may use as few experts as one does, and read as much of them.
    many = bound("deepseek-v3", tp=8, context=8192, gpu="h200", batch=64)
    assert many.weights_read_bytes == found.weights_read_bytes
    assert many.cache_read_bytes == 64 * 575_668_224


@pytest.mark.parametrize("options", [{"tp": 8, "ep": 8}, {"tp": 8, "ep": 2}])
def test_where_experts_are_does_not_change_the_bound(options: dict[str, Any]) -> None:
    found = bound("deepseek-v3", context=8192, **options)
    assert found.deployment == kvcalc.Deployment(**options)
    assert replace(found, deployment=kvcalc.Deployment(tp=8)) == bound("deepseek-v3", context=8192, tp=8)


def test_a_mixture_of_experts_of_one_format() -> None:
    """Qwen3-235B-A22B uses 8 of 128 experts, so what it uses is its active parameters without the embedding."""
    read = 22_190_763_520 - 151_936 * 4_096

    assert bound("qwen3-235b-a22b", context=1, tp=1).weights_read_bytes == 2 * read
    assert bound("qwen3-235b-a22b", context=1, tp=1, weight_dtype="fp8").weights_read_bytes == read


@pytest.mark.parametrize(
    ("model", "read"),
    [
        ("gemma-2b", 2 * 2_506_172_416),  # tied: the table is read once, as the output head
        ("llama-3-8b", 2 * (8_030_261_248 - 128_256 * 4_096)),
        # Neither the per-layer embeddings nor the towers; the tied table is.
        ("gemma-3n-e4b", 2 * (537_395_200 + 3_949_030_128)),
        ("gpt-oss-120b", 114_661_785_600 // 32 * 17 * 4 // 128 + 2 * (579_133_440 + 1_009_104_192)),
        ("kimi-k2.6", 1_014_686_023_680 // 32 * 18 * 8 // 384 + 2 * (1_174_405_120 + 9_373_375_488)),
    ],
)
def test_what_a_step_reads_of_the_weights(model: str, read: int) -> None:
    assert bound(model, context=1, tp=1).weights_read_bytes == read


def test_another_format_for_all_weights_is_read_without_scales() -> None:
    read = 653_908_770_816 * 8 // 256 + 15_156_838_400 + 926_679_040 + 107_437_056
    found = bound("deepseek-v3", context=1, tp=1, weight_dtype="bf16")

    assert found.weights_read_bytes == 2 * read
    assert found.operations == 2 * read + 2 * 61 * 128 * (2 * 512 + 64)


def test_only_formats_with_a_known_rate_are_computed() -> None:
    """The experts of gpt-oss are mxfp4, of which no rate is known; the rest and attention are bf16."""
    attention = 2 * (18 * 8192 + 18 * 128) * 64 * 2 * 64
    rest = 2 * (579_133_440 + 1_009_104_192)
    found = bound("gpt-oss-120b", context=8192, tp=1)

    assert found.operations == rest + attention
    assert found.compute_seconds == (rest + attention) / BF16
    assert bound("gpt-oss-120b", context=8192, tp=1, cache_dtype="int8").operations == rest
    assert bound("gpt-oss-120b", context=8192, tp=1, cache_dtype="k=fp8,v=bf16").operations == rest
    fp8 = bound("gpt-oss-120b", context=8192, tp=1, cache_dtype="fp8")
    assert fp8.operations == rest + attention
    assert fp8.compute_seconds == pytest.approx(rest / BF16 + attention / FP8, rel=1e-14)
    assert bound("gpt-oss-120b", context=8192, tp=1, gpu="a100-80gb", cache_dtype="fp8").operations == rest


def test_a_group_with_a_format_of_its_own_computes_in_it() -> None:
    attention = MHA(num_heads=2, head_dim=16)
    model = kvcalc.Model(
        name="m",
        weights=(WeightPart(part="table", parameters=8, format="mxfp4", place="embedding"),),
        layers=(
            LayerGroup(count=3, attention=attention, cache_dtype="fp8"),
            LayerGroup(count=1, attention=attention, cache_dtype="mxfp8"),
            LayerGroup(count=5, attention=attention),
            LayerGroup(count=7, attention=Shared()),
        ),
    )
    found = bound(model, context=10, batch=2)

    assert found.operations == 2 * 2 * 10 * (3 + 5) * 2 * 32
    assert found.compute_seconds == pytest.approx(2 * 2 * 10 * 64 * (3 / FP8 + 5 / BF16), rel=1e-14)
    assert (found.weights_read_bytes, found.cache_read_bytes) == (0, 20 * (3 * 64 + 66 + 5 * 128))


@pytest.mark.parametrize(
    ("attention", "multiply_adds"),
    [
        (MHA(num_heads=6, head_dim=10), 6 * 20),
        (MHA(num_heads=6, head_dim=10, v_head_dim=7), 6 * 17),
        (GQA(num_heads=6, num_kv_heads=2, head_dim=10), 6 * 20),
        (GQA(num_heads=6, num_kv_heads=2, head_dim=10, v_head_dim=7), 6 * 17),
        # Every head scores the latent and the rotary key, and sums the latent.
        (MLA(num_heads=6, kv_lora_rank=20, qk_rope_head_dim=3, qk_nope_head_dim=5, v_head_dim=7), 6 * (20 + 3 + 20)),
    ],
)
def test_operations_of_attention(attention: Any, multiply_adds: int) -> None:
    model = replace(small(), layers=(LayerGroup(count=4, attention=attention),))

    assert bound(model, context=50, batch=3).operations == 2 * 3 * 1000 + 2 * 4 * 3 * 50 * multiply_adds
    assert bound(model, context=50, batch=3, tp=2).operations == 3 * 1000 + 4 * 3 * 50 * multiply_adds


@pytest.mark.parametrize("attention", [NoAttention(), Shared()])
def test_layers_without_a_cache_of_their_own_read_and_compute_their_weights(attention: Any) -> None:
    found = bound(replace(small(), layers=(LayerGroup(count=4, attention=attention),)), context=50, batch=3)

    assert (found.read_bytes, found.cache_read_bytes, found.operations) == (1000, 0, 2 * 3 * 1000)


def small(**dims: Any) -> kvcalc.Model:
    """4 layers of 225 bytes, a head of 100 and an embedding of 100; 64 bytes a token and layer."""
    return kvcalc.Model(
        name="small",
        tie_word_embeddings=False,
        weights=(
            WeightPart(part="embedding", parameters=100, format="fp8", place="embedding"),
            WeightPart(part="output head", parameters=100, format="fp8", place="head"),
            WeightPart(part="layers", parameters=900, format="fp8"),
        ),
        layers=(LayerGroup(count=4, attention=MHA(num_heads=2, head_dim=8)),),
        **dims,
    )


def with_experts(**dims: Any) -> kvcalc.Model:
    """The same with 8 experts of 300 bytes, of which a token uses 2."""
    experts = WeightPart(part="experts", parameters=2400, format="fp8", split="ep")
    return replace(small(), weights=(*small().weights, experts), **{"num_experts": 8, "num_experts_per_tok": 2, **dims})


def accelerator(**figures: Any) -> kvcalc.Gpu:
    """1,000 bytes a second of memory, 10 of the host link; computing takes no time worth mention."""
    rates: dict[str, Any] = {
        "memory_bandwidth_gb_per_s": 1e-6,
        "host_link_gb_per_s": 1e-8,
        "bf16_dense_tflops": 1e6,
        "fp8_dense_tflops": 1e6,
    }
    return kvcalc.Gpu(name="slow", memory_bytes=10**12, memory_from="runtime", **{**rates, **figures})


def test_windows_bound_what_is_read_and_computed() -> None:
    """3 layers that keep 30 tokens and 1 that keeps 50."""
    attention = MHA(num_heads=2, head_dim=8)
    layers = (
        LayerGroup(count=3, attention=attention, window=30),
        LayerGroup(count=1, attention=attention, window=60),
    )
    found = bound(replace(small(), layers=layers), context=50, batch=2)

    assert found.cache_read_bytes == 2 * 64 * (3 * 30 + 50)
    assert found.operations == 2 * 2 * 1000 + 2 * 2 * (3 * 30 + 50) * 32


def test_a_shared_prefix_is_read_once_and_computed_for_each_sequence() -> None:
    found = bound(small(), context=50, batch=3, shared_prefix=40)

    assert found.cache_read_bytes == 4 * 64 * (40 + 3 * 10)
    assert found.operations == 2 * 3 * 1000 + 2 * 4 * 3 * 50 * 32


def test_ranks_that_share_tokens_read_less() -> None:
    """A latent is on all ranks: with dcp each reads its share of the tokens, and computes as much as before."""
    plain, shared = (bound("deepseek-v3", tp=8, dcp=dcp, context=8190) for dcp in (1, 4))

    assert plain.cache_read_bytes == 8190 * 70_272
    assert shared.cache_read_bytes == 2048 * 70_272
    assert shared.operations == plain.operations


# Pipelines.


def test_a_pipeline_is_bound_by_its_slowest_stage_and_by_the_sum_for_one_sequence() -> None:
    """Stages of 2 layers: 450 bytes, and 550 with the head. One token is 128 bytes a stage and sequence."""
    gpu = accelerator()
    one, ten = (bound(small(), gpu=gpu, pp=2, context=1, batch=batch) for batch in (1, 10))

    assert (one.weights_read_bytes, one.cache_read_bytes, one.read_bytes) == (550, 128, 678)
    assert one.memory_seconds == 0.678
    assert one.seconds_per_token == (450 + 128 + 550 + 128) / 1000
    assert one.tokens_per_second == one.tokens_per_second_per_sequence == 1000 / 1256
    assert ten.memory_seconds == ten.seconds_per_token == (550 + 1280) / 1000
    assert ten.tokens_per_second_per_sequence == 1000 / 1830
    assert ten.tokens_per_second == 10_000 / 1830
    # Two sequences: a stage serves both in 806, but a token passes both stages in 1,256.
    two = bound(small(), gpu=gpu, pp=2, context=1, batch=2)
    assert (two.memory_seconds, two.seconds_per_token) == (0.806, 1.256)
    assert two.tokens_per_second == 2 * 1000 / 1256


def test_stages_that_are_alike_each_take_their_time() -> None:
    """4 stages: 225 bytes three times, 325 once, and 64 bytes of cache each."""
    found = bound(small(), gpu=accelerator(), pp=4, context=1)

    assert found.seconds_per_token == (3 * 225 + 325 + 4 * 64) / 1000
    assert found.read_bytes == 325 + 64


def test_the_slowest_stage_may_be_the_first() -> None:
    """3 layers on 2 stages of unequal kinds: the first has two layers and most of the cache."""
    layers = (LayerGroup(count=3, attention=MHA(num_heads=2, head_dim=8)),)
    found = bound(replace(small(), layers=layers), gpu=accelerator(), pp=2, context=100, batch=2)

    assert found.read_bytes == 600 + 2 * 2 * 6400
    assert found.seconds_per_token == (600 + 2 * 2 * 6400) / 1000


def test_a_tied_table_is_read_on_the_last_stage() -> None:
    """Gemma-2B: 9 of 18 layers a stage, and a table of 256,000 x 2,048; the first stage only looks rows up."""
    table = 2 * 256_000 * 2_048
    layers = 2 * 2_506_172_416 - table
    found = bound("gemma-2b", pp=2, context=1)
    token = 2 * 9 * 256 * 2

    assert found.weights_read_bytes == layers // 2 + table
    assert found.seconds_per_token == (layers + table + 2 * token) / H100


def test_stages_without_experts_read_none() -> None:
    """8 experts of 150 on the last 2 of 4 layers, 2 of which a token uses: 600 of 2,400."""
    model = with_experts(first_k_dense=2)
    found = bound(model, gpu=accelerator(), pp=2, context=1)

    assert found.weights_read_bytes == 450 + 600 + 100
    assert found.seconds_per_token == (450 + 128 + 1150 + 128) / 1000
    assert found.operations == 2 * (450 + 600 + 100) + 2 * 2 * 32


# Replicas.


@pytest.mark.parametrize(
    ("batch", "per_token", "in_all"),
    [
        (1, 1256, Fraction(1000, 1256)),  # the others are idle
        (3, 1256, Fraction(3 * 1000, 1256)),
        (4, 1512, 1000 * (Fraction(2, 1512) + Fraction(2, 1256))),  # 2 + 1 + 1
        (5, 1512, 1000 * (Fraction(4, 1512) + Fraction(1, 1256))),
        (6, 1512, Fraction(6 * 1000, 1512)),
    ],
)
def test_the_fullest_replica_is_the_slowest(batch: int, per_token: int, in_all: Fraction) -> None:
    """1,000 bytes of weights, and 256 of cache a sequence."""
    found = bound(small(), gpu=accelerator(), dp=3, context=1, batch=batch)

    assert found.seconds_per_token == per_token / 1000
    assert found.tokens_per_second_per_sequence == 1000 / per_token
    assert found.tokens_per_second == float(in_all)


def test_replicas_that_share_experts_read_and_compute_their_part_of_them() -> None:
    """8 experts of 300: a token uses 2. Over 4 ranks that is 150 bytes a rank; attention and all else is whole."""
    model = with_experts()

    def operations(batch: int) -> int:
        return bound(model, dp=4, dp_attention=True, context=1, batch=batch).operations

    assert bound(model, dp=4, context=1).weights_read_bytes == 1000 + 600
    assert bound(model, dp=4, dp_attention=True, context=1).weights_read_bytes == 1000 + 150
    assert bound(model, dp=4, dp_attention=True, context=1, ep=4).weights_read_bytes == 1000 + 150
    assert bound(model, dp=4, dp_attention=True, context=1, tp=2).weights_read_bytes == 500 + 75
    # Of every replica's tokens a rank computes a quarter of the experts'; of its own, all the rest.
    rest = 2 * 1000 + 2 * 4 * 32
    assert operations(4) == 4 * 2 * 150 + rest
    assert operations(8) == 8 * 2 * 150 + 2 * rest
    # The fullest replica has 2 sequences, but all of them have 5: no more tokens than there are.
    assert operations(5) == 5 * 2 * 150 + 2 * rest
    assert operations(1) == 1 * 2 * 150 + rest


def test_a_token_alone_passes_the_stages_with_the_experts_work_of_one() -> None:
    """Computing alone takes time: a token's own work in both stages is a bound, and no other replica's."""
    gpu = accelerator(memory_bandwidth_gb_per_s=1e6, fp8_dense_tflops=1e-9, bf16_dense_tflops=None)
    model = with_experts(layers=(LayerGroup(count=4, attention=NoAttention()),))
    found = bound(model, gpu=gpu, dp=4, dp_attention=True, pp=2, context=1, batch=4)

    # 1,000 operations a second. Stages: 450 parameters and 75 of experts (of 4 tokens); 100 more on the last.
    assert found.compute_seconds == 2 * (550 + 4 * 75) / 1000
    assert found.seconds_per_token == 2 * (450 + 75 + 550 + 75) / 1000


# Computing takes longer than reading.


def test_attention_of_many_sequences_on_one_rank_is_bound_by_computing() -> None:
    """DeepSeek-V3, 128 sequences on each of 8 ranks: 128 heads x (2 x 512 + 64) multiply-adds for 1,152 bytes read."""
    attention = 2 * 61 * 128 * 8192 * 128 * 1088
    fp8 = 2 * 128 * 15_156_838_400 + 2 * 1024 * 653_908_770_816 * 8 // 256 // 8
    bf16 = 2 * 128 * (926_679_040 + 107_437_056)
    options: dict[str, Any] = {"dp": 8, "dp_attention": True, "ep": 8, "gpu": "h200", "context": 8192}
    found = bound("deepseek-v3", batch=1024, **options)

    assert attention / BF16 > found.cache_read_bytes / H200
    assert found.operations == attention + fp8 + bf16
    seconds = Fraction(fp8, FP8) + Fraction(bf16 + attention, BF16)
    assert found.compute_seconds == found.seconds_per_token == float(seconds)
    assert found.limited_by == "compute"
    assert found.memory_seconds < found.compute_seconds
    assert found.tokens_per_second == float(1024 / seconds)
    assert bound("deepseek-v3", batch=8, **options).limited_by == "memory"


# Cache kept in the host's memory.

SPILL: dict[str, Any] = {"spill": True, "temporary": 30, "overhead": 7, "reserve": {"x": 3}, "utilization": 1}


@pytest.mark.parametrize(
    ("room", "spilled"),
    [(0, 7680), (1, 7679), (7679, 1), (7680, 0), (7681, 0)],
)
def test_what_finds_no_room_is_spilled(room: int, spilled: int) -> None:
    """1,100 bytes of weights and 3 x 10 x 256 = 7,680 of cache. The host link reads 10 bytes a second."""
    memory = 1100 + 30 + 7 + 3 + room
    found = bound(small(), gpu=accelerator(), gpu_memory=memory, context=10, batch=3, tp=1, **SPILL)

    assert found.spill is not None
    assert astuple(found.spill) == (room, spilled, spilled, spilled / 10)
    assert (found.read_bytes, found.cache_read_bytes) == (1000 + 7680, 7680)
    assert found.memory_seconds == (1000 + 7680 - spilled) / 1000
    assert found.seconds_per_token == max(spilled / 10, (8680 - spilled) / 1000)
    assert found.limited_by == ("host link" if spilled > 1 else "memory")
    assert found.tokens_per_second == pytest.approx(3 / found.seconds_per_token, rel=1e-14)


def test_the_slower_of_link_and_memory_counts() -> None:
    """Both are read at the same time: 680 bytes at 100 a second over the link, 8,000 at 1,000 from memory."""
    gpu = accelerator(host_link_gb_per_s=1e-7)
    found = bound(small(), gpu=gpu, gpu_memory=1140 + 7000, context=10, batch=3, tp=1, **SPILL)

    assert found.spill is not None
    assert (found.spill.link_seconds, found.memory_seconds, found.seconds_per_token) == (6.8, 8.0, 8.0)
    assert found.limited_by == "memory"


def test_every_rank_spills_its_own() -> None:
    """3 layers on 2 stages of 2 ranks: a layer's cache is 640 bytes a sequence on both together."""
    layers = (LayerGroup(count=3, attention=MHA(num_heads=2, head_dim=8)),)
    model = replace(small(), layers=layers)
    # On a rank of the first stage: 300 + 50 of weights and 3 x 640 of cache; of the last 150 + 50 and 3 x 320.
    found = bound(model, gpu=accelerator(), gpu_memory=350 + 40 + 700, context=10, batch=3, tp=2, pp=2, **SPILL)

    assert found.spill is not None
    assert astuple(found.spill) == (700, 1920 - 700, 2 * (1920 - 700 + 960 - 850), 122.0)


def test_the_stage_that_spills_most_need_not_be_the_slowest() -> None:
    """2 heads, each with a cache of its own, before 64 that share one: half the bytes, 32 times the operations."""
    layers = (
        LayerGroup(count=1, attention=MHA(num_heads=2, head_dim=8)),
        LayerGroup(count=1, attention=MQA(num_heads=64, head_dim=8)),
    )
    gpu = accelerator(host_link_gb_per_s=1e-7, bf16_dense_tflops=1e-9, fp8_dense_tflops=None)
    options: dict[str, Any] = {"gpu": gpu, "context": 10, "batch": 3, "pp": 2}
    model = replace(small(), layers=layers)
    plain = bound(model, **options)
    found = bound(model, gpu_memory=550 + 40 + 500, **options, **SPILL)

    # The first stage reads 450 + 1,920 bytes, the second 550 + 960; computing takes 1.92 and 61.44 seconds.
    assert (plain.read_bytes, plain.memory_seconds) == (1510, 1.51)
    assert (plain.limited_by, plain.seconds_per_token) == ("compute", 61.44)
    assert found.spill is not None
    assert astuple(found.spill) == (500, 1920 - 500, 1920 - 500 + 960 - 500, 14.2)
    # The second stage's link takes 4.6 seconds, longer than its memory.
    assert (found.memory_seconds, found.limited_by, found.seconds_per_token) == (1.05, "compute", 61.44)


def test_replicas_spill_their_share() -> None:
    found = bound(small(), gpu=accelerator(), gpu_memory=1140 + 3000, context=10, batch=3, dp=2, **SPILL)

    assert found.spill is not None
    assert astuple(found.spill) == (3000, 5120 - 3000, 5120 - 3000, 212.0)
    # 2 sequences on one replica, and 1 on the other, which spills nothing.
    assert found.tokens_per_second == float(2 / Fraction(212) + 1 / Fraction(1000 + 2560, 1000))


def test_only_cache_can_be_spilled() -> None:
    with pytest.raises(kvcalc.KvcalcError) as refusal:
        kvcalc.estimate(small(), gpu=accelerator(), gpu_memory=1139, context=10, tp=1, **SPILL)
    assert str(refusal.value) == (
        "--spill: only cache can be kept in the host's memory, and a rank lacks 1 bytes for the rest; give more ranks "
        "(--tp, --pp)"
    )


def test_a_host_link_is_needed_where_something_is_spilled() -> None:
    gpu = accelerator(host_link_gb_per_s=None)
    answer = kvcalc.estimate(small(), gpu=gpu, gpu_memory=2000, context=10, batch=3, tp=1, **SPILL)
    assert answer.decode is None
    assert "no bound of decoding: no bandwidth of a host link is known for slow" in texts(answer.notes)
    assert answer.spill == SpillResult(7680 - 860, 7680 - 860, None)  # 1,140 bytes beside the cache
    found = bound(small(), gpu=gpu, gpu_memory=10_000, context=10, batch=3, **SPILL)
    assert found.spill is not None
    assert (found.spill.spilled_bytes, found.spill.link_seconds) == (0, 0)


def test_without_a_deployment_the_weights_decide() -> None:
    """Llama-3-70B: 131.4 GiB of weights need 2 GPUs of 72.8; 32 x 8,192 tokens would need 4."""
    answer = kvcalc.estimate("llama-3-70b", batch=32, context=8192, spill=True)
    scenario = answer.scenario

    assert scenario.deployment == kvcalc.Deployment(2)
    assert scenario.notes[-1].code == "smallest-deployment"
    assert texts(scenario.notes)[-1] == (
        "spill: tp 2 is taken, the smallest deployment that holds the weights (--tp N sets it)"
    )
    assert answer.gpus.count == 4
    assert answer.decode is not None
    assert answer.decode.spill is not None
    # 70,553,706,496 bytes of weights, 1.5 GiB of temporary memory, 0.5 and 0.7 GiB of overhead.
    usable = 85_020_639_232 * 92 // 100
    room = usable - 70_553_706_496 - 15 * 2**30 // 10 - 2**29 - 7 * 2**30 // 10
    assert answer.decode.spill.room_bytes == room
    assert answer.decode.spill.spilled_bytes_per_rank == 40 * 2**30 - room
    assert answer.decode.spill.spilled_bytes == 2 * (40 * 2**30 - room)
    assert answer.decode.spill.link_seconds == (40 * 2**30 - room) / (64 * 10**9)


def test_the_deployment_that_is_taken_has_room_for_the_usual_temporary_memory() -> None:
    """1 GiB beside the weights holds the least temporary memory seen, 0.22 GiB, and not the usual 1.5."""
    options: dict[str, Any] = {"overhead": 0, "utilization": 1, "batch": 100, "context": 1000}
    memory = 2 * 10**9 + 2**30
    model = replace(
        small(), weights=(*small().weights, WeightPart(part="more", parameters=2 * 10**9 - 1100, format="fp8"))
    )

    assert kvcalc.estimate(model, gpu_memory=memory, **{**options, "batch": 1}).gpus.count == 1
    answer = kvcalc.estimate(model, gpu_memory=memory, spill=True, **options)
    assert answer.scenario.deployment == kvcalc.Deployment(2)
    assert answer.decode is not None


def test_the_prefix_plays_no_part_in_the_deployment_that_is_taken() -> None:
    answer = kvcalc.estimate("llama-3-70b", batch=32, context=8192, shared_prefix=8192, spill=True)

    assert answer.scenario.deployment == kvcalc.Deployment(2)


@pytest.mark.parametrize(
    ("model", "options", "message"),
    [
        ("palm-540b", {}, "--spill: the room beside the weights is not known: give --weights SIZE or --parameters N"),
        (
            "llama-3-8b",
            {"temporary": "100GB"},
            (
                "--spill: no legal deployment holds weights, temporary memory, overhead and reserves; "
                "cache alone can go to the host's memory"
            ),
        ),
    ],
)
def test_nothing_to_spill_from(model: str, options: dict[str, Any], message: str) -> None:
    with pytest.raises(kvcalc.KvcalcError) as refusal:
        kvcalc.estimate(model, spill=True, **options)
    assert str(refusal.value) == message


# No bound.

APART = (
    "what a step reads of the weights is not known: the model's file does not tell embedding, experts and towers apart"
)
GIVEN = "--weights gives a size, and not what a step reads of it: the embedding and the experts are not told apart"


def of_dims(**dims: Any) -> kvcalc.Model:
    complete: dict[str, Any] = {
        "parameters": 10**6,
        "hidden_size": 10,
        "vocab_size": 20,
        "tie_word_embeddings": False,
        "num_experts": 8,
        "num_experts_per_tok": 2,
        "moe_intermediate_size": 5,
    }
    return kvcalc.Model(
        name="m",
        layers=(LayerGroup(count=4, attention=MHA(num_heads=2, head_dim=8)),),
        **{**complete, **dims},
    )


@pytest.mark.parametrize(
    ("model", "options", "missing"),
    [
        ("llama-3-8b", {"gpu": accelerator(memory_bandwidth_gb_per_s=None)}, "no memory bandwidth is known for slow"),
        ("llama-3-8b", {"weights": "16GB"}, GIVEN),
        ("gemma-2b", {"weights": "5GB"}, GIVEN),
        ("deepseek-v3", {"weights": "700GB"}, GIVEN),
        (of_dims(hidden_size=None), {}, APART),
        (of_dims(vocab_size=None), {}, APART),
        (of_dims(tie_word_embeddings=None), {}, APART),
        (of_dims(moe_intermediate_size=None), {}, APART),
        (of_dims(num_experts_per_tok=None), {}, APART),
        (of_dims(active_parameters=999), {}, APART),
        (with_experts(num_experts_per_tok=None), {}, APART),
        (with_experts(num_experts=None), {}, APART),
        (small(num_experts=8, num_experts_per_tok=2), {}, APART),  # experts, but no part that they are
        (
            replace(small(), weights=(WeightPart(part="all", parameters=1000, format="bf16"),)),
            {},
            APART,
        ),
        (
            replace(small(), weights=small().weights[:1], layers=(LayerGroup(count=1, attention=NoAttention()),)),
            {},
            "a step reads nothing",
        ),
    ],
)
def test_where_there_is_no_bound_that_is_said(model: kvcalc.Model | str, options: dict[str, Any], missing: str) -> None:
    answer = kvcalc.estimate(model, context=1, **options)

    assert answer.decode is None
    assert [note for note in texts(answer.notes) if "bound" in note] == [f"no bound of decoding: {missing}"]


def test_what_does_not_hold_the_workload_has_no_bound() -> None:
    """32 x 8,192 tokens need 4 GPUs; a deployment that is tight holds them."""
    options: dict[str, Any] = {"batch": 32, "context": 8192, "tp": 2}
    answer = kvcalc.estimate("llama-3-70b", **options)
    tight = kvcalc.estimate("llama-3-70b", context=8192, tp=2)

    assert answer.decode is None
    (note,) = [note for note in texts(answer.notes) if "bound" in note]
    assert note.startswith("no bound of decoding: tp 2 does not hold the workload (--spill ")
    assert kvcalc.estimate("llama-3-70b", spill=True, **options).decode is not None
    assert (tight.gpus.tight, tight.decode is not None) == (True, True)


def test_unknown_weights_are_said_to_be_unknown_once() -> None:
    answer = kvcalc.estimate("palm-540b", context=1)

    assert answer.decode is None
    assert not any("bound of decoding" in note for note in texts(answer.notes))


@pytest.mark.parametrize("model", [name for name in model_names() if kvcalc.load_model(name).parameters])
def test_every_model_of_the_catalogue_has_a_bound(model: str) -> None:
    answer = kvcalc.estimate(model, context=1000, tp=1, gpu_memory="100TB")
    if model == "longcat-flash":  # of its 12 chosen experts some have no weights, how many differs
        assert answer.decode is None
        assert any("no bound of decoding" in note for note in texts(answer.notes))
        return
    assert answer.decode is not None
    assert answer.memory.weights_bytes is not None

    assert 0 < answer.decode.weights_read_bytes <= answer.memory.weights_bytes
    assert answer.decode.cache_read_bytes == answer.cache.bytes


@pytest.mark.parametrize(("context", "positions"), [(100, 100), (2048, 2048), (2049, 2048), (131_072, 2048)])
def test_a_sparse_layer_reads_the_positions_that_are_chosen_and_every_index(context: int, positions: int) -> None:
    answer = kvcalc.estimate("deepseek-v3.2", context=context, batch=3, tp=8, gpu="h200", gpu_memory="10TB")
    assert answer.decode is not None
    assert answer.decode.cache_read_bytes == 3 * 61 * (positions * 1152 + context * 132)
    assert answer.cache.bytes_per_rank == 3 * 61 * context * 1284
    attention = [term for term in answer.decode.terms.parts[2].parts if term.path.startswith("attention of")]  # type: ignore[union-attr]
    assert [term.bytes for term in attention] == [-(-2 * 61 * 3 * positions * 128 * (1024 + 64) // 8)]


def test_of_a_spilled_sparse_cache_only_what_a_step_reads_can_cross_the_link() -> None:
    """The rank has room for a quarter of the cache, which is more than a step reads: nothing must cross."""
    common: dict[str, Any] = {"context": 131_072, "tp": 8, "gpu": "h200", "temporary": 0, "overhead": 0}
    whole = kvcalc.estimate("deepseek-v3.2", **common)
    weights, cache = whole.memory.per_rank.weights_bytes, whole.cache.bytes_per_rank
    assert weights is not None
    memory = (weights + cache // 4) * 100 // 92 + 100
    answer = kvcalc.estimate("deepseek-v3.2", **common, gpu_memory=memory, spill=True)
    assert answer.decode is not None
    assert answer.decode.spill is not None
    assert 0.7 * cache < answer.decode.spill.spilled_bytes_per_rank < 0.8 * cache
    assert answer.decode.spill.link_seconds == 0
    assert answer.decode.memory_seconds == pytest.approx(answer.decode.read_bytes / 4.8e12, rel=1e-6)


def test_what_a_state_computes_is_counted_whatever_the_context() -> None:
    short, long = (kvcalc.estimate("qwen3-next-80b-a3b", context=each, tp=4).decode for each in (1000, 2000))
    assert short is not None
    assert long is not None
    grown = 2 * 12 * 1000 * 16 * 512 // 4
    assert long.operations - short.operations == grown
    states = [term.bytes for term in long.terms.parts[2].parts if "gated_deltanet" in term.path]  # type: ignore[union-attr]
    assert states == [2 * 36 * 3 * 32 * 128 * 128 // 4]


# Laws, against the bound written out.


class Asked(NamedTuple):
    """A random question, and the figures that the model is made of."""

    model: kvcalc.Model
    rest: int
    table: int
    experts: int
    """Parameters of the layers, of one table, and of all routed experts."""
    options: dict[str, Any]
    bandwidth: int
    """Bytes a second."""
    rate: int
    """Operations a second."""


@st.composite
def questions(draw: st.DrawFn) -> Asked:
    heads = 8
    kinds: list[Any] = [
        GQA(num_heads=heads, num_kv_heads=draw(st.sampled_from([1, 2, 8])), head_dim=draw(st.integers(1, 256))),
        MLA(
            num_heads=heads,
            kv_lora_rank=draw(st.integers(1, 512)),
            qk_rope_head_dim=64,
            qk_nope_head_dim=1,
            v_head_dim=1,
        ),
    ]
    groups = draw(
        st.lists(
            st.builds(
                LayerGroup,
                count=st.integers(1, 4),
                attention=st.sampled_from(kinds),
                window=st.none() | st.integers(1, 3000),
            ),
            min_size=1,
            max_size=3,
        )
    )
    layers = sum(group.count for group in groups)
    hidden, vocab = draw(st.integers(1000, 9000)), draw(st.integers(1000, 200_000))
    tied, mixture = draw(st.booleans()), draw(st.booleans())
    first = draw(st.integers(0, layers - 1)) if mixture else 0
    num_experts, used, width = draw(st.integers(2, 64)), draw(st.integers(1, 2)), draw(st.integers(500, 3000))
    experts = 3 * hidden * width * num_experts * (layers - first) if mixture else 0
    rest = draw(st.integers(10**9, 10**11))
    dims: dict[str, Any] = {
        "num_experts": num_experts,
        "num_experts_per_tok": used,
        "moe_intermediate_size": width,
        "first_k_dense": first,
    }
    model = kvcalc.Model(
        name="random",
        dtype="bf16",
        parameters=rest + experts + vocab * hidden * (1 if tied else 2),
        hidden_size=hidden,
        vocab_size=vocab,
        tie_word_embeddings=tied,
        layers=tuple(groups),
        **(dims if mixture else {}),
    )
    bandwidth, rate = draw(st.integers(100, 10_000)), draw(st.sampled_from([1, 10, 1000]))
    gpu = kvcalc.Gpu(
        name="any",
        memory_bytes=10**15,
        memory_from="runtime",
        memory_bandwidth_gb_per_s=bandwidth,
        bf16_dense_tflops=rate,
    )
    dp = draw(st.integers(1, 4))
    options = {
        "gpu": gpu,
        "batch": draw(st.integers(1, 2000)),
        "context": draw(st.integers(1, 100_000)),
        "tp": draw(st.sampled_from([1, 2, 4, 8])),
        "pp": draw(st.integers(1, layers)),
        "dp": dp,
        "dp_attention": mixture and dp > 1 and draw(st.booleans()),
    }
    return Asked(model, rest, vocab * hidden, experts, options, bandwidth * 10**9, rate * 10**12)


def row(attention: Any, tp: int) -> tuple[int, int]:
    """Bytes of a token on a rank, and multiply-adds with it of all ranks."""
    if isinstance(attention, MLA):
        return 2 * (attention.kv_lora_rank + 64), 8 * (2 * attention.kv_lora_rank + 64)
    return 2 * 2 * attention.head_dim * max(1, attention.num_kv_heads // tp), 8 * 2 * attention.head_dim


def copied_share(model: kvcalc.Model, tp: int) -> float:
    """Parameters of the layers that a rank has beyond a tp-th part of them: latents, routers, keys and values."""
    hidden, beyond = model.hidden_size or 0, 0.0
    for group in model.layers:
        assert isinstance(group, LayerGroup)
        attention = group.attention
        if isinstance(attention, MLA):
            beyond += group.count * hidden * (attention.kv_lora_rank + 64) * (1 - 1 / tp)
        elif isinstance(attention, GQA) and attention.num_kv_heads < tp:
            both = 2 * hidden * attention.num_kv_heads * attention.head_dim
            beyond += group.count * both * (1 / attention.num_kv_heads - 1 / tp)
    layers_with_experts = model.num_layers - (model.first_k_dense or 0)
    return beyond + (model.num_experts or 0) * hidden * layers_with_experts * (1 - 1 / tp)


def seconds_by_hand(asked: Asked, sequences: int, tokens: int) -> list[float]:
    """Each stage's seconds for so many sequences of a replica, and tokens of all replicas that share the experts."""
    model, options = asked.model, asked.options
    tp, pp, context = options["tp"], options["pp"], options["context"]
    layers = [group for group in model.layers if isinstance(group, LayerGroup) for _ in range(group.count)]
    total, first = len(layers), model.first_k_dense or 0
    used = (model.num_experts_per_tok or 0) / (model.num_experts or 1)
    sharing = options["dp"] if options["dp_attention"] else 1
    out, start = [], 0
    for stage in range(pp):
        held = list(range(start, start + total // pp + (stage < total % pp)))
        start += len(held)
        dense = asked.rest * len(held) / total + (asked.table if stage == pp - 1 else 0)
        active = asked.experts * used * sum(layer >= first for layer in held) / (total - first) / sharing
        read, operations = 2 * (dense + active) / tp, 2 * (dense * sequences + active * tokens) / tp
        copied = copied_share(model, tp) * len(held) / total
        read, operations = read + 2 * copied, operations + 2 * copied * sequences
        for layer in held:
            kept = min(context, layers[layer].window or context)
            row_bytes, multiply_adds = row(layers[layer].attention, tp)
            read += sequences * kept * row_bytes
            operations += 2 * sequences * kept * multiply_adds / tp
        out.append(max(read / asked.bandwidth, operations / asked.rate))
    return out


@laws
@given(questions())
def test_the_bound_written_out(asked: Asked) -> None:
    batch, dp = asked.options["batch"], asked.options["dp"]
    joined = dp if asked.options["dp_attention"] else 1
    by_replica = [batch // dp + (replica < batch % dp) for replica in range(dp)]
    alone = sum(seconds_by_hand(asked, 1, 1))

    def per_token(sequences: int) -> float:
        return max(*seconds_by_hand(asked, sequences, min(batch, sequences * joined)), alone)

    found = bound(asked.model, **asked.options)
    assert found.seconds_per_token == pytest.approx(per_token(by_replica[0]), rel=1e-6)
    assert found.tokens_per_second_per_sequence == pytest.approx(1 / per_token(by_replica[0]), rel=1e-6)
    assert found.tokens_per_second == pytest.approx(sum(n / per_token(n) for n in by_replica if n), rel=1e-6)


@laws
@given(questions(), st.integers(2, 100))
def test_laws_of_the_bound(asked: Asked, times: int) -> None:
    found = bound(asked.model, **asked.options)
    gpu = asked.options["gpu"]
    batch, dp = asked.options["batch"], asked.options["dp"]
    slack = 1 + 1e-12

    assert found.tokens_per_second_per_sequence <= asked.bandwidth / found.read_bytes * slack
    assert found.seconds_per_token * slack >= max(found.memory_seconds, found.compute_seconds)
    assert found.limited_by == ("compute" if found.compute_seconds > found.memory_seconds else "memory")
    assert found.read_bytes == found.weights_read_bytes + found.cache_read_bytes
    if batch % dp == 0:
        assert found.tokens_per_second <= batch * found.tokens_per_second_per_sequence * slack
    assert found.tokens_per_second * slack >= found.tokens_per_second_per_sequence
    faster = replace(
        gpu,
        memory_bandwidth_gb_per_s=gpu.memory_bandwidth_gb_per_s * times,
        bf16_dense_tflops=gpu.bf16_dense_tflops * times,
    )
    for better in (
        replace(gpu, memory_bandwidth_gb_per_s=faster.memory_bandwidth_gb_per_s),
        replace(gpu, bf16_dense_tflops=faster.bf16_dense_tflops),
        faster,
    ):
        quicker = bound(asked.model, **{**asked.options, "gpu": better})
        assert quicker.seconds_per_token <= found.seconds_per_token * slack
        assert quicker.tokens_per_second * slack >= found.tokens_per_second
    assert quicker.seconds_per_token * times == pytest.approx(found.seconds_per_token, rel=1e-12)
    more = bound(asked.model, **{**asked.options, "batch": batch + 1})
    assert more.seconds_per_token * slack >= found.seconds_per_token


@laws
@given(questions(), st.integers(0, 10**13), st.integers(1, 1000))
def test_laws_of_spilling(asked: Asked, memory: int, link: int) -> None:
    """What is spilled is what lacks: the cache is the same in all, and nothing is faster for it."""
    gpu = replace(asked.options["gpu"], host_link_gb_per_s=link)
    options = {**asked.options, "gpu": gpu, "temporary": 0, "overhead": 0, "utilization": 1}
    plain = bound(asked.model, **options)
    needed = kvcalc.estimate(asked.model, **options).memory.per_rank.weights_bytes
    assert needed is not None
    try:
        found = bound(asked.model, spill=True, **options, gpu_memory=memory + 1)
    except kvcalc.KvcalcError as error:
        assert "only cache can be kept" in str(error)  # noqa: PT017  # a rank without room for its weights
        return

    assert found.spill is not None
    assert found.read_bytes == plain.read_bytes or asked.options["pp"] > 1
    if asked.options["pp"] == 1:
        assert found.spill.room_bytes == memory + 1 - needed
        assert found.spill.spilled_bytes_per_rank == max(0, plain.cache_read_bytes - found.spill.room_bytes)
        assert found.spill.spilled_bytes == asked.options["tp"] * found.spill.spilled_bytes_per_rank
    assert found.spill.link_seconds == found.spill.spilled_bytes_per_rank / (link * 10**9)
    assert found.seconds_per_token >= found.spill.link_seconds
    if found.spill.spilled_bytes == 0:
        assert replace(found, spill=None, terms=plain.terms) == plain


# On the command line.


@pytest.mark.parametrize(
    ("words", "figures", "why"),
    [
        (
            "llama-3-70b --tp 4 -b 32 -c 8192",
            "at least 16.8 ms a token, at most 59.6 tokens/s a sequence, 1,907 in all",
            "a step reads 52.36 GiB on a GPU, at 3,350 GB/s",
        ),
        (
            "llama-3-70b --tp 4 --pp 2 -c 8192",
            "at least 10.6 ms a token, at most 94.6 tokens/s a sequence, 94.6 in all",
            "a step reads 16.74 GiB on a GPU, at 3,350 GB/s, in the slowest of 2 stages, all of which a token passes",
        ),
        (
            "deepseek-v3 --dp 8 --dp-attention --ep 8 -b 1024 -c 8192 --gpu h200 --gpu-memory 1TB",
            "at least 22.9 ms a token, at most 43.7 tokens/s a sequence, 44,763 in all",
            "a step computes 27.19 x 10^12 operations on a GPU",
        ),
        (
            "llama-3-70b --tp 2 -b 32 -c 8192 --spill",
            "at least 597 ms a token, at most 1.68 tokens/s a sequence, 53.6 in all",
            "a step reads the spilled cache over the host link, at 64 GB/s",
        ),
    ],
)
def test_the_line_that_people_read(kvcalc: Kvcalc, words: str, figures: str, why: str) -> None:
    run = kvcalc("estimate", *words.split())
    lines = [line for line in run.stdout.splitlines() if line.startswith("decode bound")]

    assert lines == [f"decode bound: {figures} ({why}); not a prediction"]


def test_json_holds_the_bound(kvcalc: Kvcalc) -> None:
    words = "estimate llama-3-70b --tp 4 --batch 32 --context 8192 --json"
    printed = json.loads(kvcalc(*words.split()).stdout)["decode"]

    assert printed["read_bytes"] == 56_226_353_152
    assert printed["seconds_per_token"] == 56_226_353_152 / H100
    assert printed["limited_by"] == "memory"
    assert printed["spill"] is None


def test_json_without_a_bound_is_null(kvcalc: Kvcalc) -> None:
    words = ("estimate", "llama-3-8b", "--weights", "16GB")
    printed = json.loads(kvcalc(*words, "--json").stdout)

    assert printed["decode"] is None
    assert f"no bound of decoding: {GIVEN}" in texts(printed["notes"])
    table = kvcalc(*words)
    assert f"note: no bound of decoding: {GIVEN}\n" in table.stderr
    assert "decode bound" not in table.stdout


def test_json_holds_what_is_spilled(kvcalc: Kvcalc) -> None:
    words = "estimate llama-3-70b --tp 2 --batch 32 --context 8192 --spill --json"
    spill = json.loads(kvcalc(*words.split()).stdout)["decode"]["spill"]

    assert set(spill) == {"room_bytes", "spilled_bytes_per_rank", "spilled_bytes", "link_seconds"}
    assert spill["room_bytes"] + spill["spilled_bytes_per_rank"] == 40 * 2**30


def test_the_bound_is_explained(kvcalc: Kvcalc) -> None:
    text = kvcalc("estimate", "llama-3-70b", "--tp", "4", "--batch", "32", "-c", "8192", "--explain").stdout

    assert "34,751,516,672" in text
    assert "21,474,836,480" in text
    assert "memory seconds" in text
    assert "0.0168" in text
