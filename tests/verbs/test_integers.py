"""Searches count on integers and stages alike are one: the figures are those of the terms, stage by stage."""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from dataclasses import replace
from typing import Any, ClassVar

from fuzzing import examples
from hypothesis import given
from hypothesis import strategies as st

import kvcalc
from kvcalc.deployment import Deployment, stages
from kvcalc.engines import Engine, Load, RankLoad, Settled, Setup, content_bytes, contents
from kvcalc.legality import legal_dcps, legal_eps, legal_tps
from kvcalc.mechanisms import GQA, MHA, MLA, MQA, Attention, Cross, GatedDeltaNet, Mamba2, NoAttention, ShortConv
from kvcalc.memory import Fit, Ranks, memories_of
from kvcalc.model.layers import LayerGroup, Repeat, count_layers
from kvcalc.model.model import WeightPart
from kvcalc.model.stages import Stage
from kvcalc.noun import noun
from kvcalc.term import Product
from kvcalc.verbs.bounds.decode import decode_bound
from kvcalc.verbs.searching.candidate import evaluate
from kvcalc.verbs.searching.deployment_search import best_of, smallest

laws = examples(60)

HEADS = 8
DIMS = st.sampled_from([16, 32, 64, 96])


@st.composite
def attentions(draw: st.DrawFn) -> Attention:
    width, kv_heads = draw(DIMS), draw(st.sampled_from([1, 2, 4, 8]))
    latent: dict[str, Any] = {
        "kv_lora_rank": draw(DIMS),
        "qk_rope_head_dim": draw(DIMS),
        "qk_nope_head_dim": 16,
        "v_head_dim": 16,
    }
    kinds: list[Attention] = [
        MHA(num_heads=HEADS, head_dim=width, v_head_dim=draw(st.none() | DIMS)),
        MQA(num_heads=HEADS, head_dim=width),
        GQA(num_heads=HEADS, num_kv_heads=kv_heads, head_dim=width),
        MLA(num_heads=HEADS, index_head_dim=draw(st.sampled_from([None, 128])), **latent),
        Cross(num_heads=HEADS, num_kv_heads=kv_heads, head_dim=width, encoder_context=draw(st.integers(1, 50))),
        GatedDeltaNet(num_k_heads=HEADS, num_v_heads=2 * HEADS, k_head_dim=width, v_head_dim=width, conv_kernel=4),
        Mamba2(num_heads=HEADS, head_dim=width, state_size=16, num_groups=kv_heads, conv_kernel=4),
        ShortConv(hidden_size=HEADS * width, conv_kernel=3),
        NoAttention(),
    ]
    return draw(st.sampled_from(kinds))


@st.composite
def groups(draw: st.DrawFn) -> LayerGroup:
    kept = draw(attentions() | st.tuples(attentions(), attentions()))
    spans = [None, "window", "chunk"]
    grows = any(each.elements_per_token for each in (kept if isinstance(kept, tuple) else (kept,)))
    span = draw(st.sampled_from(spans)) if grows else None
    limit: dict[str, Any] = {} if span is None else {span: draw(st.integers(1, 300))}
    return LayerGroup(count=draw(st.integers(1, 7)), attention=kept, **limit)


@st.composite
def models(draw: st.DrawFn) -> kvcalc.Model:
    repeat = st.builds(Repeat, repeat=st.integers(1, 4), of=st.lists(groups(), min_size=1, max_size=3).map(tuple))
    layers = tuple(draw(st.lists(groups() | repeat, min_size=1, max_size=3)))
    experts = draw(st.none() | st.sampled_from([6, 8, 16]))
    parts = st.builds(
        WeightPart,
        part=st.text("abc", min_size=1, max_size=3),
        parameters=st.integers(1, 10**7),
        format=st.sampled_from(["bf16", "fp8", "mxfp4", "q4_k"]),
        split=st.sampled_from(["tp", "ep", "all"]),
    )
    table = WeightPart(part="embedding", parameters=1003, format="bf16", place="embedding")
    head = WeightPart(part="head", parameters=977, format="fp8", place="head")
    listed = [(), *(() if experts is None else [(table, *draw(st.lists(parts, max_size=5)), head)])]
    return kvcalc.Model(
        name="random",
        layers=layers,
        hidden_size=64,
        vocab_size=draw(st.none() | st.integers(1, 500)),
        tie_word_embeddings=draw(st.booleans()),
        num_experts=experts,
        num_experts_per_tok=None if experts is None else 2,
        moe_intermediate_size=draw(st.none() | st.just(16)),
        first_k_dense=draw(st.none() | st.integers(0, 5)),
        parameters=draw(st.integers(10**5, 10**9)),
        weights=draw(st.sampled_from(listed)),
    )


class TwiceLayout(Settled):
    def excess(self, stage: Stage, load: Load) -> Iterator[Product]:
        for content in contents(self.rank_load(stage, load)):
            yield content.term._replace(path=f"{content.term.path}, again")


@noun
class Twice(Engine):
    """An engine with terms of its own."""

    name: ClassVar[str] = "twice"
    about: ClassVar[str] = ""
    formula: ClassVar[str] = ""
    source: ClassVar[str] = ""
    plain: ClassVar[bool] = True

    def settle(self, setup: Setup) -> TwiceLayout:
        return TwiceLayout(setup)


@st.composite
def scenarios(draw: st.DrawFn, memory: tuple[int, int] = (10**6, 10**10)) -> kvcalc.Scenario:
    model, context = draw(models()), draw(st.integers(1, 400))
    options: dict[str, Any] = {
        "gpu_memory": draw(st.integers(*memory)),
        "cache_dtype": draw(st.sampled_from([None, "fp8", "int4_per_token_head", "nvfp4"])),
        "temporary": draw(st.none() | st.integers(0, 10**5)),
        "overhead": draw(st.none() | st.integers(0, 10**5)),
        "weights": draw(st.none() | st.integers(0, 10**7)),
        "reserve": draw(st.sampled_from([{}, {"lora": 77}])),
        "shared_prefix": draw(st.none() | st.integers(1, context)),
        "allow_pp": draw(st.booleans()),
    }
    asked = kvcalc.make_scenario(model, batch=draw(st.integers(1, 60)), context=context, **options)
    return replace(asked, engine=Twice()) if draw(st.booleans()) else asked


@st.composite
def deployments(draw: st.DrawFn, model: kvcalc.Model) -> Deployment:
    tp, dp = draw(st.sampled_from(legal_tps(model))), draw(st.integers(1, 3))
    joined = model.is_mixture_of_experts and dp > 1 and draw(st.booleans())
    ep = draw(st.sampled_from(legal_eps(model, tp * dp if joined else tp))) if model.is_mixture_of_experts else 1
    dcp = draw(st.sampled_from(legal_dcps(model, tp)))
    return Deployment(tp, draw(st.integers(1, model.num_layers)), dp, ep, dcp, dp_attention=joined)


@laws
@given(scenarios(), st.data())
def test_integers_are_the_bytes_of_the_terms(scenario: kvcalc.Scenario, data: st.DataObject) -> None:
    deployment = data.draw(deployments(scenario.model))
    sequences = deployment.sequences(scenario.workload.batch)
    for context in (0, 1, scenario.workload.context, data.draw(st.integers(1, 10**6))):
        for rank in Ranks(scenario).of(deployment):
            memory = rank.holding(sequences, context)
            assert rank.cache_bytes(sequences, context) == memory.cache.bytes
            assert rank.cache_read_bytes(sequences, context) == rank.cache_read(sequences, context).bytes
            assert rank.weights_bytes == (None if memory.weights is None else memory.weights.bytes)
            assert rank.fixed_bytes + memory.cache.bytes + memory.temporary.term.bytes == memory.tree.bytes
            assert rank.bytes_holding(sequences, context) == memory.tree.bytes


@laws
@given(scenarios(), st.data())
def test_stages_that_are_alike_hold_what_each_of_them_holds(scenario: kvcalc.Scenario, data: st.DataObject) -> None:
    """Each stage by itself, from the layers written out."""
    model, deployment = scenario.model, data.draw(deployments(scenario.model))
    ranks = Ranks(scenario).of(deployment)
    by_number = {number: rank for rank in ranks for numbers in rank.numbers for number in numbers}
    held = stages([(number, caches) for number, caches in enumerate(model.sequence())], deployment.pp)

    assert sorted(by_number) == [*range(deployment.pp)]
    assert [rank.stage for rank in ranks] == sorted({rank.stage for rank in ranks})
    assert sum(rank.stages_alike for rank in ranks) == deployment.pp
    for number, layers in enumerate(held):
        rank = by_number[number]
        kinds = count_layers(caches for _, caches in layers)
        assert [*rank.layers.items()] == [*kinds.items()]
        experts = [layer for layer, _ in layers if layer >= model.first_with_experts]
        assert len(experts) == len([layer for layer in rank.layer_range if layer >= model.first_with_experts])
        assert len(rank.layer_range) == len(layers)
        assert (number == 0, number == deployment.pp - 1) == (rank.stage == 0, rank.numbers[-1].stop == deployment.pp)
        if rank.stage == number:
            assert [*rank.layer_range] == [layer for layer, _ in layers]


@laws
@given(scenarios(), st.data())
def test_a_candidate_is_judged_as_its_terms_are(scenario: kvcalc.Scenario, data: st.DataObject) -> None:
    candidate = evaluate(scenario, data.draw(deployments(scenario.model)))
    memories = memories_of(candidate.ranks, candidate.sequences, candidate.context)
    usable = scenario.usable_bytes
    fits = all(memory.tree.bytes - memory.temporary.term.bytes + memory.temporary.high <= usable for memory in memories)
    tight = all(memory.tree.bytes - memory.temporary.term.bytes + memory.temporary.low <= usable for memory in memories)

    assert candidate.memories == memories
    assert candidate.fit is (Fit.FITS if fits else Fit.TIGHT if tight else Fit.NO)
    assert candidate.most_bytes == max(memory.tree.bytes for memory in memories)
    assert candidate.fullest == max(memories, key=lambda memory: (memory.cache.bytes, -memory.stage))
    assert candidate.total_bytes == candidate.fullest.total_bytes


def storable(scenario: kvcalc.Scenario) -> list[int]:
    """Legal sizes within a node whose rows the format can store."""
    found = []
    for tp in legal_tps(scenario.model, 8):
        try:
            content_bytes(RankLoad(scenario.model.distinct(), tp, 1, 1, scenario.cache_format))
        except kvcalc.KvcalcError:
            continue
        found.append(tp)
    return found


@examples(30)
@given(scenarios(), st.integers(1, 60), st.integers(1, 3))
def test_the_best_of_a_few_gpus_is_that_of_a_search_of_all(scenario: kvcalc.Scenario, gpus: int, dp: int) -> None:
    ranks = Ranks(scenario)
    tps = [tp for tp in storable(scenario) if tp <= gpus // dp]
    flat = [evaluate(scenario, Deployment(tp, 1, dp), ranks) for tp in tps]
    every = flat
    if scenario.allow_pp or all(each.fit is Fit.NO for each in flat):
        counts = range(2, scenario.model.num_layers + 1)
        every = flat + [
            evaluate(scenario, Deployment(tp, pp, dp), ranks) for tp in tps for pp in counts if tp * pp <= gpus // dp
        ]

    def room(candidate: Any) -> tuple[int, int, int]:
        fits = [Fit.NO, Fit.TIGHT, Fit.FITS].index(candidate.fit)
        return fits, -candidate.most_bytes, candidate.deployment.tp

    found = best_of(scenario, gpus, dp)
    assert (found.deployment if found else None) == (max(every, key=room).deployment if every else None)


@examples(32)
@given(scenarios((2 * 10**5, 5 * 10**6)))
def test_the_smallest_with_replicas_is_that_of_a_search_of_all(scenario: kvcalc.Scenario) -> None:
    """Of every tp and number of stages, the fewest replicas that hold their share of the batch."""
    scenario = replace(scenario, replacements=replace(scenario.replacements, overhead=0, temporary=0))
    found, batch, ranks = smallest(scenario), scenario.workload.batch, Ranks(scenario)
    ways = [(tp, pp) for tp in storable(scenario) for pp in range(1, scenario.model.num_layers + 1)]

    def holds(tp: int, pp: int, dp: int) -> bool:
        return evaluate(scenario, Deployment(tp, pp, dp), ranks).fit is not Fit.NO

    if found is None:
        assert not any(holds(tp, pp, batch) for tp, pp in ways)
        return
    assert found.fit is not Fit.NO
    if found.deployment.dp > 1:
        assert not any(holds(tp, pp, 1) for tp, pp in ways)
        fewer = found.deployment.gpus - 1
        assert not any(holds(tp, pp, min(batch, fewer // (tp * pp))) for tp, pp in ways if tp * pp <= fewer)


@examples(30)
@given(scenarios((10**8, 10**10)), st.data())
def test_a_bound_does_not_depend_on_what_was_asked_before(scenario: kvcalc.Scenario, data: st.DataObject) -> None:
    first, second = data.draw(deployments(scenario.model)), data.draw(deployments(scenario.model))
    ranks = Ranks(scenario)
    for deployment in (first, second, first):
        assert decode_bound(scenario, deployment, ranks) == decode_bound(scenario, deployment)
        assert evaluate(scenario, deployment, ranks) == evaluate(scenario, deployment)


@laws
@given(models())
def test_what_is_worked_out_of_a_model_is_not_part_of_it(model: kvcalc.Model) -> None:
    fresh = pickle.dumps(replace(model))
    model.layout.stages(1)
    assert pickle.dumps(model) == fresh
    assert pickle.loads(fresh) == model  # noqa: S301  # our own
    assert hash(pickle.loads(fresh)) == hash(model)  # noqa: S301  # likewise
