"""The bound of decoding over windows, prefixes, stages and replicas."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from typing import Any

import pytest
from decode_samples import BF16, FP8, H100, H200, accelerator, bound, small, with_experts

from kvcalc.mechanisms import MHA, NoAttention
from kvcalc.model.layers import LayerGroup


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
