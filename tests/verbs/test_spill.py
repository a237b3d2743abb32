"""Cache that is spilled to the host: how much, over which link, and what that costs a step."""

from __future__ import annotations

from dataclasses import astuple, replace
from fractions import Fraction
from typing import Any

import pytest
from conftest import texts
from decode_samples import accelerator, bound, small

import kvcalc
from kvcalc.mechanisms import MHA, MQA
from kvcalc.model.layers import LayerGroup
from kvcalc.model.model import WeightPart
from kvcalc.verbs.estimate_result import SpillResult

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
        "--spill: only cache can be kept in host memory, and a rank lacks 1 byte for the rest; give more ranks "
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
        "spill: tp 2 is used, the smallest deployment that holds the weights (--tp N sets it)"
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
        (
            "palm-540b",
            {},
            "--spill: what is left beside the weights is not known: give --weights SIZE or --parameters N",
        ),
        (
            "llama-3-8b",
            {"temporary": "100GB"},
            (
                "--spill: no legal deployment holds weights, temporary memory, overhead and reserves; "
                "cache alone can go to host memory"
            ),
        ),
    ],
)
def test_nothing_to_spill_from(model: str, options: dict[str, Any], message: str) -> None:
    with pytest.raises(kvcalc.KvcalcError) as refusal:
        kvcalc.estimate(model, spill=True, **options)
    assert str(refusal.value) == message


def test_of_a_spilled_sparse_cache_only_what_a_step_reads_can_cross_the_link() -> None:
    """The rank has memory for a quarter of the cache, which is more than a step reads: nothing must cross."""
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
