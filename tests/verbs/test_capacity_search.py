"""How much fits, of random models and memories: rows counted by hand, one more that does not fit."""

from __future__ import annotations

import math
from dataclasses import astuple, replace
from fractions import Fraction
from typing import NamedTuple

from conftest import texts
from fuzzing import examples
from hypothesis import given
from hypothesis import strategies as st

import kvcalc
from kvcalc.legality import legal_dcps, legal_eps, legal_tps
from kvcalc.mechanisms import GQA, MHA, MLA, MQA, Attention, NoAttention, Shared
from kvcalc.model.layers import LayerGroup
from kvcalc.model.model import WeightPart
from kvcalc.verbs.searching.capacity_search import largest

laws = examples(150)

ENDLESS = 10**12
"""The longest context that can be asked for."""

MOST_BATCH = 10**9


# Rows counted by hand, for whatever is given to the cache.

ELEMENT_BYTES = {"bf16": 2, "fp8": 1, "fp32": 4, "int8_per_token_head": 1}


class Kept(NamedTuple):
    """What one layer keeps on a rank."""

    row_bytes: int
    window: int | None


def kept(group: LayerGroup, tp: int, cache_dtype: str) -> Kept:
    """Heads are shared by tp ranks, down to one on each; the head of MQA and a latent are whole everywhere."""
    match group.attention:
        case MHA(num_heads=heads, head_dim=width) | GQA(num_kv_heads=heads, head_dim=width):
            tensors = [(max(heads // tp, 1), width)] * 2
        case MQA(head_dim=width):
            tensors = [(1, width)] * 2
        case MLA(kv_lora_rank=latent, qk_rope_head_dim=rope):
            tensors = [(1, latent), (1, rope)]
        case _:
            tensors = []
    scale = 4 if cache_dtype == "int8_per_token_head" else 0
    return Kept(sum(heads * (width * ELEMENT_BYTES[cache_dtype] + scale) for heads, width in tensors), group.window)


def stages_by_hand(model: kvcalc.Model, tp: int, pp: int, cache_dtype: str) -> list[list[Kept]]:
    """Contiguous, and the first ones a layer longer where they cannot be equal."""
    layers = [
        kept(group, tp, cache_dtype)
        for group in model.layers
        if isinstance(group, LayerGroup)
        for _ in range(group.count)
    ]
    lengths = [len(layers) // pp + (stage < len(layers) % pp) for stage in range(pp)]
    return [layers[sum(lengths[:stage]) : sum(lengths[: stage + 1])] for stage in range(pp)]


def dealt(first: int, end: int, rank: int, ranks: int) -> int:
    """Of the tokens from `first` to before `end`, dealt out one after another, those that a rank gets."""
    return len(range(first + (rank - first) % ranks, end, ranks)) if end > first else 0


def bytes_by_hand(layers: list[Kept], sequences: int, context: int, prefix: int, dcp: int) -> int:
    """Of the rank that is dealt most: a row for every token, and one for all sequences where they share it."""
    prefix = min(prefix, context)

    def on_rank(rank: int) -> int:
        total = 0
        for layer in layers:
            if layer.window is None:
                shared, own = dealt(0, prefix, rank, dcp), dealt(prefix, context, rank, dcp)
            else:
                first = max(0, context - layer.window)
                shared, own = max(0, prefix - first), context - max(prefix, first)
            total += layer.row_bytes * (shared + sequences * own)
        return total

    return max(map(on_rank, range(dcp)))


def bytes_beside(layers: list[Kept], whole: int, context: int, tokens: int, prefix: int, dcp: int) -> int:
    """Of one shorter sequence beside whole ones, which keep the prefix for it where their windows still hold it all."""
    total = 0
    for layer in layers:
        if layer.window is None:
            free = min(prefix, tokens) if whole else 0
            total += layer.row_bytes * -(-(tokens - free) // dcp)
        elif layer.window >= context:
            total += layer.row_bytes * (tokens - (min(prefix, tokens) if whole else 0))
        else:
            total += layer.row_bytes * min(tokens, layer.window)
    return total


# Random models, deployments and memories.


@st.composite
def attentions(draw: st.DrawFn, heads: int, wide: int) -> Attention:
    kv_heads = draw(st.sampled_from([n for n in range(1, heads + 1) if heads % n == 0]))
    width, rope = wide * draw(st.integers(1, 9)), wide * draw(st.integers(1, 5))
    kinds: list[Attention] = [
        MHA(num_heads=heads, head_dim=width),
        MQA(num_heads=heads, head_dim=width),
        GQA(num_heads=heads, num_kv_heads=kv_heads, head_dim=width),
        MLA(num_heads=heads, kv_lora_rank=width, qk_rope_head_dim=rope, qk_nope_head_dim=2, v_head_dim=2),
        Shared(),
        NoAttention(),
    ]
    return draw(st.sampled_from(kinds))


@st.composite
def models(draw: st.DrawFn, wide: int) -> kvcalc.Model:
    heads = draw(st.sampled_from([1, 2, 4, 8]))
    groups = []
    for _ in range(draw(st.sampled_from([1, 1, 2, 3, 4]))):
        attention = draw(attentions(heads, wide))
        window = draw(st.sampled_from([None] * 6 + [1, 7, 60, 500])) if attention.cached() else None
        groups.append(LayerGroup(count=draw(st.integers(1, 3)), attention=attention, window=window))
    experts = draw(st.sampled_from([None, None, 4, 6]))
    parts = (
        WeightPart(part="embedding", parameters=draw(st.integers(1, 5000)), format="bf16", place="embedding"),
        WeightPart(part="experts", parameters=draw(st.integers(1, 50_000)), format="fp8", split="ep"),
        WeightPart(part="layers", parameters=draw(st.integers(1, 50_000)), format="bf16"),
        WeightPart(part="head", parameters=draw(st.integers(1, 5000)), format="bf16", place="head"),
    )
    listed = draw(st.booleans())
    return kvcalc.Model(
        name="random",
        dtype="bf16",
        parameters=draw(st.integers(1, 50_000)),
        num_experts=experts,
        weights=parts if listed else (),
        layers=tuple(groups),
    )


@st.composite
def deployments(draw: st.DrawFn, model: kvcalc.Model) -> kvcalc.Deployment:
    tp = draw(st.sampled_from(legal_tps(model, 8)[::-1]))
    dcp = draw(st.sampled_from(legal_dcps(model, tp)[::-1]))
    pp, dp = draw(st.integers(1, min(4, model.num_layers))), draw(st.integers(1, 3))
    joined = dp > 1 and model.is_mixture_of_experts and draw(st.booleans())
    eps = legal_eps(model, tp * dp if joined else tp) if model.is_mixture_of_experts else [1]
    return kvcalc.Deployment(tp, pp, dp, draw(st.sampled_from(eps)), dcp, dp_attention=joined)


@st.composite
def scenarios(draw: st.DrawFn) -> kvcalc.Scenario:
    """On accelerators that hold from nothing to some dozens of sequences beside the weights."""
    given_temporary = draw(st.booleans())
    model = draw(models(1 if given_temporary else 40))
    context = draw(st.integers(1, 300)) if given_temporary else draw(st.integers(50, 20_000))
    scenario = kvcalc.make_scenario(
        model,
        batch=draw(st.integers(1, 30)),
        context=context,
        shared_prefix=draw(st.none() | st.integers(1, context)),
        cache_dtype=draw(st.sampled_from(sorted(ELEMENT_BYTES))),
        temporary=draw(st.integers(0, 5000)) if given_temporary else None,
        overhead=draw(st.integers(0, 5000)) if given_temporary else None,
        reserve={"adapter": draw(st.integers(0, 3000))} if draw(st.booleans()) else None,
        utilization=draw(st.sampled_from(["1", "0.92"])),
    )
    scenario = replace(scenario, deployment=draw(deployments(model)))
    one = kvcalc.estimate(asking(scenario, scenario.deployment.dp if scenario.deployment else 1, context))
    total, cache = one.memory.per_rank.total_bytes or 0, one.memory.per_rank.cache_bytes
    usable = max(1, total + draw(st.integers(-1, 40)) * cache + draw(st.integers(-cache - 5000, cache + 5000)))
    memory = -(-usable * scenario.utilization.denominator // scenario.utilization.numerator)
    return replace(scenario, gpu=kvcalc.Gpu(name="any", memory_bytes=memory, memory_from="user"))


def asking(scenario: kvcalc.Scenario, batch: int, context: int) -> kvcalc.Scenario:
    return replace(scenario, workload=kvcalc.Workload(batch, context))


def with_temporary(scenario: kvcalc.Scenario, figure: int) -> kvcalc.Scenario:
    return replace(scenario, replacements=replace(scenario.replacements, temporary=figure))


def usually(scenario: kvcalc.Scenario) -> kvcalc.Scenario:
    """With the usual temporary figure, and no range around it."""
    estimate = kvcalc.estimate(scenario)
    return with_temporary(scenario, estimate.memory.per_rank.temporary_bytes)


def fits(scenario: kvcalc.Scenario, batch: int, context: int) -> bool:
    return kvcalc.estimate(asking(scenario, batch, context)).gpus.fits is True


def on(scenario: kvcalc.Scenario) -> kvcalc.Deployment:
    assert scenario.deployment is not None
    return scenario.deployment


@examples(80)
@given(scenarios())
def test_the_sequences_fit_and_one_more_does_not(scenario: kvcalc.Scenario) -> None:
    result = kvcalc.capacity(scenario)
    asked, context, dp = usually(scenario), scenario.workload.context, on(scenario).dp

    if result.sequences is None:
        assert fits(asked, MOST_BATCH, context)
        assert (result.one_more_lacks_bytes, result.tokens, result.limited_by) == (None, None, "none")
        return
    assert result.sequences == 0 or fits(asked, result.sequences * dp, context)
    assert not fits(asked, result.sequences * dp + 1, context)
    assert result.total.sequences == result.sequences * dp
    assert result.one_more_lacks_bytes is not None
    more = replace(asked, gpu=replace(asked.gpu, memory_bytes=result.one_more_lacks_bytes + asked.usable_bytes))
    more = replace(more, utilization=Fraction(1))
    assert fits(more, (result.sequences + 1) * dp, context)
    less = replace(more, gpu=replace(more.gpu, memory_bytes=more.memory_bytes - 1))
    assert not fits(less, (result.sequences + 1) * dp, context)


@examples(80)
@given(scenarios())
def test_the_longest_context_fits_and_a_token_more_does_not(scenario: kvcalc.Scenario) -> None:
    result = kvcalc.capacity(scenario)
    asked, batch = usually(scenario), scenario.workload.batch

    if result.max_context is None:
        assert fits(asked, batch, ENDLESS)
        assert kvcalc.estimate(asking(asked, batch, ENDLESS)).cache.bytes_per_token_at_context == 0
        return
    if result.max_context == 0:  # a sequence holds the whole prefix that all share: none is shorter than it
        assert not fits(asked, batch, max(1, scenario.shared_prefix))
        return
    assert result.max_context >= scenario.shared_prefix
    assert fits(asked, batch, result.max_context)
    assert not fits(asked, batch, result.max_context + 1)


@examples(80)
@given(scenarios())
def test_the_range_of_sequences_is_that_of_what_is_tight_and_of_what_fits(scenario: kvcalc.Scenario) -> None:
    result = kvcalc.capacity(scenario)
    context, dp = scenario.workload.context, on(scenario).dp
    low, high = result.sequences_at_temporary_low, result.sequences_at_temporary_high

    def tight_or_fits(batch: int) -> bool:
        gpus = kvcalc.estimate(asking(scenario, batch, context)).gpus
        return bool(gpus.fits or gpus.tight)

    if low is not None:
        assert low == 0 or tight_or_fits(low * dp)
        assert not tight_or_fits(low * dp + 1)
    if high is not None:
        assert high == 0 or fits(scenario, high * dp, context)
        assert not fits(scenario, high * dp + 1, context)


@laws
@given(scenarios())
def test_the_room_is_what_an_estimate_leaves_beside_the_cache(scenario: kvcalc.Scenario) -> None:
    """Of the fullest rank, which the first of several stages is where they keep the same."""
    result = kvcalc.capacity(scenario)
    fullest = kvcalc.estimate(asking(scenario, on(scenario).dp, scenario.workload.context)).memory.per_rank
    assert fullest.total_bytes is not None
    assert result.cache_memory_bytes == max(0, scenario.usable_bytes - fullest.total_bytes + fullest.cache_bytes)
    assert result.gpus is not None
    assert astuple(result.gpus) == ("any", scenario.memory_bytes, float(scenario.utilization), scenario.usable_bytes)


@st.composite
def given_rooms(draw: st.DrawFn) -> tuple[kvcalc.Scenario, int, str]:
    cache_dtype = draw(st.sampled_from(sorted(ELEMENT_BYTES)))
    model, context = draw(models(1)), draw(st.integers(1, 300))
    deployment = draw(deployments(model))
    # Where tokens are dealt to ranks, those of two lengths beside a prefix need not meet on one of them.
    prefix = None if deployment.dcp > 1 else draw(st.none() | st.integers(1, context))
    scenario = kvcalc.make_scenario(
        model,
        batch=draw(st.integers(1, 30)),
        context=context,
        cache_dtype=cache_dtype,
        shared_prefix=prefix,
    )
    one = max(
        bytes_by_hand(layers, 1, context, 0, 1) for layers in stages_by_hand(model, 1, deployment.pp, cache_dtype)
    )
    room = draw(st.integers(0, 30)) * one + draw(st.integers(0, one + 10))
    return replace(scenario, deployment=deployment), room, cache_dtype


@laws
@given(given_rooms())
def test_of_memory_for_the_cache_as_much_is_used_as_rows_have_room(
    given_room: tuple[kvcalc.Scenario, int, str],
) -> None:
    scenario, room, cache_dtype = given_room
    deployment, (context, prefix) = on(scenario), (scenario.workload.context, scenario.shared_prefix)
    stages = stages_by_hand(scenario.model, deployment.tp, deployment.pp, cache_dtype)
    result = kvcalc.capacity(scenario, cache_memory=room)

    def held(sequences: int, tokens: int) -> bool:
        return all(bytes_by_hand(layers, sequences, tokens, prefix, deployment.dcp) <= room for layers in stages)

    def held_beside(whole: int, tokens: int) -> bool:
        return all(
            (bytes_by_hand(layers, whole, context, prefix, deployment.dcp) if whole else 0)
            + bytes_beside(layers, whole, context, tokens, prefix, deployment.dcp)
            <= room
            for layers in stages
        )

    each = -(-scenario.workload.batch // deployment.dp)
    assert (result.gpus, result.cache_memory_bytes) == (None, room)
    assert (result.sequences_at_temporary_low, result.sequences_at_temporary_high) == (result.sequences,) * 2
    if result.sequences is None:
        assert held(MOST_BATCH, context)
    else:
        assert result.sequences == 0 or held(result.sequences, context)
        assert not held(result.sequences + 1, context)
    if result.max_context is None:
        assert held(each, ENDLESS)
    elif result.max_context == 0:  # a sequence holds the whole prefix that all share: none is shorter than it
        assert not held(each, max(1, prefix))
    else:
        assert result.max_context >= prefix
        assert held(each, result.max_context)
        assert not held(each, result.max_context + 1)
    if result.tokens is None:
        assert (result.limited_by, result.total.tokens) == ("none", None)
        assert result.sequences is None or held(1, ENDLESS)
        return
    assert result.sequences is not None
    beside = result.tokens - result.sequences * context
    assert (result.limited_by, result.total.tokens) == ("memory", result.tokens * deployment.dp)
    assert 0 <= beside < context
    assert held_beside(result.sequences, beside) or beside == result.sequences == 0
    assert beside == context - 1 or not held_beside(result.sequences, beside + 1)


@laws
@given(given_rooms())
def test_concurrency_is_sequences_with_the_part_that_is_left_over(given_room: tuple[kvcalc.Scenario, int, str]) -> None:
    scenario, room, cache_dtype = given_room
    deployment, context = on(scenario), scenario.workload.context
    result = kvcalc.capacity(scenario, cache_memory=room)
    parts = []
    for layers in stages_by_hand(scenario.model, deployment.tp, deployment.pp, cache_dtype):
        two, one = (bytes_by_hand(layers, n, context, scenario.shared_prefix, deployment.dcp) for n in (2, 1))
        if two > one:
            parts.append(max(Fraction(0), Fraction(room - (2 * one - two), two - one)))

    if not parts:
        assert result.concurrency is None
        return
    assert result.concurrency is not None
    assert result.concurrency == math.floor(100 * min(parts)) / 100
    assert result.sequences == math.floor(result.concurrency)


@given(st.integers(0, 10**6), st.integers(0, 10**6), st.integers(-10, 2 * 10**6))
def test_any_guess_leads_to_the_largest_number(edge: int, limit: int, guess: int) -> None:
    assert largest(lambda number: number <= edge, limit, guess) == min(edge, limit)


@laws
@given(scenarios())
def test_without_a_deployment_the_smallest_is_taken(scenario: kvcalc.Scenario) -> None:
    """One that holds the batch, else one that holds a sequence, with the usual temporary figure."""
    asked = replace(scenario, deployment=None)
    result = kvcalc.capacity(asked)
    context = scenario.workload.context
    for batch in (scenario.workload.batch, 1):
        gpus = kvcalc.estimate(asking(usually(asked), batch, context)).gpus
        if gpus.count is not None:
            assert result.deployment == gpus.deployment
            held = "the workload" if batch == scenario.workload.batch else "one sequence"
            assert any(
                f"is used, the smallest deployment that holds {held} (--tp N" in note for note in texts(result.notes)
            )
            return
    assert (result.deployment.tp, result.deployment.pp, result.sequences) == (1, 1, 0)
