"""What a plan finds, against a search of everything legal, and why what is smaller was rejected."""

from __future__ import annotations

import re
from dataclasses import replace

from hypothesis import given
from plan_rules import (
    Limits,
    Way,
    by_search,
    dcps_of,
    eps_of,
    holds,
    laws,
    place_of,
    planned,
    questions,
    tp_is_legal,
    undominated,
    way_of,
    ways_of,
)

import kvcalc


@laws
@given(questions())
def test_a_plan_is_what_a_search_of_everything_legal_finds(question: tuple[kvcalc.Scenario, Limits]) -> None:
    """Of all that holds the workload, what nothing else is as good as; the rest of the search has no part in it."""
    scenario, limits = question
    result = planned(scenario, limits)
    every = by_search(scenario, limits)
    expected = undominated(scenario, limits, every)

    assert {way_of(row): row.deployment.dp for row in result.deployments} == expected
    order = [place_of(row) for row in result.deployments]
    assert order == sorted(order)
    assert (result.nearest is None) == bool(every)
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


@laws
@given(questions())
def test_the_most_sequences_and_the_longest_context_are_exact(question: tuple[kvcalc.Scenario, Limits]) -> None:
    """With the usual temporary memory, of which a tight deployment may not have enough for the batch."""
    scenario, limits = question
    for row in planned(scenario, limits).deployments[:4]:
        asked = replace(scenario, deployment=row.deployment)
        usual = kvcalc.estimate(asked).memory.per_rank.temporary_bytes
        asked = replace(asked, replacements=replace(asked.replacements, temporary=usual))

        def fits(batch: int, context: int, asked: kvcalc.Scenario = asked) -> bool:
            return kvcalc.estimate(replace(asked, workload=kvcalc.Workload(batch, context))).gpus.fits is True

        batch, context = scenario.workload.batch, scenario.workload.context
        assert row.tight or fits(batch, context)
        if row.max_batch is None:
            assert fits(10**9, context)
        else:
            assert row.max_batch == 0 or fits(row.max_batch, context)
            assert not fits(row.max_batch + 1, context)
        if row.max_context is None:
            assert fits(batch, 10**12)
        else:
            assert row.max_context == 0 or fits(batch, row.max_context)
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
