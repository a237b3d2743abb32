"""The smallest deployments that hold a workload, by hand: with experts, prices, spares and published models."""

from __future__ import annotations

import json
from dataclasses import replace
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import pytest
from conftest import texts

import kvcalc
from kvcalc.catalogue import CONFIGS, shipped_gpus
from kvcalc.mechanisms import GQA, MHA, MQA, NoAttention
from kvcalc.model.layers import LayerGroup
from kvcalc.model.model import WeightPart
from kvcalc.verbs.planning.result import Plan
from kvcalc.verbs.searching.nodes import Nodes

if TYPE_CHECKING:
    from conftest import Kvcalc
from plan_rules import Way, way_of

# Worked by hand: a token takes 64 bytes in a layer; all of the weights are 1,000 bytes.

ONE = kvcalc.Model(
    name="m",
    dtype="bf16",
    layers=(LayerGroup(count=1, attention=GQA(num_heads=4, num_kv_heads=2, head_dim=8)),),
)


def small(memory: int, node: int = 8, name: str = "any") -> kvcalc.Gpu:
    return kvcalc.Gpu(name=name, memory_bytes=memory, memory_from="user", gpus_per_node=node)


ALONE: dict[str, Any] = {"context": 10, "weights": 1000, "temporary": 0, "overhead": 0, "utilization": 1}


def ways(result: Plan) -> list[str]:
    return [f"{row.count}: {row.deployment}" for row in result.deployments]


@pytest.mark.parametrize(
    ("batch", "memory", "options", "expected"),
    [
        # 640 bytes a sequence on one GPU, 320 on two, and on four too: the heads are two. 160 where they share tokens
        (1, 1640, {}, ["1: tp 1", "2: tp 2", "4: tp 4, dcp 2"]),
        (1, 1639, {}, ["2: tp 2", "4: tp 4, dcp 2"]),
        (3, 1640, {}, ["2: tp 2", "4: tp 4, dcp 2"]),  # three of tp 1 are more GPUs and hold no more
        (3, 1640, {"tp": (4, 1)}, ["3: tp 1 x dp 3", "4: tp 4, dcp 2"]),
        (3, 1640, {"tp": "1,2", "limit": 1}, ["2: tp 2"]),
        (3, 1640, {"tp": 4}, ["4: tp 4, dcp 2"]),
        (3, 1640, {"tp": 1}, ["3: tp 1 x dp 3"]),
        (3, 1640, {"tp": 1, "max_gpus": 2}, []),
        # 4 sequences on two replicas of two, which hold 3 each, or one on each of four
        (4, 1640, {"node_size": 2}, ["4: tp 2 x dp 2"]),
        (4, 1140, {}, ["4: tp 4, dcp 2", "8: tp 4 x dp 2"]),  # contexts of 12, and of 13
        # a spare replica is of the same kind
        (1, 1640, {"spare": 1}, ["2: tp 1", "4: tp 2", "8: tp 4, dcp 2"]),
        (3, 1640, {"spare": 1}, ["4: tp 2", "8: tp 4, dcp 2"]),
        (3, 1640, {"spare": 2, "max_gpus": 5}, ["5: tp 1 x dp 3"]),
        # whole nodes: all that fits on one is as many GPUs, and tp 4 with shared tokens holds most
        (3, 1640, {"whole_nodes": True}, ["8: tp 4, dcp 2"]),
        (3, 1640, {"whole_nodes": True, "tp": 1, "node_size": 2}, ["4: tp 1 x dp 3"]),
        (3, 1640, {"whole_nodes": True, "tp": 1, "node_size": 2, "max_gpus": 3}, []),
        (3, 1640, {"whole_nodes": True, "tp": 4, "node_size": 2, "spare": 1}, ["8: tp 4, dcp 2"]),
        (3, 1640, {"whole_nodes": True, "tp": 2, "node_size": 3, "spare": 1}, ["6: tp 2"]),
        # the prefix once: 384 + 3 x 256
        (3, 2152, {"shared_prefix": 6, "tp": 1}, ["1: tp 1"]),
        (3, 2151, {"shared_prefix": 6, "tp": 1}, ["2: tp 1 x dp 2"]),
    ],
)
def test_worked_plans(batch: int, memory: int, options: dict[str, Any], expected: list[str]) -> None:
    result = kvcalc.plan(ONE, gpu=small(memory), batch=batch, **ALONE, **options)
    assert ways(result) == expected
    assert not options.get("whole_nodes") or all(
        row.count == row.nodes * options.get("node_size", 8) for row in result.deployments
    )


@pytest.mark.parametrize(
    ("tp", "groups", "size", "nodes"),
    [(1, 8, 8, 1), (1, 9, 8, 2), (8, 3, 8, 3), (3, 2, 8, 1), (3, 3, 8, 2), (5, 3, 8, 3), (16, 2, 8, 4), (12, 1, 8, 2)],
)
def test_the_ranks_of_a_stage_lie_on_one_node(tp: int, groups: int, size: int, nodes: int) -> None:
    whole = Nodes(size, whole=True)
    assert whole.number(tp, groups) == nodes
    assert (whole.gpus(tp, groups), Nodes(size).gpus(tp, groups)) == (nodes * size, tp * groups)
    assert whole.most_groups(tp, nodes * size) >= groups > whole.most_groups(tp, nodes * size - 1)
    assert Nodes(size).most_groups(tp, tp * groups) == groups


TWO = replace(ONE, layers=(LayerGroup(count=3, attention=MHA(num_heads=1, head_dim=16)),))


@pytest.mark.parametrize(
    ("memory", "options", "expected"),
    [
        # a layer keeps 640 bytes of a sequence; a GPU has 1,000 bytes of weights, or its third, or half
        (1000 + 3 * 640, {}, ["1: tp 1"]),
        (1000 + 3 * 640, {"allow_pp": True}, ["1: tp 1", "2: tp 1 x pp 2", "3: tp 1 x pp 3"]),
        (1000 + 3 * 640, {"pp": 3}, ["3: tp 1 x pp 3"]),
        (1000 + 3 * 640 - 1, {}, ["2: tp 1 x pp 2", "3: tp 1 x pp 3"]),
        (500 + 2 * 640 - 1, {}, ["3: tp 1 x pp 3"]),  # the first of two stages has two layers
        (500 + 2 * 640 - 1, {"pp": 1}, []),
        (334 + 640 - 1, {}, []),
    ],
)
def test_worked_pipelines(memory: int, options: dict[str, Any], expected: list[str]) -> None:
    result = kvcalc.plan(TWO, gpu=small(memory), **ALONE, **options)
    assert ways(result) == expected
    untried = "pipeline stages are not tried: a tp of one node holds the batch (--allow-pp tries them)"
    assert (untried in texts(result.notes)) == (memory == 1000 + 3 * 640 and not options)


def test_stages_that_are_exactly_full_of_weights() -> None:
    """No cache at all, and 4,000 bytes of weights on GPUs of 1,000."""
    model = replace(ONE, layers=(LayerGroup(count=8, attention=NoAttention()),))
    options = {**ALONE, "weights": 4000}
    assert ways(kvcalc.plan(model, gpu=small(1000), max_gpus=5, **options)) == ["4: tp 1 x pp 4"]
    assert ways(kvcalc.plan(model, gpu=small(999), max_gpus=5, **options)) == ["5: tp 1 x pp 5"]


EXPERTS = replace(
    ONE,
    num_experts=4,
    layers=(LayerGroup(count=1, attention=MQA(num_heads=1, head_dim=16)),),
    weights=(
        WeightPart(part="embedding", parameters=100, format="fp8", place="embedding"),
        WeightPart(part="experts", parameters=1200, format="fp8", split="ep"),
    ),
)


@pytest.mark.parametrize(
    ("memory", "expected"),
    [
        # 100 bytes on every GPU, 1,200 of experts on each or shared, and 640 for each of three sequences
        (1300 + 3 * 640, ["1: tp 1", "2: tp 1 x dp 2, dp-attention, ep 2"]),
        (1300 + 2 * 640, ["2: tp 1 x dp 2, dp-attention, ep 2"]),  # sharing leaves more
        (700 + 2 * 640, ["2: tp 1 x dp 2, dp-attention, ep 2"]),
        (500 + 640, ["3: tp 1 x dp 3, dp-attention, ep 1"]),
        (500 + 640 - 1, ["4: tp 1 x dp 4, dp-attention, ep 4"][:0]),
        (400 + 640, []),
    ],
)
def test_worked_experts(memory: int, expected: list[str]) -> None:
    options = {key: value for key, value in ALONE.items() if key != "weights"}
    result = kvcalc.plan(EXPERTS, gpu=small(memory), batch=3, max_gpus=3, **options)
    assert [text.replace("dp-attention, ep 1", "dp-attention") for text in expected] == ways(result)


def test_a_spare_of_shared_experts_is_all_of_them() -> None:
    options = {key: value for key, value in ALONE.items() if key != "weights"}
    result = kvcalc.plan(EXPERTS, gpu=small(700 + 2 * 640), batch=3, spare=1, **options)
    assert ways(result) == ["4: tp 1 x dp 2, dp-attention, ep 2"]


# Several accelerators, prices, and workloads in other words.

BIG, LITTLE = small(2280, name="big"), small(1640, name="little")


@pytest.mark.parametrize(
    ("prices", "expected"),
    [
        ({}, ["1 big", "2 little", "2 big"]),  # of each the best, and then the rest
        ({"big": 3, "little": 1}, ["2 little", "1 big", "2 big"]),
        ({"big": "2", "little": Fraction(1)}, ["1 big", "2 little", "2 big"]),
        ({"little": 0.5}, ["2 little", "1 big", "2 big"]),  # those without a price come last
        ({"LITTLE": 5}, ["2 little", "1 big", "2 big"]),
    ],
)
def test_fewer_gpus_come_first_unless_there_are_prices(prices: dict[str, Any], expected: list[str]) -> None:
    result = kvcalc.plan(ONE, gpu=[LITTLE, BIG], batch=2, max_gpus=2, prices=prices, **ALONE)
    assert [f"{row.count} {row.gpu}" for row in result.deployments] == expected
    known = {name.lower(): Fraction(str(price)) for name, price in prices.items()}
    for row in result.deployments:
        assert row.usd_per_hour == (float(row.count * known[row.gpu]) if row.gpu in known else None)


def test_a_limit_is_of_all_accelerators_together() -> None:
    result = kvcalc.plan(ONE, gpu=[LITTLE, BIG], batch=2, limit=2, **ALONE)
    assert [(row.count, row.gpu, row.deployment.tp) for row in result.deployments] == [(1, "big", 1), (2, "little", 2)]
    assert {row.gpu for row in result.rejected} == {"little"}


def test_the_best_of_every_accelerator_that_is_named_is_there() -> None:
    """Also where they are more than are shown otherwise."""
    named = [small(1640 + 640 * more, name=f"g{more:02}") for more in range(12)]
    result = kvcalc.plan(ONE, gpu=named, batch=2, **ALONE)
    assert [row.gpu for row in result.deployments] == [*(gpu.name for gpu in named[1:]), "g00"]
    assert [row.count for row in result.deployments] == [1] * 11 + [2]


def test_an_accelerator_that_holds_nothing_is_told_with_the_reason() -> None:
    tiny = small(200, name="tiny")
    result = kvcalc.plan(ONE, gpu=[tiny, BIG], batch=2, max_gpus=2, **ALONE)
    assert {row.gpu for row in result.deployments} == {"big"}
    assert result.nearest is None
    assert {(row.gpu, row.tp) for row in result.rejected} == {("tiny", 1), ("tiny", 2)}
    (unserved,) = result.unserved
    assert unserved.gpu == "tiny"
    assert unserved.reason == (
        "nothing legal of at most 2 GPUs holds 2 x 10 tokens; nearest: 2 x tiny (tp 2) lacks 620 bytes a GPU for one"
    )


@pytest.mark.parametrize(
    ("options", "batch", "note"),
    [
        ({}, 1, None),
        ({"batch": 7}, 7, None),
        ({"tokens": 70}, 7, "70 tokens are 7 sequences of at most 10"),
        ({"tokens": 71}, 8, "71 tokens are 8 sequences of at most 10"),
        ({"tokens": 9}, 1, "9 tokens are 1 sequence of at most 10"),
        ({"tokens": "1Ki"}, 103, "1,024 tokens are 103 sequences of at most 10"),
        ({"rps": 2, "latency": 3}, 6, "2 requests a second x 3 s each: 6 sequences are held at a time (Little's law)"),
        ({"rps": "2.5", "latency": "0.9"}, 3, "2.5 requests a second x 0.9 s each: 3 sequences are"),
        ({"rps": 0.1, "latency": 30}, 3, "3 sequences are"),  # and not four of 0.1 x 30 in binary
        ({"rps": 0.001, "latency": 1}, 1, "0.001 requests a second x 1 s each: 1 sequence is held at a time"),
    ],
)
def test_a_workload_in_other_words(options: dict[str, Any], batch: int, note: str | None) -> None:
    result = kvcalc.plan(ONE, gpu=small(1640), **ALONE, **options)
    assert (result.workload.batch, result.workload.context) == (batch, 10)
    assert note is None or any(note in each for each in texts(result.notes))
    assert result.deployments == kvcalc.plan(ONE, gpu=small(1640), batch=batch, **ALONE).deployments


# Right answers that pooled memory gets wrong.


def test_deepseek_v3_on_h200() -> None:
    """Ranks of MLA hold the same latents: sharing tokens, or sharing out sequences, is what helps."""
    result = kvcalc.plan("deepseek-v3", gpu="h200", batch=24, context=131_072, max_gpus=8)
    (first,) = result.deployments
    assert (first.count, way_of(first), first.max_batch) == (8, Way(8, 1, 8, joined=False), 42)
    apart = kvcalc.plan("deepseek-v3", gpu="h200", batch=24, context=131_072, max_gpus=8, tp=1, pp=1)
    assert [(way_of(row), row.max_batch) for row in apart.deployments] == [(Way(1, 1, 1, joined=True), 24)]
    assert kvcalc.capacity("deepseek-v3", gpu="h200", context=131_072, tp=8).sequences == 5


@pytest.mark.parametrize(
    ("batch", "expected"),
    [
        (1, ["2: tp 2", "4: tp 4", "8: tp 8"]),
        # a GPU of four has 39,506,161,009 bytes for sequences of 671,088,640
        (58, ["4: tp 4", "8: tp 8"]),
        (61, ["8: tp 8"]),
    ],
)
def test_llama_3_70b_on_h100(batch: int, expected: list[str]) -> None:
    assert ways(kvcalc.plan("llama-3-70b", batch=batch, context=8192)) == expected


def test_the_most_is_with_the_usual_temporary_memory_as_in_capacity() -> None:
    """4 sequences on two GPUs are held with the least temporary memory, and 3 with 1.5 GiB."""
    three, four = (kvcalc.plan("llama-3-70b", batch=batch, context=8192, max_gpus=2).deployments[0] for batch in (3, 4))
    assert (three.tight, three.max_batch, four.tight, four.max_batch) == (True, 3, True, 3)
    assert three.headroom_bytes > 0 > four.headroom_bytes
    found = kvcalc.capacity("llama-3-70b", batch=4, context=8192, tp=2)
    assert (four.max_batch, four.max_context) == (found.sequences, found.max_context)


def test_what_a_plan_costs() -> None:
    """At most 1,177.6 tokens a second, of 4 GPUs for 3 USD an hour each."""
    (row, _) = kvcalc.plan("llama-3-70b", batch=16, context=8192, max_gpus=8, prices={"h100": 3}).deployments
    assert (row.count, row.nodes, row.usd_per_hour, row.usd_per_month) == (4, 1, 12, 12 * 730)
    assert row.tokens_per_second is not None
    assert row.usd_per_million_tokens == pytest.approx(12 / 3600 / row.tokens_per_second * 10**6)
    decode = kvcalc.estimate("llama-3-70b", batch=16, context=8192, tp=4).decode
    assert decode is not None
    assert row.tokens_per_second == decode.tokens_per_second
    free = kvcalc.plan("llama-3-70b", batch=16, context=8192, max_gpus=8).deployments[0]
    assert (free.usd_per_hour, free.usd_per_month, free.usd_per_million_tokens) == (None, None, None)


def test_a_pipeline_is_as_full_as_its_fullest_stage() -> None:
    """The first of 7 stages has 9 of 61 layers, and the embedding."""
    (row,) = kvcalc.plan("deepseek-v3", gpu="h200", batch=16, context=131_072, tp=1, pp=7, max_gpus=7).deployments
    fullest = kvcalc.estimate("deepseek-v3", gpu="h200", batch=16, context=131_072, tp=1, pp=7).memory.per_rank
    assert fullest.cache_bytes == 9 * 16 * 131_072 * 576 * 2
    assert row.bytes_per_rank == fullest.total_bytes


def test_all_accelerators_are_those_of_servers_with_a_measured_memory(kvcalc: Kvcalc) -> None:
    run = kvcalc("plan", "llama-3-8b", "-c", "8192", "--gpu", "all", "--limit", "1000", "--json")
    body = json.loads(run.stdout)
    own = {path.stem for path in (CONFIGS / "gpus").glob("*.yaml")}
    measured = {gpu.name for gpu in shipped_gpus() if gpu.memory_from in {"runtime", "nvidia-smi"}} & own
    unmeasured = len(list(shipped_gpus())) - len(measured)

    assert (run.code, {row["gpu"] for row in body["deployments"]}) == (0, measured)
    assert (
        f"{unmeasured} accelerators are left out: cards of single machines, and those without a measured memory"
        in texts(body["notes"])
    )


def test_what_is_spare_is_on_the_fullest_stage() -> None:
    """Of a pipeline the stage with the most cache may have room where another, with more experts, has none."""
    planned = kvcalc.plan("deepseek-v3", gpu="a100-40gb", context=1, limit=1).deployments[0]
    assert (planned.deployment.tp, planned.deployment.pp, planned.tight) == (1, 21, True)
    answer = kvcalc.estimate("deepseek-v3", gpu="a100-40gb", context=1, pp=21).answer
    assert answer is not None
    assert planned.headroom_bytes == answer.headroom_bytes
    assert planned.headroom_bytes < 0 < planned.usable_bytes - planned.bytes_per_rank
