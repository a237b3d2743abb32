"""What is legal, restated; every way to deploy a random question, and what a plan says of it."""

from __future__ import annotations

from dataclasses import replace
from itertools import product
from math import gcd, inf
from operator import ge
from typing import TYPE_CHECKING, Any, NamedTuple

from fuzzing import examples
from hypothesis import strategies as st

import kvcalc
from kvcalc.mechanisms import GQA, MHA, MLA, MQA, Attention, NoAttention, Shared
from kvcalc.model.layers import LayerGroup
from kvcalc.model.model import WeightPart
from kvcalc.verbs.planning.result import Plan, Planned

if TYPE_CHECKING:
    from collections.abc import Iterator


laws = examples(50)

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


def merits_of(scenario: kvcalc.Scenario, limits: Limits, way: Way, dp: int) -> tuple[float, ...]:
    """What speaks for so many replicas, as `estimate` and `capacity` tell it: more is better in each."""
    ep = gcd(way.tp * dp, scenario.model.num_experts or 1) if way.joined else 1
    asked = replace(scenario, deployment=kvcalc.Deployment(way.tp, way.pp, dp, ep, way.dcp, dp_attention=way.joined))
    found, told = kvcalc.capacity(asked), kvcalc.estimate(asked)
    return (
        -way.gpus(dp, limits.spare),
        not told.gpus.tight,
        inf if found.sequences is None else found.sequences * dp,
        inf if found.max_context is None else found.max_context,
        told.decode.tokens_per_second if told.decode else 0,
    )


def undominated(scenario: kvcalc.Scenario, limits: Limits, found: dict[Way, int]) -> dict[Way, int]:
    """Those of which no other is as good in everything, and better in something: each compared with each.

    Speed, which comes last, counts between those that are equal in all else.
    """
    merits = {way: merits_of(scenario, limits, way, dp) for way, dp in found.items()}

    def is_dominated(way: Way) -> bool:
        mine = merits[way]
        return any(
            all(map(ge, its[:-1], mine[:-1])) and (its[:-1] != mine[:-1] or its[-1] > mine[-1])
            for its in merits.values()
        )

    return {way: dp for way, dp in found.items() if not is_dominated(way)}


def place_of(row: Planned) -> tuple[int, ...]:
    """Among those of one accelerator."""
    each = row.deployment
    return row.count, -each.tp, each.pp, int(each.dp_attention), each.dcp


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
        gpu=kvcalc.Gpu(
            name="any",
            gpus_per_node=draw(st.sampled_from([None, 1, 2, 4, 6])),
            memory_bandwidth_gb_per_s=draw(st.sampled_from([None, 1000])),
        ),
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
