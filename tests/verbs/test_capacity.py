"""How much fits: the exact inverse of `estimate`, and what a count of rows by hand leaves room for."""

from __future__ import annotations

import csv
import io
import json
import math
from dataclasses import astuple, replace
from fractions import Fraction
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest
from conftest import texts
from hypothesis import given, settings
from hypothesis import strategies as st

import kvcalc
from kvcalc.legality import legal_dcps, legal_eps, legal_tps
from kvcalc.mechanisms import GQA, MHA, MLA, MQA, Attention, NoAttention, Shared
from kvcalc.model.layers import LayerGroup
from kvcalc.model.model import WeightPart
from kvcalc.verbs.capacity_search import largest

if TYPE_CHECKING:
    from pathlib import Path

    from conftest import Kvcalc

laws = settings(max_examples=150, deadline=None)

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


@laws
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


@laws
@given(scenarios())
def test_the_longest_context_fits_and_a_token_more_does_not(scenario: kvcalc.Scenario) -> None:
    result = kvcalc.capacity(scenario)
    asked, batch = usually(scenario), scenario.workload.batch

    if result.max_context is None:
        assert fits(asked, batch, ENDLESS)
        assert kvcalc.estimate(asking(asked, batch, ENDLESS)).cache.bytes_per_token_at_context == 0
        return
    assert result.max_context == 0 or fits(asked, batch, result.max_context)
    assert not fits(asked, batch, result.max_context + 1)


@laws
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
    else:
        assert result.max_context == 0 or held(each, result.max_context)
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
                f"is taken, the smallest deployment that holds {held} (--tp N" in note for note in texts(result.notes)
            )
            return
    assert (result.deployment.tp, result.deployment.pp, result.sequences) == (1, 1, 0)


# Worked by hand: a layer of 2 KV heads of 8 keeps 64 bytes a token.


def layers_of(*windows: int | None) -> kvcalc.Model:
    attention = GQA(num_heads=4, num_kv_heads=2, head_dim=8)
    return kvcalc.Model(
        name="m",
        dtype="bf16",
        parameters=500,
        layers=tuple(LayerGroup(count=1, attention=attention, window=window) for window in windows),
    )


FULL = layers_of(None)
MIXED = layers_of(None, 20)
WINDOWED = layers_of(20)


@pytest.mark.parametrize(
    ("model", "options", "sequences", "tokens", "max_context", "concurrency", "lacks"),
    [
        # 3,200 bytes a sequence; 400 left are 6 tokens; 4 x 3,200 - 10,000
        (FULL, {}, 3, 156, 156, 3.12, 2800),
        (FULL, {"batch": 4}, 3, 156, 39, 3.12, 2800),
        (FULL, {"batch": 200}, 3, 156, 0, 3.12, 2800),
        (FULL, {"cache_dtype": "fp8"}, 6, 312, 312, 6.25, 1200),
        (FULL, {"tp": 2}, 6, 312, 312, 6.25, 1200),
        (FULL, {"tp": 4, "batch": 3}, 6, 312, 104, 6.25, 1200),  # heads are not split further
        (FULL, {"tp": 4, "dcp": 2}, 12, 624, 624, 12.5, 400),  # ... but tokens are: 25 of 50 on a rank, 32 bytes each
        (FULL, {"dp": 2, "batch": 5}, 3, 156, 52, 3.12, 2800),  # 3 on the fuller replica
        # 30 tokens once, 20 of each sequence's own: (10,000 - 1,920) / 1,280; beside them 36 tokens, 30 of them free
        (FULL, {"shared_prefix": 30}, 6, 336, 156, 6.31, 880),
        (FULL, {"shared_prefix": 30, "batch": 7}, 6, 336, 48, 6.31, 880),
        # 4,480 bytes a sequence; 1,040 left are 8 tokens in both layers; 1,280 in the window, the rest in the other
        (MIXED, {}, 2, 108, 136, 2.23, 3440),
        (MIXED, {"batch": 7}, 2, 108, 11, 2.23, 3440),
        (MIXED, {"pp": 2}, 3, 156, 156, 3.12, 2800),  # the stage without a window is full first
        # 1,280 bytes a sequence, however long
        (WINDOWED, {}, 7, None, None, 7.81, 240),
        (WINDOWED, {"batch": 7}, 7, None, None, 7.81, 240),
        (WINDOWED, {"batch": 8}, 7, None, 19, 7.81, 240),
    ],
)
def test_worked_capacities(
    model: kvcalc.Model,
    options: dict[str, Any],
    sequences: int,
    tokens: int | None,
    max_context: int | None,
    concurrency: float,
    lacks: int,
) -> None:
    result = kvcalc.capacity(model, context=50, cache_memory=10_000, **options)

    assert (result.sequences, result.tokens, result.max_context) == (sequences, tokens, max_context)
    assert (result.concurrency, result.one_more_lacks_bytes) == (concurrency, lacks)
    assert result.limited_by == ("none" if tokens is None else "memory")


@pytest.mark.parametrize(
    ("context", "room", "sequences", "tokens"),
    [(50, 1000, 0, 15), (50, 1279, 0, 19), (50, 1280, 1, None), (10, 1000, 1, 15), (10, 1280, 2, None)],
)
def test_a_window_that_does_not_fit_limits_the_tokens(
    context: int, room: int, sequences: int, tokens: int | None
) -> None:
    """Once a whole window of 20 tokens fits, 1,280 bytes, a sequence may go on without end."""
    result = kvcalc.capacity(WINDOWED, context=context, cache_memory=room)
    assert (result.sequences, result.tokens, result.max_context) == (sequences, tokens, tokens)
    assert result.limited_by == ("none" if tokens is None else "memory")


def test_no_cache_has_no_end() -> None:
    model = kvcalc.Model(name="m", parameters=1, layers=(LayerGroup(count=1, attention=NoAttention()),))
    result = kvcalc.capacity(model, context=50, cache_memory=0)

    unbounded = (result.sequences, result.tokens, result.max_context, result.concurrency, result.one_more_lacks_bytes)
    assert unbounded == (None,) * 5
    assert (result.total.tokens, result.total.sequences, result.limited_by) == (None, None, "none")


def test_sequences_that_share_everything_have_no_end() -> None:
    result = kvcalc.capacity(FULL, context=50, shared_prefix=50, cache_memory=3200)

    assert (result.sequences, result.tokens, result.limited_by) == (None, None, "none")
    assert result.max_context == 50
    assert kvcalc.capacity(FULL, context=50, shared_prefix=50, cache_memory=3199).sequences == 0


@pytest.mark.parametrize("room", [10**10, 10**13, 10**18])
def test_capacities_may_be_beyond_what_can_be_asked_for(room: int) -> None:
    """4 bytes a token; a batch is at most 10^9, a context at most 10^12."""
    model = kvcalc.Model(name="m", dtype="bf16", layers=(LayerGroup(count=1, attention=MHA(num_heads=1, head_dim=1)),))
    result = kvcalc.capacity(model, context=1, cache_memory=room)
    assert (result.sequences, result.tokens, result.max_context) == (room // 4,) * 3
    assert (result.one_more_lacks_bytes, result.limited_by) == (4, "memory")


def test_the_longest_window_has_an_end_too() -> None:
    """A window of 10^12 tokens that fits is no growth without end."""
    model = layers_of(ENDLESS)
    assert kvcalc.capacity(model, context=50, cache_memory=64 * ENDLESS).max_context is None
    assert kvcalc.capacity(model, context=50, cache_memory=64 * ENDLESS - 1).max_context == ENDLESS - 1


@pytest.mark.parametrize(
    ("usable", "room", "sequences"),
    [(1000 + 30 + 7 + 5 + 3200 * 3, 9600, 3), (1000 + 30 + 7 + 5 + 3199, 3199, 0), (1041, 0, 0), (1042, 0, 0)],
)
def test_beside_everything_else(usable: int, room: int, sequences: int) -> None:
    """1,000 bytes of weights, 30 of temporary memory, 7 of overhead and 5 reserved."""
    result = kvcalc.capacity(
        FULL,
        context=50,
        temporary=30,
        overhead=7,
        reserve={"x": 5},
        gpu_memory=usable,
        utilization=1,
        tp=1,
    )
    assert (result.cache_memory_bytes, result.sequences) == (room, sequences)
    assert result.at_limit.bytes == 1042 + sequences * 3200
    lacks_all = [note for note in texts(result.notes) if "for all but the cache" in note]
    assert lacks_all == (["a rank lacks 1 bytes for all but the cache"] if usable == 1041 else [])


def test_a_stage_with_less_room_limits() -> None:
    """Of three layers the first stage has two, 6,400 bytes a sequence; the last has one, and a head of 5,000 bytes."""
    model = replace(
        layers_of(None, None, None),
        parameters=None,
        weights=(
            WeightPart(part="embedding", parameters=1, format="fp8", place="embedding"),
            WeightPart(part="head", parameters=5000, format="fp8", place="head"),
        ),
    )
    options: dict[str, Any] = {"context": 50, "temporary": 0, "overhead": 0, "utilization": 1, "pp": 2}
    even = kvcalc.capacity(model, gpu_memory=6401, **options)
    head = kvcalc.capacity(model, gpu_memory=6401, **{**options, "context": 30})

    assert (even.sequences, even.cache_memory_bytes, even.one_more_lacks_bytes) == (0, 6400, 1799)
    assert (head.sequences, head.cache_memory_bytes, head.max_context) == (0, 6400, 21)
    assert "pipeline stage 1 limits: it has less memory beside its weights than the fullest" in texts(even.notes)
    wide = kvcalc.capacity(model, gpu_memory=12_801, **options)
    assert (wide.sequences, wide.one_more_lacks_bytes) == (2, 6400)
    assert not any("limits" in note for note in texts(wide.notes))


# Right answers that pooled memory gets wrong.


def test_deepseek_v3_on_eight_h200() -> None:
    """The latent is on each of 8 ranks: 9,210,691,584 bytes a sequence and GPU, of 48,988,233,983.

    So are 1,138,574,176 bytes of latent down-projections, routers, norms and scales.
    """
    options: dict[str, Any] = {"gpu": "h200", "context": 131_072}
    copied = kvcalc.capacity("deepseek-v3", tp=8, **options)
    split = kvcalc.capacity("deepseek-v3", tp=8, dcp=8, **options)
    apart = kvcalc.capacity("deepseek-v3", dp=8, ep=8, dp_attention=True, **options)

    assert copied.cache_memory_bytes == 49_984_486_387 - 1_138_574_176 * 7 // 8
    assert (copied.sequences, copied.concurrency) == (5, 5.31)
    assert (copied.sequences_at_temporary_high, copied.sequences_at_temporary_low) == (4, 5)
    assert (split.sequences, split.concurrency) == (42, 42.54)
    assert (apart.sequences, apart.total.sequences) == (3, 24)


def test_llama_3_70b_on_16_ranks() -> None:
    """8 KV heads, so that each is on two ranks: 335,544,320 bytes a sequence and GPU.

    Of 78,218,988,093 usable bytes, 8,819,213,312 are a 16th of the weights, 167,772,160 what projections of keys and
    values take beyond that, 1.5 GiB temporary, 4 x 0.5 + 0.7 GiB overhead.
    """
    result = kvcalc.capacity("llama-3-70b", tp=16, context=8192)
    assert result.cache_memory_bytes == 64_890_059_121 - 167_772_160
    assert (result.sequences, result.concurrency) == (192, 192.88)
    assert result.one_more_lacks_bytes == 193 * 335_544_320 - 64_722_286_961


def test_gemma_3_27b_in_20_gib() -> None:
    """A token takes 8,192 bytes in each of 10 layers, and in 52 more of which each keeps 1,024."""
    result = kvcalc.capacity("gemma-3-27b", cache_memory="20GiB", context=32_768, batch=4)
    each = 10 * 8192 * 32_768 + 52 * 8192 * 1024
    assert each == 3_120_562_176
    assert (result.sequences, result.concurrency) == (6, 6.88)
    assert result.tokens == 6 * 32_768 + (20 * 2**30 - 6 * each - 52 * 8192 * 1024) // 81_920
    assert result.max_context == (5 * 2**30 - 52 * 8192 * 1024) // 81_920
    assert (result.tokens, result.max_context) == (224_870, 60_211)


# The command line.

MODEL = """
name: mine
dtype: bf16
{}
layers:
- {{count: 1, attention: {{kind: gqa, num_heads: 4, num_kv_heads: 2, head_dim: 8}}{}}}
"""


@pytest.fixture
def own(tmp_path: Path) -> str:
    path = tmp_path / "mine.yaml"
    path.write_text(MODEL.format("parameters: 500", ""), encoding="utf-8")
    return str(path)


FIELDS = {
    "schema_version",
    "command",
    "model",
    "workload",
    "deployment",
    "gpus",
    "cache_memory_bytes",
    "blocks",
    "block_size",
    "tokens",
    "sequences",
    "concurrency",
    "max_context",
    "limited_by",
    "total",
    "not_modelled",
    "notes",
}


def test_json(kvcalc: Kvcalc, own: str) -> None:
    run = kvcalc("capacity", own, "--cache-memory", "10000", "-c", "50", "-b", "4", "--dp", "2", "--json")
    body: dict[str, Any] = json.loads(run.stdout)

    assert (run.code, run.stderr) == (0, "")
    assert set(body) >= FIELDS
    assert (body["schema_version"], body["command"], body["gpus"]) == (2, "capacity", None)
    assert body["workload"] == {"batch": 4, "context": 50}
    assert (body["blocks"], body["block_size"]) == (None, None)
    assert (body["sequences"], body["tokens"], body["max_context"], body["concurrency"]) == (3, 156, 78, 3.12)
    assert (body["total"], body["limited_by"]) == ({"tokens": 312, "sequences": 6}, "memory")
    assert (body["cache_memory_bytes"], body["one_more_lacks_bytes"]) == (10_000, 2800)


def test_csv_has_the_same_columns_with_and_without_an_accelerator(kvcalc: Kvcalc, own: str) -> None:
    words = ("capacity", own, "-c", "50", "--format", "csv")
    (given_room,) = csv.DictReader(io.StringIO(kvcalc(*words, "--cache-memory", "10000").stdout))
    (on_gpu,) = csv.DictReader(io.StringIO(kvcalc(*words).stdout))

    assert list(given_room) == list(on_gpu)
    assert (given_room["gpus_gpu"], on_gpu["gpus_gpu"]) == ("", "h100-sxm")
    assert (given_room["sequences"], given_room["total_tokens"], given_room["blocks"]) == ("3", "156", "")
    assert on_gpu["gpus_usable_bytes"] == "78218988093"


def test_csv_of_what_has_no_end_is_empty(kvcalc: Kvcalc, tmp_path: Path) -> None:
    path = tmp_path / "w.yaml"
    path.write_text(MODEL.format("", ", window: 20"), encoding="utf-8")
    run = kvcalc("capacity", str(path), "--cache-memory", "10000", "-c", "50", "--format", "csv")
    (row,) = csv.DictReader(io.StringIO(run.stdout))
    assert (row["sequences"], row["tokens"], row["max_context"], row["limited_by"]) == ("7", "", "", "none")


def test_the_table_and_markdown(kvcalc: Kvcalc, own: str) -> None:
    words = ("capacity", own, "--cache-memory", "10000", "-c", "50", "--dp", "2", "--unit", "B")
    table, markdown = kvcalc(*words), kvcalc(*words, "--format", "markdown")

    assert (table.code, markdown.code) == (0, 0)
    lines = [" ".join(line.split()) for line in table.stdout.splitlines()]
    for line in (
        "holds at most a replica 2 replicas",
        "sequences 3 6 of 50 tokens",
        "tokens 156 312 in sequences of at most 50",
        "longest context 156 of 1 sequence",
        "concurrency 3.12 headroom / one sequence",
        "cache 9,600 2 x 1 layer x 3 sequences x 50 tokens x 2 heads x 8 x 2 bytes",
        "total 9,600 400 to spare",
        "for the cache: 10,000 bytes of a GPU",
        "limited by memory: one sequence more lacks 2,800 bytes on a GPU",
    ):
        assert line in lines
    assert "GiB" not in table.stdout
    assert "| sequences | 3 | 6 | of 50 tokens |\n" in markdown.stdout


def test_what_has_no_end_in_a_table(kvcalc: Kvcalc, tmp_path: Path) -> None:
    path = tmp_path / "w.yaml"
    path.write_text(MODEL.format("", ", window: 20"), encoding="utf-8")
    lines = kvcalc("capacity", str(path), "--cache-memory", "10000", "-c", "50").stdout.splitlines()
    assert any(line.split()[:3] == ["tokens", "unbounded", "in"] for line in lines)
    assert any(line.split()[:3] == ["longest", "context", "unbounded"] for line in lines)


def test_the_explanation_is_the_tree_of_terms(kvcalc: Kvcalc, own: str) -> None:
    shown = kvcalc("capacity", own, "--cache-memory", "10000", "-c", "50", "--explain").stdout
    assert "k_and_v x layers x sequences x context x num_kv_heads x head_dim x bytes_per_element" in shown
    assert "next:" not in shown


def test_a_context_beyond_the_models_is_computed_with_a_note(kvcalc: Kvcalc) -> None:
    run = kvcalc("capacity", "llama-3-8b", "--tp", "1", "-c", "10000")
    assert run.code == 0
    assert "note: context 10,000 is above the model's max_context of 8,192\n" in run.stderr
    assert "note: the longest context by memory is above the model's max_context of 8,192\n" in run.stderr
    longest = kvcalc("capacity", "llama-3-8b", "--tp", "1", "-c", "max", "-b", "56")
    assert (longest.code, longest.stderr) == (0, "")


def test_the_longest_context_of_the_model(kvcalc: Kvcalc) -> None:
    body = json.loads(kvcalc("capacity", "gemma-3-27b", "--cache-memory", "20GiB", "-c", "max", "--json").stdout)
    assert body["workload"]["context"] == 131_072


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            "llama-3-8b --cache-memory 0 -c 8192",
            "does not fit: a rank lacks 1,073,741,824 bytes (1.00 GiB); --cache-memory 1073741824 holds it\n",
        ),
        (
            "llama-3-8b --cache-memory 1GiB -c 8193",
            "one sequence does not fit: a rank lacks 131,072 bytes; --cache-memory 1073872896 holds it\n",
        ),
        ("llama-3-70b --tp 1 -c 8192", "a rank lacks 68,042,385,653 bytes (63.37 GiB); 2 GPUs hold it (tp 2)\n"),
        # 2 GPUs would be tight: with the usual temporary memory they do not hold it
        ("llama-3-70b --tp 1 -c 32Ki", "a rank lacks 76,095,449,333 bytes (70.87 GiB); 4 GPUs hold it (tp 4)\n"),
        ("llama-3-70b --tp 2 -c 32Ki", "a rank lacks 602,530,447 bytes (0.56 GiB); 4 GPUs hold it (tp 4)\n"),
        ("llama-3-8b --tp 1 -b 1e6 -c 1", "the batch, even of one token each, does not fit; 2 GPUs hold it (tp 2)\n"),
        ("llama-3-8b --cache-memory 1 -c 1", "a rank lacks 131,071 bytes; --cache-memory 131072 holds it\n"),
        (
            "llama-3-8b --cache-memory 1MiB -b 9 -c 1",
            "the batch, even of one token each, does not fit in --cache-memory\n",
        ),
        ("llama-3-8b --gpu-memory 2B -c 1", "a rank lacks 18,530,259,761 bytes (17.26 GiB)\n"),
    ],
)
def test_what_does_not_fit_ends_with_1_and_the_nearest_miss(words: str, message: str, kvcalc: Kvcalc) -> None:
    run = kvcalc("capacity", *words.split())
    assert run.code == 1
    assert "holds at most\n" in run.stdout
    assert run.stderr.splitlines()[-1].startswith("error: capacity: ")
    assert run.stderr.endswith(message)


@pytest.mark.parametrize(
    ("more", "named"),
    [
        (("--gpu", "h100-sxm"), "--gpu plays"),
        (("--weights", "5GB", "--gpu", "a100-80gb"), "--gpu and --weights play"),
        (
            ("--temporary", "1GB", "--overhead", "0", "--reserve", "x=1"),
            "--temporary and --overhead and --reserve play",
        ),
        (("--gpu-memory", "1TB", "--utilization", "0.5"), "--gpu-memory and --utilization play"),
        (("--weight-dtype", "fp8", "--parameters", "7e9"), "--weight-dtype and --parameters play"),
    ],
)
def test_what_plays_no_part_beside_the_memory_that_is_given_is_told(
    kvcalc: Kvcalc, more: tuple[str, ...], named: str
) -> None:
    words = ("capacity", "llama-3-8b", "-c", "8192", "--cache-memory", "10GiB")
    plain, run = kvcalc(*words), kvcalc(*words, *more)
    assert f"note: --cache-memory is all that a rank has for the cache: {named} no part\n" in run.stderr
    assert "no part" not in plain.stderr
    assert "no part" not in kvcalc("capacity", "llama-3-8b", *more).stderr
    held = [line for line in plain.stdout.splitlines() if line.startswith(("sequences", "tokens", "longest"))]
    assert held == [line for line in run.stdout.splitlines() if line.startswith(("sequences", "tokens", "longest"))]


def test_so_from_python() -> None:
    result = kvcalc.capacity("llama-3-8b", cache_memory="10GiB", gpu="h200", weights=5)
    assert "--cache-memory is all that a rank has for the cache: --gpu and --weights play no part" in texts(
        result.notes
    )


def test_gpus_cannot_be_chosen_without_their_memory(kvcalc: Kvcalc) -> None:
    run = kvcalc("capacity", "llama-3-8b", "--cache-memory", "10GiB", "--gpus", "4")
    assert (run.code, run.stdout) == (2, "")
    assert "--gpus: chooses a deployment by the memory of its GPUs, and --cache-memory leaves that out" in run.stderr


def test_what_does_not_fit_is_still_told_as_json(kvcalc: Kvcalc) -> None:
    run = kvcalc("capacity", "llama-3-8b", "--cache-memory", "0", "-c", "8192", "--json")
    assert run.code == 1
    body = json.loads(run.stdout)
    assert (body["sequences"], body["tokens"], body["max_context"], body["concurrency"]) == (0, 0, 0, 0.0)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("", "MODEL: missing"),
        ("llama-3-8bb", "did you mean 'llama-3-8b'"),
        ("llama-3-70b --tp 3", "tp: 3 is illegal for this model; legal are 1, 2, 4, 8, 16, 32, 64 ("),
        ("llama-3-8b --cache-memory 10G", "--cache-memory: '10G' could mean two sizes"),
        ("llama-3-8b --cache-memory -1", "--cache-memory: must not be negative"),
        ("llama-3-8b --cache-memory 1e19", "--cache-memory: '1e19' is beyond the limit"),
        ("llama-3-8b -c 128k", "kvcalc capacity llama-3-8b -c 128Ki\n"),
        ("llama-3-8b -c 1e13", "--context: 10,000,000,000,000 is beyond the limit of 1,000,000,000,000"),
        ("llama-3-8b -b 1e10", "--batch: 10,000,000,000 is beyond the limit of 1,000,000,000"),
        ("llama-3-8b --gpu-memory 0", "--gpu-memory: must be at least 1 byte"),
        (
            "--layers 2 --heads 2 --head-dim 8",
            "the command line lacks 'parameters'; give --weights SIZE or --parameters N",
        ),
    ],
)
def test_bad_input_ends_with_2_and_nothing_on_stdout(words: str, message: str, kvcalc: Kvcalc) -> None:
    run = kvcalc("capacity", *words.split())
    assert (run.code, run.stdout) == (2, "")
    assert message in run.stderr


def test_a_file_without_parameters_is_named(kvcalc: Kvcalc, tmp_path: Path) -> None:
    path = tmp_path / "p.yaml"
    path.write_text(MODEL.format("", ""), encoding="utf-8")
    run = kvcalc("capacity", str(path))
    assert (run.code, run.stdout) == (2, "")
    assert f"needs the weights: {path} lacks 'parameters'; give --weights SIZE or --parameters N" in run.stderr
    assert kvcalc("capacity", str(path), "--weights", "1GB").code == 0
    assert kvcalc("capacity", str(path), "--parameters", "1e9").code == 0
    assert kvcalc("capacity", str(path), "--cache-memory", "1GB").code == 0


def test_memory_for_the_cache_leaves_all_else_out(kvcalc: Kvcalc, own: str) -> None:
    words = ("capacity", own, "--cache-memory", "10000", "-c", "50", "--json")
    plain = json.loads(kvcalc(*words).stdout)
    beside = (
        "--weights",
        "1TB",
        "--temporary",
        "1TB",
        "--overhead",
        "1TB",
        "--reserve",
        "x=1TB",
        "--utilization",
        "0.1",
    )
    found = json.loads(kvcalc(*words, *beside).stdout)
    assert {**found, "notes": []} == {**plain, "notes": []}
    assert not any("LoRA" in words for words in texts(plain["not_modelled"]))


def test_the_result_goes_to_a_file(kvcalc: Kvcalc, own: str, tmp_path: Path) -> None:
    words = ("capacity", own, "--cache-memory", "10000", "-c", "50")
    run = kvcalc(*words, "-o", str(tmp_path / "out.txt"))
    assert (run.code, run.stdout) == (0, "")
    shown = kvcalc(*words).stdout.splitlines()
    written = (tmp_path / "out.txt").read_text(encoding="utf-8").splitlines()
    assert written[:-1] == shown[:-1]  # the last line is the next command, which has the options that were typed
