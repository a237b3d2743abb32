"""The smallest deployments that hold a workload, against a search of everything legal, and the words around them."""

from __future__ import annotations

import csv
import io
import json
import re
from dataclasses import astuple, replace
from fractions import Fraction
from itertools import product
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest
from conftest import texts
from hypothesis import given, settings
from hypothesis import strategies as st

import kvcalc
from kvcalc.catalogue import shipped_gpus
from kvcalc.mechanisms import GQA, MHA, MLA, MQA, Attention, NoAttention, Shared
from kvcalc.model.layers import LayerGroup
from kvcalc.model.model import WeightPart
from kvcalc.verbs.plan_result import Plan, Planned

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from conftest import Kvcalc

laws = settings(max_examples=50, deadline=None)

# What is legal, restated from the rules.


def heads_of(attention: Attention) -> tuple[int, int] | None:
    """Query heads, and heads of what is kept: one of a latent, as of MQA. None without attention of its own."""
    match attention:
        case MHA(num_heads=heads):
            return heads, heads
        case GQA(num_heads=heads, num_kv_heads=kv_heads):
            return heads, kv_heads
        case MQA(num_heads=heads) | MLA(num_heads=heads):
            return heads, 1
    return None


def groups_of(model: kvcalc.Model) -> list[LayerGroup]:
    return [group for group in model.layers if isinstance(group, LayerGroup)]


def tp_is_legal(model: kvcalc.Model, tp: int) -> bool:
    every = [pair for group in groups_of(model) if (pair := heads_of(group.attentions[0])) is not None]
    return all(heads % tp == 0 and (kv_heads % tp == 0 or tp % kv_heads == 0) for heads, kv_heads in every)


def dcps_of(model: kvcalc.Model, tp: int) -> list[int]:
    """Each full layer's heads are on as many ranks each, which fall into groups of dcp; windows are not split."""
    full = [group for group in groups_of(model) if group.window is None and heads_of(group.attentions[0]) is not None]
    copies = [max(1, tp // pair[1]) for group in full if (pair := heads_of(group.attentions[0])) is not None]
    return [dcp for dcp in range(1, tp + 1) if all(ranks % dcp == 0 for ranks in copies)] if copies else [1]


def eps_of(model: kvcalc.Model, ranks: int) -> list[int]:
    experts = model.num_experts or 1
    return [ep for ep in range(1, ranks + 1) if ranks % ep == 0 and ep <= experts]


class Limits(NamedTuple):
    """What a plan is asked to stay within."""

    max_gpus: int
    spare: int = 0
    tp: int | None = None
    pp: int | None = None
    allow_pp: bool = False


class Way(NamedTuple):
    """How a replica is spread; dp-attention joins replicas."""

    tp: int
    pp: int
    dcp: int
    joined: bool

    def gpus(self, dp: int, spare: int) -> int:
        """What shares its experts is of no use without any of its replicas, so it is spared as a whole."""
        return self.tp * self.pp * (dp * (1 + spare) if self.joined else dp + spare)


def holds(scenario: kvcalc.Scenario, deployment: kvcalc.Deployment) -> bool:
    gpus = kvcalc.estimate(replace(scenario, deployment=deployment)).gpus
    return bool(gpus.fits or gpus.tight)


def tps_of(scenario: kvcalc.Scenario, limits: Limits) -> list[int]:
    node = range(1, (scenario.gpu.gpus_per_node or 8) + 1) if limits.tp is None else [limits.tp]
    return [tp for tp in node if tp_is_legal(scenario.model, tp)]


def stages_are_tried(scenario: kvcalc.Scenario, limits: Limits) -> bool:
    """Where allowed, asked for, or where no tp of a node alone holds the whole batch."""
    if scenario.allow_pp or limits.pp is not None:
        return True
    return not any(holds(scenario, kvcalc.Deployment(tp)) for tp in tps_of(scenario, limits))


def ways_of(scenario: kvcalc.Scenario, limits: Limits) -> Iterator[Way]:
    model = scenario.model
    layers = sum(group.count for group in groups_of(model))
    most_stages = layers if stages_are_tried(scenario, limits) else 1
    for tp, pp in product(tps_of(scenario, limits), range(1, most_stages + 1)):
        if limits.pp not in (None, pp):
            continue
        for dcp in dcps_of(model, tp):
            yield Way(tp, pp, dcp, joined=False)
            if (model.num_experts or 1) > 1:
                yield Way(tp, pp, dcp, joined=True)


def by_search(scenario: kvcalc.Scenario, limits: Limits) -> dict[Way, int]:
    """For each way, the fewest replicas that hold the batch with any spread of the experts."""
    found: dict[Way, int] = {}
    for way in ways_of(scenario, limits):
        dp = 2 if way.joined else 1
        while way.gpus(dp, limits.spare) <= limits.max_gpus and way not in found:
            ranks = way.tp * dp if way.joined else way.tp
            spreads = (
                kvcalc.Deployment(way.tp, way.pp, dp, ep, way.dcp, dp_attention=way.joined)
                for ep in eps_of(scenario.model, ranks)
            )
            if any(holds(scenario, deployment) for deployment in spreads):
                found[way] = dp
            dp += 1
    return found


# Random questions.


@st.composite
def attentions(draw: st.DrawFn, heads: int) -> Attention:
    kv_heads = draw(st.sampled_from([n for n in range(1, heads + 1) if heads % n == 0]))
    width = draw(st.integers(1, 64))
    kinds: list[Attention] = [
        MHA(num_heads=heads, head_dim=width),
        MQA(num_heads=heads, head_dim=width),
        GQA(num_heads=heads, num_kv_heads=kv_heads, head_dim=width),
        MLA(num_heads=heads, kv_lora_rank=width, qk_rope_head_dim=4, qk_nope_head_dim=2, v_head_dim=2),
    ]
    return draw(st.sampled_from(kinds))


@st.composite
def models(draw: st.DrawFn, scale: int) -> kvcalc.Model:
    heads = draw(st.sampled_from([1, 2, 4, 6, 8]))
    groups = [LayerGroup(count=draw(st.integers(1, 3)), attention=draw(attentions(heads)))]
    for _ in range(draw(st.integers(0, 2))):
        kept = st.one_of(attentions(heads), st.just(Shared()), st.just(NoAttention()))
        attention: Attention = draw(kept)
        window = draw(st.sampled_from([None, 1, 100])) if attention.cached() else None
        groups.append(LayerGroup(count=draw(st.integers(1, 2)), attention=attention, window=window))
    experts = draw(st.sampled_from([None, 3, 4, 8]))
    size = st.integers(1, 10_000).map(lambda number: number * scale)
    parts = (
        WeightPart(part="embedding", parameters=draw(size), format="bf16", place="embedding"),
        WeightPart(part="experts", parameters=5 * draw(size), format="fp8", split="ep" if experts else "tp"),
        WeightPart(part="layers", parameters=draw(size), format="bf16"),
        WeightPart(part="router", parameters=1 + draw(size) // 50, format="bf16", split="all"),
        WeightPart(part="head", parameters=draw(size), format="bf16", place="head"),
    )
    listed = draw(st.sampled_from([True, True, False]))
    return kvcalc.Model(
        name="random",
        dtype="bf16",
        parameters=None if listed else draw(size),
        num_experts=experts,
        first_k_dense=draw(st.sampled_from([None, 1])) if experts else None,
        tie_word_embeddings=draw(st.booleans()),
        weights=parts if listed else (),
        layers=tuple(groups),
    )


@st.composite
def questions(draw: st.DrawFn) -> tuple[kvcalc.Scenario, Limits]:
    """Memory from much too little to plenty; overhead that grows with the ranks, or none."""
    small = draw(st.booleans())
    model = draw(models(1 if small else 500_000))
    batch = draw(st.integers(1, 40))
    context = draw(st.integers(1, 300 if small else 20_000))
    fixed = draw(st.integers(0, 1000)) if small else None
    prefix = draw(st.sampled_from([None, None, None, context // 2 or 1]))
    wanted = kvcalc.estimate(model, batch=batch, context=context, temporary=0, overhead=0).memory.total_bytes or 0
    beside = 2 * (fixed or 0) if small else 10**9 * draw(st.integers(1, 9))
    memory = beside + max(1, wanted * 10 // draw(st.integers(5, 90)))
    scenario = kvcalc.make_scenario(
        model,
        batch=batch,
        context=context,
        shared_prefix=prefix,
        temporary=fixed,
        overhead=fixed,
        utilization=1,
        gpu=kvcalc.Gpu(name="any", gpus_per_node=draw(st.sampled_from([None, 1, 2, 4, 6]))),
        gpu_memory=memory,
        allow_pp=draw(st.booleans()),
    )
    limits = Limits(draw(st.integers(1, 8)), draw(st.sampled_from([0, 0, 0, 1, 2])))
    if draw(st.sampled_from([False, False, True])):
        layers = sum(group.count for group in groups_of(model))
        limits = limits._replace(tp=draw(st.sampled_from([tp for tp in range(1, 9) if tp_is_legal(model, tp)])))
        limits = limits._replace(pp=draw(st.none() | st.integers(1, layers)))
    return scenario, limits


def planned(scenario: kvcalc.Scenario, limits: Limits, limit: int = 1000, **options: Any) -> Plan:
    given = scenario.replacements
    return kvcalc.plan(
        scenario.model,
        gpu=scenario.gpu,
        batch=scenario.workload.batch,
        context=scenario.workload.context,
        shared_prefix=scenario.shared_prefix or None,
        temporary=given.temporary,
        overhead=given.overhead,
        utilization=scenario.utilization,
        allow_pp=scenario.allow_pp,
        max_gpus=limits.max_gpus,
        spare=limits.spare,
        tp=limits.tp,
        pp=limits.pp,
        limit=limit,
        **options,
    )


def way_of(row: Planned) -> Way:
    deployment = row.deployment
    return Way(deployment.tp, deployment.pp, deployment.dcp, deployment.dp_attention)


@laws
@given(questions())
def test_a_plan_is_what_a_search_of_everything_legal_finds(question: tuple[kvcalc.Scenario, Limits]) -> None:
    scenario, limits = question
    result = planned(scenario, limits)
    expected = by_search(scenario, limits)

    assert {way_of(row): row.deployment.dp for row in result.deployments} == expected
    assert len(result.deployments) == len(expected)
    order = [(row.count, -row.deployment.tp) for row in result.deployments]
    assert order == sorted((way.gpus(dp, limits.spare), -way.tp) for way, dp in expected.items())
    assert (result.nearest is None) == bool(expected)
    best = planned(scenario, limits, limit=3)
    assert best.deployments == result.deployments[:3]
    assert (best.rejected, best.nearest) == (result.rejected, result.nearest)


@laws
@given(questions())
def test_what_is_planned_is_legal_and_holds_the_workload(question: tuple[kvcalc.Scenario, Limits]) -> None:
    scenario, limits = question
    for row in planned(scenario, limits).deployments:
        deployment, way = row.deployment, way_of(row)
        gpus = kvcalc.estimate(replace(scenario, deployment=deployment)).gpus

        assert way in set(ways_of(scenario, limits))
        assert deployment.ep in eps_of(scenario.model, deployment.expert_ranks)
        assert not deployment.dp_attention or deployment.dp > 1
        assert row.count == way.gpus(deployment.dp, limits.spare) <= limits.max_gpus
        assert (gpus.fits, gpus.tight) == (not row.tight, row.tight)
        assert (row.gpu, row.spare, row.usable_bytes) == ("any", limits.spare, scenario.usable_bytes)
        rank = kvcalc.estimate(replace(scenario, deployment=deployment)).memory.per_rank
        assert (row.bytes_per_rank, row.headroom_bytes) == (rank.total_bytes, rank.least_headroom_bytes)


def with_temporary(scenario: kvcalc.Scenario, figure: int) -> kvcalc.Scenario:
    return replace(scenario, replacements=replace(scenario.replacements, temporary=figure))


@laws
@given(questions())
def test_the_most_sequences_and_the_longest_context_are_exact(question: tuple[kvcalc.Scenario, Limits]) -> None:
    scenario, limits = question
    for row in planned(scenario, limits).deployments[:4]:
        asked = replace(scenario, deployment=row.deployment)
        memory = kvcalc.estimate(asked).memory
        usual = with_temporary(asked, memory.per_rank.temporary_bytes)
        if not kvcalc.estimate(usual).gpus.fits:
            usual = with_temporary(asked, memory.temporary_low_bytes // (row.deployment.tp * row.deployment.pp))

        def fits(batch: int, context: int, asked: kvcalc.Scenario = usual) -> bool:
            return kvcalc.estimate(replace(asked, workload=kvcalc.Workload(batch, context))).gpus.fits is True

        batch, context = scenario.workload.batch, scenario.workload.context
        assert fits(batch, context)
        if row.max_batch is None:
            assert fits(10**9, context)
        else:
            assert fits(row.max_batch, context)
            assert not fits(row.max_batch + 1, context)
        if row.max_context is None:
            assert fits(batch, 10**12)
        else:
            assert fits(batch, row.max_context)
            assert not fits(batch, row.max_context + 1)


@laws
@given(questions())
def test_an_estimate_never_counts_fewer_gpus(question: tuple[kvcalc.Scenario, Limits]) -> None:
    """It takes one replica where one is enough; a plan weighs replicas, dcp and shared experts too."""
    scenario, _ = question
    count = kvcalc.estimate(scenario).gpus.count
    if count is not None:
        (first,) = planned(scenario, Limits(max_gpus=count), limit=1).deployments
        assert first.count <= count


REASON = re.compile(
    r"(?:pp (?P<first>\d+) to (?P<last>\d+): none; )?"
    r"(?:with (?:pp (?P<pp>\d+))?(?: and )?(?:dcp (?P<dcp>\d+))? )?"
    r"(?:a GPU lacks [\d,]+ bytes for one sequence|"
    r"a replica holds (?P<held>[\d,]+) sequences?, so (?P<batch>[\d,]+) need (?P<needed>[\d,]+) replicas"
    r"(?: and (?P<spare>\d+) spare)?: (?P<gpus>[\d,]+) GPUs|"
    r"(?:with|and) (?P<only_spare>\d+) spare it is (?P<all_gpus>[\d,]+) GPUs)"
)


@laws
@given(questions())
def test_what_is_rejected_is_smaller_and_the_reason_is_true(question: tuple[kvcalc.Scenario, Limits]) -> None:
    scenario, limits = question
    result = planned(scenario, limits)
    most = result.deployments[0].count - 1 if result.deployments else limits.max_gpus
    for row in result.rejected:
        assert row.gpu == "any"
        assert row.tp * row.pp <= most
        assert row.legal == (not row.reason.startswith("illegal: "))
        if not row.legal:
            assert not tp_is_legal(scenario.model, row.tp)
            continue
        assert tp_is_legal(scenario.model, row.tp)
        found = REASON.fullmatch(row.reason)
        assert found is not None, row.reason
        assert int(found["pp"] or row.pp) == int(found["last"] or row.pp) == row.pp
        dcp = dcps_of(scenario.model, row.tp)[-1]
        sequences = int(found["held"] or 0)
        asked = replace(scenario, deployment=kvcalc.Deployment(row.tp, row.pp, dcp=dcp))
        if found["only_spare"]:
            assert int(found["only_spare"]) == limits.spare > 0
            assert holds(asked, kvcalc.Deployment(row.tp, row.pp, dcp=dcp))
            assert int(found["all_gpus"]) == row.tp * row.pp * (1 + limits.spare)
            continue
        assert int(found["dcp"] or 1) == dcp
        more = replace(asked, workload=replace(scenario.workload, batch=sequences + 1))
        assert not holds(more, kvcalc.Deployment(row.tp, row.pp, dcp=dcp))
        if sequences:
            exact = replace(asked, workload=replace(scenario.workload, batch=sequences))
            needed = -(-scenario.workload.batch // sequences)
            assert holds(exact, kvcalc.Deployment(row.tp, row.pp, dcp=dcp))
            assert (int(found["batch"]), int(found["needed"])) == (scenario.workload.batch, needed)
            assert int(found["spare"] or 0) == limits.spare
            assert int(found["gpus"]) == row.tp * row.pp * (needed + limits.spare)


def deployment_in(words: str) -> kvcalc.Deployment:
    numbers = {name: int(number) for name, number in re.findall(r"\b(tp|pp|dp|dcp|ep) (\d+)", words)}
    return kvcalc.Deployment(**numbers, dp_attention="dp-attention" in words)


@laws
@given(questions())
def test_the_nearest_miss_is_one_and_what_would_do_does(question: tuple[kvcalc.Scenario, Limits]) -> None:
    scenario, limits = question
    nearest = planned(scenario, limits).nearest
    if nearest is None:
        return
    batch, context = scenario.workload.batch, scenario.workload.context
    assert nearest.startswith(f"nothing legal of at most {limits.max_gpus} GPU")
    assert f" holds {batch:,} x {context:,} tokens" in nearest
    miss = re.search(r"; nearest: (\d+) x any \(([^)]*)\) (?:holds (\d+)|lacks ([\d,]+) bytes a GPU for one)", nearest)
    if miss is not None:
        deployment = deployment_in(miss[2])
        way = Way(deployment.tp, deployment.pp, deployment.dcp, deployment.dp_attention)
        held = int(miss[3] or 0)
        assert way in set(ways_of(scenario, limits))
        assert int(miss[1]) == way.gpus(deployment.dp, limits.spare) <= limits.max_gpus
        assert held < batch
        more = replace(scenario, workload=replace(scenario.workload, batch=held + 1))
        assert not holds(more, deployment)
        assert held == 0 or holds(replace(more, workload=replace(more.workload, batch=held)), deployment)
    would = re.search(r"; (?:without [^,]*, )?(\d+) x any would \(([^)]*)\)$", nearest)
    if would is not None:
        deployment = deployment_in(would[2])
        assert holds(scenario, deployment)
        assert int(would[1]) == deployment.tp * deployment.pp * (deployment.dp + limits.spare)


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
        # 640 bytes a sequence on one GPU, 320 on two, and on four too: the heads are two
        (1, 1640, {}, ["1: tp 1", "2: tp 2", "4: tp 4", "4: tp 4, dcp 2"]),
        (1, 1639, {}, ["2: tp 2", "4: tp 4", "4: tp 4, dcp 2"]),
        (3, 1640, {}, ["2: tp 2", "3: tp 1 x dp 3", "4: tp 4", "4: tp 4, dcp 2"]),
        (3, 1640, {"max_gpus": 3}, ["2: tp 2", "3: tp 1 x dp 3"]),
        (3, 1640, {"limit": 1}, ["2: tp 2"]),
        (3, 1640, {"tp": 4}, ["4: tp 4", "4: tp 4, dcp 2"]),
        (3, 1640, {"tp": 1}, ["3: tp 1 x dp 3"]),
        # on ties the larger tp: 4 x 320 beside 250, and 4 sequences on two replicas of two
        (4, 1640, {"node_size": 2}, ["4: tp 2 x dp 2", "4: tp 1 x dp 4"]),
        (4, 1140, {}, ["4: tp 4, dcp 2", "4: tp 2 x dp 2", "8: tp 4 x dp 2"]),
        # a spare replica is of the same kind
        (1, 1640, {"spare": 1}, ["2: tp 1", "4: tp 2", "8: tp 4", "8: tp 4, dcp 2"]),
        (3, 1640, {"spare": 1}, ["4: tp 2", "4: tp 1 x dp 3", "8: tp 4", "8: tp 4, dcp 2"]),
        (3, 1640, {"spare": 2, "max_gpus": 5}, ["5: tp 1 x dp 3"]),
        # the prefix once: 384 + 3 x 256
        (3, 2152, {"shared_prefix": 6, "tp": 1}, ["1: tp 1"]),
        (3, 2151, {"shared_prefix": 6, "tp": 1}, ["2: tp 1 x dp 2"]),
    ],
)
def test_worked_plans(batch: int, memory: int, options: dict[str, Any], expected: list[str]) -> None:
    assert ways(kvcalc.plan(ONE, gpu=small(memory), batch=batch, **ALONE, **options)) == expected


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
    assert ways(kvcalc.plan(model, gpu=small(1000), max_gpus=5, **options)) == ["4: tp 1 x pp 4", "5: tp 1 x pp 5"]
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
        (1300 + 2 * 640, ["2: tp 1 x dp 2", "2: tp 1 x dp 2, dp-attention, ep 2"]),
        (700 + 2 * 640, ["2: tp 1 x dp 2, dp-attention, ep 2", "3: tp 1 x dp 3"]),
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
    assert ways(result)[:2] == ["4: tp 1 x dp 3", "4: tp 1 x dp 2, dp-attention, ep 2"]


# Several accelerators, prices, and workloads in other words.

BIG, LITTLE = small(2280, name="big"), small(1640, name="little")


@pytest.mark.parametrize(
    ("prices", "expected"),
    [
        ({}, ["1 big", "2 big", "2 little", "2 little"]),
        ({"big": 3, "little": 1}, ["2 little", "2 little", "1 big", "2 big"]),
        ({"big": "2", "little": Fraction(1)}, ["1 big", "2 little", "2 little", "2 big"]),
        ({"little": 0.5}, ["2 little", "2 little", "1 big", "2 big"]),  # those without a price come last
        ({"LITTLE": 5}, ["2 little", "2 little", "1 big", "2 big"]),
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
    assert [(row.count, row.gpu, row.deployment.tp) for row in result.deployments] == [(1, "big", 1), (2, "big", 2)]
    assert {row.gpu for row in result.rejected} == {"little"}


def test_an_accelerator_that_holds_nothing_is_left_out() -> None:
    tiny = small(200, name="tiny")
    result = kvcalc.plan(ONE, gpu=[tiny, BIG], batch=2, max_gpus=2, **ALONE)
    assert {row.gpu for row in result.deployments} == {"big"}
    assert result.nearest is None
    assert {(row.gpu, row.tp) for row in result.rejected} == {("tiny", 1), ("tiny", 2)}


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
    assert astuple(result.workload) == (batch, 10)
    assert note is None or any(note in each for each in texts(result.notes))
    assert result.deployments == kvcalc.plan(ONE, gpu=small(1640), batch=batch, **ALONE).deployments


# Right answers that pooled memory gets wrong.


def test_deepseek_v3_on_h200() -> None:
    result = kvcalc.plan("deepseek-v3", gpu="h200", batch=24, context=131_072, max_gpus=8, limit=100)
    most = {(way_of(row), row.deployment.dp): row.max_batch for row in result.deployments}

    assert {row.count for row in result.deployments} == {8}
    assert result.deployments[0].deployment.tp == 8
    assert most[Way(8, 1, 8, joined=False), 1] == 42
    assert most[Way(1, 1, 1, joined=True), 8] == 24
    assert Way(8, 1, 1, joined=False) not in {way_of(row) for row in result.deployments}  # it holds 5
    (plain,) = kvcalc.plan("deepseek-v3", gpu="h200", batch=5, context=131_072, tp=8, pp=1, limit=1).deployments
    assert (plain.count, plain.deployment.dcp, plain.max_batch) == (8, 1, 5)


@pytest.mark.parametrize(
    ("batch", "expected"),
    [
        (1, ["2: tp 2", "4: tp 4", "8: tp 8"]),
        # a GPU of four has 39,506,161,009 bytes for sequences of 671,088,640
        (58, ["4: tp 4", "8: tp 8", "30: tp 2 x dp 15"]),
        (61, ["8: tp 8", "8: tp 4 x dp 2", "32: tp 2 x dp 16"]),
    ],
)
def test_llama_3_70b_on_h100(batch: int, expected: list[str]) -> None:
    assert ways(kvcalc.plan("llama-3-70b", batch=batch, context=8192)) == expected


def test_of_a_tight_deployment_the_most_is_with_the_least_temporary_memory() -> None:
    """Where the usual temporary figure leaves no room for the batch: 4 sequences on two GPUs, and 3 with 1.5 GiB."""
    three, four = (kvcalc.plan("llama-3-70b", batch=batch, context=8192, max_gpus=2).deployments[0] for batch in (3, 4))
    assert (three.tight, three.max_batch, four.tight, four.max_batch) == (True, 3, True, 4)
    assert three.headroom_bytes > 0 > four.headroom_bytes


def test_a_pipeline_is_as_full_as_its_fullest_stage() -> None:
    """The first of 7 stages has 9 of 61 layers, and the embedding."""
    (row,) = kvcalc.plan("deepseek-v3", gpu="h200", batch=16, context=131_072, tp=1, pp=7, max_gpus=7).deployments
    fullest = kvcalc.estimate("deepseek-v3", gpu="h200", batch=16, context=131_072, tp=1, pp=7).memory.per_rank
    assert fullest.cache_bytes == 9 * 16 * 131_072 * 576 * 2
    assert row.bytes_per_rank == fullest.total_bytes


def test_all_accelerators_are_those_with_a_measured_memory(kvcalc: Kvcalc) -> None:
    run = kvcalc("plan", "llama-3-8b", "-c", "8192", "--gpu", "all", "--limit", "1000", "--json")
    body = json.loads(run.stdout)
    measured = {gpu.name for gpu in shipped_gpus() if gpu.memory_bytes is not None}
    unmeasured = len(list(shipped_gpus())) - len(measured)

    assert (run.code, {row["gpu"] for row in body["deployments"]}) == (0, measured)
    assert f"{unmeasured} accelerators are left out: no measured memory is known for them" in texts(body["notes"])


# The command line.

PLAN = ("plan", "llama-3-70b", "-b", "32", "-c", "8192")
ROW_FIELDS = (
    *("gpu", "count", "tp", "pp", "dp", "ep", "dcp", "dp_attention", "spare"),
    *("bytes_per_rank", "usable_bytes", "headroom_bytes", "tight"),
    *("max_batch", "max_context", "tokens_per_second", "usd_per_hour"),
)


def test_json(kvcalc: Kvcalc) -> None:
    run = kvcalc(*PLAN, "--price", "h100=2.5", "--json")
    body: dict[str, Any] = json.loads(run.stdout)

    assert (run.code, run.stderr) == (0, "")
    assert (body["schema_version"], body["command"]) == (2, "plan")
    assert body["workload"] == {"batch": 32, "context": 8192}
    first = body["deployments"][0]
    assert set(first) >= set(ROW_FIELDS)
    assert (first["gpu"], first["count"], first["tp"], first["usd_per_hour"]) == ("h100-sxm", 4, 4, 10.0)
    assert (first["max_batch"], first["max_context"], first["tight"]) == (58, 15_070, False)
    assert first["bytes_per_rank"] + first["headroom_bytes"] == first["usable_bytes"] == 78_218_988_093
    assert [(row["tp"], row["pp"]) for row in body["rejected"]] == [(1, 1), (2, 1), (3, 1)]
    assert all(set(row) >= {"tp", "pp", "reason"} for row in body["rejected"])
    assert body["nearest"] is None


def test_csv_has_its_header_without_rows_too(kvcalc: Kvcalc) -> None:
    some = kvcalc(*PLAN, "--format", "csv")
    none = kvcalc(*PLAN, "--max-gpus", "3", "--format", "csv")
    rows = list(csv.DictReader(io.StringIO(some.stdout)))

    assert (some.code, none.code) == (0, 1)
    assert none.stdout == ",".join(ROW_FIELDS) + "\n"
    assert some.stdout.startswith(none.stdout)
    assert [(row["count"], row["tp"], row["dp"], row["tight"]) for row in rows] == [
        ("4", "4", "1", "false"),
        ("8", "8", "1", "false"),
        ("16", "2", "8", "true"),
    ]
    assert rows[0]["usd_per_hour"] == ""


def test_the_table_and_markdown(kvcalc: Kvcalc) -> None:
    table, markdown = kvcalc(*PLAN), kvcalc(*PLAN, "--format", "markdown")
    lines = [" ".join(line.split()) for line in table.stdout.splitlines()]

    assert (table.code, markdown.code) == (0, 0)
    assert "GPUs deployment GiB per GPU to spare most x 8,192 longest x 32 tokens/s <=" in lines
    assert any(line.startswith("4 tp 4 fits 56.05 16.80 58 15,070 ") for line in lines)
    assert any(line.startswith("16 tp 2 x dp 8 tight 73.41 -0.56 32 9,369 ") for line in lines)
    assert "tp 2 a replica holds 4 sequences, so 32 need 8 replicas: 16 GPUs" in lines
    assert "tp 3 illegal: 64 query heads do not divide by 3" in lines
    assert "| 4 | tp 4 | fits | 56.05 | 16.80 | 58 | 15,070 |" in markdown.stdout


def test_spares_are_told(kvcalc: Kvcalc) -> None:
    run = kvcalc("plan", "llama-3-70b", "-c", "8192", "--spare", "2")
    lines = [" ".join(line.split()) for line in run.stdout.splitlines()]
    assert any(line.startswith("GPUs of them spare deployment ") for line in lines)
    assert any(line.startswith("6 4 tp 2 tight ") for line in lines)
    # two GPUs with two spare replicas are six, so that nothing but one GPU is smaller
    assert [line for line in lines if line.endswith(" for one sequence")] == [
        "tp 1 a GPU lacks 66,667,996,118 bytes (62.09 GiB) for one sequence"
    ]
    assert not any("spare it is" in line for line in lines)


def test_long_lists_of_what_is_smaller_are_cut(kvcalc: Kvcalc) -> None:
    words = ("plan", "llama-3-70b", "-c", "8192", "-b", "1e6", "--node-size", "64", "--max-gpus", "64", "--allow-pp")
    run = kvcalc(*words)
    lines = [" ".join(line.split()) for line in run.stdout.splitlines()]
    assert run.code == 1
    assert "tp 9 to 15 illegal: the heads do not spread over them" in lines
    assert any(re.fullmatch(r"\.\.\. \d+ lines? more: --json has all", line) for line in lines)
    rejected = json.loads(kvcalc(*words, "--json").stdout)["rejected"]
    assert {row["tp"] for row in rejected} == set(range(1, 65))


def next_command(stdout: str) -> list[str]:
    (line,) = (line for line in stdout.splitlines() if line.startswith("next: "))
    return line.removeprefix("next: kvcalc ").split()


@pytest.mark.parametrize(
    "words",
    [
        "llama-3-70b -b 32 -c 8192",
        "deepseek-v3 -b 24 -c 131072 --gpu h200 --max-gpus 8 --tp 4 --pp 1",
        "deepseek-v3 --rps 2 --latency 6 -c 131072 --gpu h200 --max-gpus 8 --cache-dtype fp8 --reserve x=1GiB",
        "--layers 32 --heads 32 --kv-heads 8 --head-dim 128 --weights 14GB -b 70 --input 8000 --output 192 --pp 2",
        "llama-3-8b --gpu b200,h100 -b 500 -c 8192 --spare 1 --price b200=1 --utilization 0.5 --shared-prefix 1000",
        "llama-3-8b --gpu h100 --gpu-memory 40GiB --overhead 0 --temporary 2GiB -c 8192",
    ],
)
def test_the_next_command_estimates_the_first_deployment(words: str, kvcalc: Kvcalc) -> None:
    """The same model, formats and memory: an estimate that says the same of a rank."""
    run = kvcalc("plan", *words.split())
    first = json.loads(kvcalc("plan", *words.split(), "--json").stdout)["deployments"][0]
    body = json.loads(kvcalc(*next_command(run.stdout), "--json").stdout)

    assert body["memory"]["per_rank"]["total_bytes"] == first["bytes_per_rank"]
    assert body["gpus"]["usable_bytes"] == first["usable_bytes"]
    assert body["gpus"]["fits"] is not first["tight"]
    assert {name: body["deployment"][name] for name in ("tp", "pp", "dp", "ep", "dcp", "dp_attention")} == {
        name: first[name] for name in ("tp", "pp", "dp", "ep", "dcp", "dp_attention")
    }


def test_the_next_command_names_the_file(kvcalc: Kvcalc, tmp_path: Path) -> None:
    path = tmp_path / "own.yaml"
    layer = "{count: 2, attention: {kind: mha, num_heads: 2, head_dim: 8}}"
    path.write_text(f"name: other\nparameters: 1000000\nlayers:\n- {layer}\n", encoding="utf-8")
    command = next_command(kvcalc("plan", str(path)).stdout)
    assert command[:2] == ["estimate", str(path)]
    assert kvcalc(*command).code == 0


@pytest.mark.parametrize(
    ("words", "asked", "nearest"),
    [
        (
            "llama-3-70b -b 32 -c 8192 --gpus 3",
            "3 GPUs holds 32 x 8,192 tokens",
            "nearest: 2 x h100-sxm (tp 2) holds 4; 4 x h100-sxm would (tp 4)",
        ),
        (
            "llama-3-70b -c 8192 --max-gpus 1",
            "1 GPU holds 1 x 8,192 tokens",
            "lacks 66,667,996,118 bytes (62.09 GiB) a GPU for one; 2 x h100-sxm would (tp 2)",
        ),
        (
            "llama-3-70b -c 8192 -b 4 --spare 1 --max-gpus 3",
            "3 GPUs holds 4 x 8,192 tokens and 1 spare",
            "lacks 66,667,996,118 bytes (62.09 GiB) a GPU for one; 4 x h100-sxm would (tp 2 and 1 spare)",
        ),
        (
            "llama-3-8b -c 8192 --tp 4 --pp 2 --max-gpus 4",
            "4 GPUs holds 1 x 8,192 tokens",
            "without --tp 4 and --pp 2, 1 x h100-sxm would (tp 1)",
        ),
        (
            "llama-3-8b -c 8192 -b 2000 --tp 8 --pp 1 --max-gpus 24",
            "24 GPUs holds 2,000 x 8,192 tokens",
            "(tp 8 x dp 3) holds 1,644; without --tp 8 and --pp 1, 32 x h100-sxm would (tp 8 x pp 4)",
        ),
        (
            "llama-3-8b -c 1e12 -b 1e9",
            "1,024 GPUs holds 1,000,000,000 x 1,000,000,000,000 tokens",
            "nearest: 256 x h100-sxm (tp 8 x pp 32) lacks 511,927,249,683,856 bytes (476,769.40 GiB) a GPU for one",
        ),
    ],
)
def test_nothing_that_holds_it_ends_with_1_and_the_nearest_miss(
    words: str, asked: str, nearest: str, kvcalc: Kvcalc
) -> None:
    run = kvcalc("plan", *words.split())
    assert run.code == 1
    assert "holds it\n" in run.stdout
    assert "next:" not in run.stdout
    assert run.stderr.splitlines()[-1].startswith(f"error: plan: nothing legal of at most {asked}; ")
    assert run.stderr.endswith(f"{nearest}\n")


def test_nothing_that_holds_it_is_still_told_as_json(kvcalc: Kvcalc) -> None:
    run = kvcalc(*PLAN, "--max-gpus", "3", "--json")
    body = json.loads(run.stdout)
    assert (run.code, body["deployments"]) == (1, [])
    assert run.stderr == f"error: plan: {body['nearest']}\n"


def test_a_batch_beyond_any_fleet_is_an_answer(kvcalc: Kvcalc) -> None:
    """Reasons count more replicas than a deployment can have."""
    body = json.loads(kvcalc("plan", "llama-3-8b", "-b", "1e9", "-c", "8192", "--json").stdout)
    assert body["rejected"][0]["reason"] == (
        "a replica holds 56 sequences, so 1,000,000,000 need 17,857,143 replicas: 17,857,143 GPUs"
    )


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("", "MODEL: missing"),
        ("llama-3-70b --tp 3", "tp: 3 is illegal for this model; legal are 1, 2, 4, 8, 16, 32, 64 ("),
        ("llama-3-70b --pp 81", "pp: 81 is illegal for this model; legal are 1 to 80"),
        ("llama-3-8b --gpu nosuch", "gpu: no accelerator 'nosuch'"),
        ("llama-3-8b --gpu h1000", "did you mean 'h100'"),
        ("llama-3-8b --gpu all,nosuch", "gpu: no accelerator 'nosuch'"),
        ("llama-3-8b --gpu ,", "gpu: no accelerator ''"),
        ("llama-3-8b --gpu=", "gpu: no accelerator ''"),
        ("llama-3-8b --gpu h100,b200 --gpu-memory 10GB", "--gpu-memory: is of one accelerator, and several are given"),
        ("llama-3-8b --price nosuch=1", "--price: no accelerator 'nosuch'"),
        ("llama-3-8b --price b200=1", "--price: b200 is not among the accelerators of --gpu"),
        ("llama-3-8b --price h100=abc", "--price h100: not a number: 'abc'"),
        ("llama-3-8b --price h100=0", "--price h100: '0' is not a number above 0"),
        ("llama-3-8b --price h100=-1", "--price h100: must be above 0: '-1'"),
        ("llama-3-8b --price h100", "--price: 'h100' is not NAME=USD_PER_HOUR"),
        ("llama-3-8b --price h100=1 --price h100=2", "--price: 'h100' is given twice"),
        ("llama-3-8b --price h100=1 --price h100-sxm=2", "--price: h100-sxm has two prices"),
        ("llama-3-8b --spare -1", "--spare: must be at least 0: '-1'"),
        ("llama-3-8b --spare 1e7", "--spare: 10,000,000 is beyond the limit of 1,000,000"),
        ("llama-3-8b --limit 0", "--limit: must be at least 1, not 0"),
        ("llama-3-8b --limit 1001", "--limit: 1,001 is beyond the limit of 1,000"),
        ("llama-3-8b --max-gpus 0", "--max-gpus: must be at least 1, not 0"),
        ("llama-3-8b --max-gpus 1e7", "--max-gpus: 10,000,000 is beyond the limit of 1,000,000"),
        ("llama-3-8b --node-size 0", "--node-size: must be at least 1, not 0"),
        (
            "llama-3-8b --tokens 100 -b 4",
            "--tokens: says how many sequences are held, as --batch does; give one of them",
        ),
        ("llama-3-8b -b 4 --rps 1 --latency 1", "--rps: says how many sequences are held, as --batch does"),
        ("llama-3-8b --tokens 9 --rps 1 --latency 1", "--rps: says how many sequences are held, as --tokens does"),
        ("llama-3-8b --rps 1", "--rps: goes with --latency: requests a second x seconds each takes"),
        ("llama-3-8b --latency 1", "--latency: goes with --rps"),
        ("llama-3-8b --rps 0 --latency 1", "--rps: '0' is not a number above 0"),
        ("llama-3-8b --rps 1 --latency -1", "--latency: must be above 0: '-1'"),
        (
            "llama-3-8b --rps 1e9 --latency 2",
            "--rps: 2,000,000,000 sequences at a time are beyond the limit of 1,000,000,000",
        ),
        ("llama-3-8b --tokens 1e10 -c 1", "--tokens: 10,000,000,000 sequences at a time are beyond the limit"),
        ("llama-3-8b --tokens 1e13", "--tokens: 10,000,000,000,000 is beyond the limit of 1,000,000,000,000"),
        ("llama-3-8b -b 128k", "kvcalc plan llama-3-8b -b 128Ki\n"),
        ("llama-3-8b --input 5", "--input and --output go together"),
        ("llama-3-8b -c 5 --shared-prefix 6", "--shared-prefix: 6 tokens are more than the context of 5"),
        (
            "--layers 2 --heads 2 --head-dim 8",
            "the command line lacks 'parameters'; give --weights SIZE or --parameters N",
        ),
        (
            "--layers 2 --heads 8 --head-dim 32 --kv-heads 8 --tp 8 --cache-dtype q8_0 --weights 1GB -c 8 -b 0",
            "--batch",
        ),
    ],
)
def test_bad_input_ends_with_2_and_nothing_on_stdout(words: str, message: str, kvcalc: Kvcalc) -> None:
    run = kvcalc("plan", *words.split())
    assert (run.code, run.stdout) == (2, "")
    assert message in run.stderr


def test_an_unmeasured_accelerator_needs_its_memory(kvcalc: Kvcalc) -> None:
    unmeasured = next(gpu.name for gpu in shipped_gpus() if gpu.memory_bytes is None)
    run = kvcalc("plan", "llama-3-8b", "--gpu", unmeasured)
    assert (run.code, run.stdout) == (2, "")
    assert "give what its runtime reports with --gpu-memory SIZE" in run.stderr
    assert kvcalc("plan", "llama-3-8b", "--gpu", unmeasured, "--gpu-memory", "80GB").code == 0


def test_no_accelerator_at_all() -> None:
    with pytest.raises(kvcalc.KvcalcError, match="--gpu: names no accelerator"):
        kvcalc.plan("llama-3-8b", gpu=[])


@pytest.mark.parametrize("gpus", ["h100", "h100-sxm", "h100,h100-sxm", " H100 , h100-80gb "])
def test_one_accelerator_under_several_names_is_one(gpus: str, kvcalc: Kvcalc) -> None:
    words = ("plan", "llama-3-8b", "-c", "8192", "--gpu-memory", "80GB", "--format", "csv")
    assert kvcalc(*words, "--gpu", gpus).stdout == kvcalc(*words).stdout
    assert kvcalc(*words, "--gpu", gpus, "--gpu", gpus).stdout == kvcalc(*words).stdout


def test_a_split_that_the_format_cannot_store_is_rejected(kvcalc: Kvcalc) -> None:
    """8 heads of 80 over 8 ranks are rows of 80 elements, which blocks of 32 do not fill; over 4 ranks they do."""
    words = (
        "plan",
        "--layers",
        "32",
        "--heads",
        "8",
        "--head-dim",
        "80",
        "--weights",
        "100GB",
        "--cache-dtype",
        "q8_0",
    )
    body = json.loads(kvcalc(*words, "-b", "2000", "-c", "8192", "--max-gpus", "8", "--json").stdout)
    reasons = {row["tp"]: row["reason"] for row in body["rejected"]}
    assert reasons[8] == "illegal: the format of the cache cannot store a rank's share of a row"
    assert reasons[3] == "illegal: 8 query heads do not divide by 3"
    assert kvcalc(*words, "--tp", "8").code == 2


def test_what_is_spare_is_on_the_fullest_stage() -> None:
    """Of a pipeline the stage with the most cache may have room where another, with more experts, has none."""
    planned = kvcalc.plan("deepseek-v3", gpu="a100-40gb", context=1, limit=1).deployments[0]
    assert (planned.deployment.tp, planned.deployment.pp, planned.tight) == (1, 21, True)
    answer = kvcalc.estimate("deepseek-v3", gpu="a100-40gb", context=1, pp=21).answer
    assert answer is not None
    assert planned.headroom_bytes == answer.headroom_bytes
    assert planned.headroom_bytes < 0 < planned.usable_bytes - planned.bytes_per_rank
