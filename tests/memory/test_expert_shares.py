"""Experts over the ranks that share them, and what is said of GPUs that are left over."""

from __future__ import annotations

from typing import Any

import pytest
from conftest import texts
from deployment_rules import latent, laws
from hypothesis import given
from hypothesis import strategies as st

import kvcalc
from kvcalc.mechanisms import MHA
from kvcalc.memory import rank_memories
from kvcalc.model.layers import LayerGroup
from kvcalc.model.model import WeightPart

EXPERTS = 653_908_770_816
EXPERTS_SCALES = 4 * 39_911_424
REST = 14_233_370_624 + 2 * 926_679_040 * 2 + 4 * 868_736
COPIES = 923_467_776 + 2 * 107_437_056 + 4 * 58_072
"""Bytes of DeepSeek-V3: fp8 layers, bf16 embedding and head, fp32 scales; and what tensor-parallel ranks copy: latent
down-projections, routers and norms, scales."""


@pytest.mark.parametrize(
    ("options", "rank", "replica"),
    [
        # Replicas without shared experts hold all of it, however the experts fall within them.
        (
            {"tp": 8, "ep": 8, "dp": 2},
            (EXPERTS + EXPERTS_SCALES + REST) // 8 + COPIES,
            EXPERTS + EXPERTS_SCALES + REST + 8 * COPIES,
        ),
        (
            {"tp": 8, "ep": 4},
            (EXPERTS + EXPERTS_SCALES + REST) // 8 + COPIES,
            EXPERTS + EXPERTS_SCALES + REST + 8 * COPIES,
        ),
        # Experts over tp x dp, all else whole in each replica.
        (
            {"dp": 8, "dp_attention": True},
            (EXPERTS + EXPERTS_SCALES) // 8 + REST + COPIES,
            (EXPERTS + EXPERTS_SCALES) // 8 + REST + COPIES,
        ),
        (
            {"dp": 8, "dp_attention": True, "ep": 8},
            (EXPERTS + EXPERTS_SCALES) // 8 + REST + COPIES,
            (EXPERTS + EXPERTS_SCALES) // 8 + REST + COPIES,
        ),
        (
            {"tp": 2, "dp": 4, "dp_attention": True, "ep": 2},
            (EXPERTS + EXPERTS_SCALES) // 8 + REST // 2 + COPIES,
            (EXPERTS + EXPERTS_SCALES) // 4 + REST + 2 * COPIES,
        ),
        # 256 experts over 24 ranks: the fullest has 11. Over 6 groups of 4 ranks: the fullest group has 43.
        (
            {"tp": 8, "dp": 3, "dp_attention": True, "ep": 24},
            11 * 2_554_331_136 + 11 * 623_616 + REST // 8 + COPIES,
            -(-EXPERTS // 3) + -(-EXPERTS_SCALES // 3) + REST + 8 * COPIES,
        ),
        (
            {"tp": 8, "dp": 3, "dp_attention": True, "ep": 6},
            43 * 2_554_331_136 // 4 + 43 * 623_616 // 4 + REST // 8 + COPIES,
            -(-EXPERTS // 3) + -(-EXPERTS_SCALES // 3) + REST + 8 * COPIES,
        ),
    ],
)
def test_experts_over_the_ranks_that_share_them(options: dict[str, Any], rank: int, replica: int) -> None:
    memory = kvcalc.estimate("deepseek-v3", context=1, **options).memory

    assert memory.per_rank.weights_bytes == rank
    assert memory.weights_bytes == replica


@laws
@given(st.integers(2, 40), st.sampled_from([1, 2, 3, 4, 6, 12]), st.integers(1, 6), st.integers(1, 10**6), st.data())
def test_whole_experts_dealt_to_groups_of_ranks(experts: int, tp: int, dp: int, size: int, data: st.DataObject) -> None:
    """Experts of `size` bytes, and 120 bytes of other weights."""
    joined = dp > 1 and data.draw(st.booleans())
    ranks = tp * dp if joined else tp
    ep = data.draw(st.sampled_from([n for n in range(1, min(ranks, experts) + 1) if ranks % n == 0]))
    model = kvcalc.Model(
        name="m",
        num_experts=experts,
        layers=(LayerGroup(count=1, attention=latent(12)),),
        weights=(
            WeightPart(part="experts", parameters=experts * size, format="fp8", split="ep"),
            WeightPart(part="rest", parameters=120, format="fp8"),
        ),
    )
    groups = [0] * ep
    for expert in range(experts):
        groups[expert % ep] += 1

    scenario = kvcalc.make_scenario(model, context=1, tp=tp, dp=dp, ep=ep, dp_attention=joined)
    (memory,) = rank_memories(scenario, kvcalc.Deployment(tp, 1, dp, ep, dp_attention=joined))
    assert memory.weights is not None
    assert memory.weights.bytes == -(-max(groups) * size // (ranks // ep)) + 120 // tp


def test_joined_replicas_communicate() -> None:
    """0.5 GiB for every doubling of the ranks that exchange activations: 4 without shared experts, 16 with them."""
    apart = kvcalc.estimate("deepseek-v3", context=1, tp=2, pp=2, dp=4).memory.per_rank.overhead_bytes
    joined = kvcalc.estimate("deepseek-v3", context=1, tp=2, pp=2, dp=4, dp_attention=True).memory.per_rank

    assert joined.overhead_bytes - apart == 2**30


def test_without_dims_experts_cannot_be_shared() -> None:
    """Then the total is divided within the replica, and that is said."""
    model = kvcalc.Model(
        name="m", parameters=1000, num_experts=4, layers=(LayerGroup(count=1, attention=MHA(num_heads=2, head_dim=1)),)
    )
    answer = kvcalc.estimate(model, context=1, tp=2, dp=2, dp_attention=True)

    assert answer.memory.per_rank.weights_bytes == 1000
    assert any(
        "total / (tp x pp), since the sizes of the embedding, layers or experts are not known" in n
        for n in texts(answer.notes)
    )


# The best of a few GPUs.


def best_note(**options: Any) -> tuple[kvcalc.Deployment | None, str]:
    scenario = kvcalc.estimate("llama-3-70b", gpus=3, **options).scenario
    return scenario.deployment, scenario.notes[-1].text


def test_of_three_gpus_two_are_used() -> None:
    assert best_note(context=1000) == (kvcalc.Deployment(2), "--gpus 3: 2 in use, as tp 2")


def test_the_gpus_that_would_do_are_named() -> None:
    """Weights of 131.4 GiB and a cache of 80 GiB leave no memory for all else on 3 GPUs of 72.8 GiB."""
    deployment, text = best_note(batch=32, context=8192)

    assert deployment == kvcalc.Deployment(1, 3)
    assert text == "--gpus 3: 3 in use, as tp 1 x pp 3; they do not hold the workload, 4 do (tp 4)"


def test_nothing_is_named_where_nothing_would_do() -> None:
    _, text = best_note(batch=32, context=8192, reserve={"x": "100GB"})

    assert text.endswith("they do not hold the workload")


# Nodes.


@pytest.mark.parametrize(
    ("node_size", "tp", "pp"), [(None, 4, 3), (16, 16, 1), (64, 16, 1), (8, 4, 3), (4, 4, 3), (2, 2, 6), (1, 1, 12)]
)
def test_tensor_parallelism_stays_within_a_node(node_size: int | None, tp: int, pp: int) -> None:
    """Llama-3.1-405B: 811.7 GB of weights on GPUs of 78.2 GB usable; 16 ranks of one node do, 8 do not."""
    gpus = kvcalc.estimate("llama-3.1-405b", context=1, node_size=node_size).gpus

    assert gpus.deployment == kvcalc.Deployment(tp, pp)
