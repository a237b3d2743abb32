"""What every engine promises, whatever it is: searches, results and notes rest on it."""

from __future__ import annotations

import pickle
from dataclasses import replace
from functools import cache
from itertools import pairwise, product
from typing import Any, NamedTuple

import pytest
from each import for_each
from fuzzing import some
from toy_engine import Toy
from toy_slots import Slots

import kvcalc
from kvcalc.deployment import Deployment
from kvcalc.engines import ENGINES, Engine, Load, Settled, choose_engine, content_bytes
from kvcalc.engines.cache_format import CacheFormat
from kvcalc.errors import KvcalcError
from kvcalc.formats.by_name import find_format
from kvcalc.legality import check_legal, legal_dcps
from kvcalc.mechanisms import GQA, MHA, MLA, MQA, Cross, GatedDeltaNet, Mamba2, Shared
from kvcalc.memory import Ranks
from kvcalc.model.layers import LayerGroup, Layers, Repeat
from kvcalc.term import Product
from kvcalc.verbs.capacity import capacity
from kvcalc.verbs.explain import explain
from kvcalc.verbs.searching.candidate import evaluate
from kvcalc.verbs.searching.capacity_search import replica_of, usual
from kvcalc.verbs.searching.deployment_search import best_of, smallest
from kvcalc.verbs.searching.search_bounds import Bounds

EVERY: tuple[type[Engine], ...] = (*ENGINES.values(), Toy, Slots)

LEFT_FREE = {"llama-cpp": 2**30, "sglang": 8 * 2**30}
"""What an engine leaves free by its own rule, where that is more than a small accelerator has: it comes on top."""
FEW_SHAPES = {"tensorrt-llm": 6, "lmdeploy": 5}
"""Of an engine that refuses states, sparse latents, shared caches and encoders, since their rules are not known."""
WHOLE = {"lmdeploy"}
"""Engines that have no pipeline stages."""
BLOCKS = {"lmdeploy": 128}
"""A block that an engine can have, where 32 is none."""
POOLS_IN_RATIO = {"sglang"}
"""Their pools stand in a ratio, so that a token costs no whole number of bytes, and the rate is rounded up."""

GQA_8 = GQA(num_heads=8, num_kv_heads=4, head_dim=32)
LATENT = MLA(num_heads=8, kv_lora_rank=64, qk_rope_head_dim=32, qk_nope_head_dim=32, v_head_dim=32)
DELTA = GatedDeltaNet(num_k_heads=8, num_v_heads=8, k_head_dim=16, v_head_dim=16, conv_kernel=4)


def group(count: int, attention: object, **other: int) -> LayerGroup:
    return LayerGroup(count=count, attention=attention, **other)  # type: ignore[arg-type]  # as given


SHAPES: dict[str, tuple[Layers, ...]] = {
    "mha": (group(5, MHA(num_heads=8, head_dim=32)),),
    "mqa": (group(4, MQA(num_heads=8, head_dim=32)),),
    "latent": (group(5, LATENT),),
    "latent with indexer": (group(4, replace(LATENT, index_head_dim=128, index_n_heads=4, index_topk=64)),),
    "windows": (Repeat(repeat=2, of=(group(3, GQA_8, window=48), group(1, GQA_8))),),
    "windows alone": (group(4, GQA_8, window=80),),
    "chunks": (Repeat(repeat=2, of=(group(2, GQA_8, chunk=64), group(1, GQA_8))),),
    "states": (group(6, Mamba2(num_heads=8, head_dim=16, state_size=16, num_groups=8, conv_kernel=4)),),
    "hybrid": (Repeat(repeat=2, of=(group(3, DELTA), group(1, GQA_8))),),
    "side by side": (group(4, (GQA_8, Mamba2(num_heads=8, head_dim=16, state_size=16, num_groups=8, conv_kernel=4))),),
    "shared": (Repeat(repeat=3, of=(group(1, GQA_8), group(1, Shared()))),),
    "encoder": (group(4, (GQA_8, Cross(num_heads=8, num_kv_heads=4, head_dim=32, encoder_context=50))),),
}
DEPLOYMENTS = [
    Deployment(),
    Deployment(2),
    Deployment(4),
    Deployment(1, 2),
    Deployment(2, 3),
    Deployment(1, 4),
    Deployment(2, dp=2),
    Deployment(8, dcp=2),
]


def scenario(shape: str, engine: type[Engine], **options: object) -> kvcalc.Scenario:
    model = kvcalc.Model(name="small", dtype="bf16", parameters=10**6, hidden_size=256, layers=SHAPES[shape])
    given: dict[str, Any] = {"gpu_memory": 2 * 10**8, "overhead": "0B", **options}
    given["gpu_memory"] += LEFT_FREE.get(engine.name, 0)
    asked = kvcalc.make_scenario(model, **given)
    return replace(asked, engine=engine())


class Case(NamedTuple):
    """A model under an engine on a deployment that it serves."""

    scenario: kvcalc.Scenario
    deployment: Deployment
    settled: Settled

    def held(self, sequences: int, context: int, shared: int = 0) -> list[int]:
        load = Load(sequences, context, min(shared, context))
        return [self.settled.held_bytes(stage, load) for stage in self.settled.stages]


@cache
def case_of(shape: str, engine: type[Engine], deployment: Deployment) -> Case:
    """Skips nothing: what an engine or the model refuses is refused with a message, and no case."""
    asked = scenario(shape, engine)
    return Case(asked, deployment, Ranks(asked).settled(deployment))


def served(ranks: Ranks, deployment: Deployment) -> bool:
    try:
        check_legal(deployment, ranks.scenario.model)
    except KvcalcError:
        return False
    return ranks.can_hold(deployment)


@cache
def cases() -> list[tuple[type[Engine], str, Deployment]]:
    found = []
    for engine, shape in product(EVERY, SHAPES):
        ranks = Ranks(scenario(shape, engine))
        found += [(engine, shape, deployment) for deployment in DEPLOYMENTS if served(ranks, deployment)]
    return found


every_case = for_each(("engine", "shape", "deployment"), lambda: some(cases()))
every_engine = pytest.mark.parametrize("engine", EVERY, ids=[engine.name for engine in EVERY])

MEMORIES = [4 * 10**6, 10**8, 2 * 10**8]
CONTEXTS = [0, 1, 15, 16, 17, 47, 48, 49, 64, 65, 80, 300]


@every_engine
def test_most_cases_are_served(engine: type[Engine]) -> None:
    shapes = {shape for each, shape, _ in cases() if each is engine}
    assert len(shapes) >= FEW_SHAPES.get(engine.name, 8)
    stages = {1} if engine.name in WHOLE else {1, 2, 4}
    assert {deployment.pp for each, _, deployment in cases() if each is engine} >= stages


@every_case
def test_held_never_falls(engine: type[Engine], shape: str, deployment: Deployment) -> None:
    case = case_of(shape, engine, deployment)
    for shared in (0, 17, 40):
        of_one = [case.held(1, context, shared) for context in CONTEXTS]
        of_three = [case.held(3, context, shared) for context in CONTEXTS]
        for figures in (of_one, of_three):
            for (less, few), (more, many) in pairwise(zip(CONTEXTS, figures, strict=True)):
                assert all(one <= other for one, other in zip(few, many, strict=True)), (shared, less, more)
        for context, few, many in zip(CONTEXTS, of_one, of_three, strict=True):
            assert all(one <= other for one, other in zip(few, many, strict=True)), (shared, context)


@every_case
def test_leaves_add_up_and_are_no_less_than_the_content(
    engine: type[Engine], shape: str, deployment: Deployment
) -> None:
    case = case_of(shape, engine, deployment)
    for sequences, context, shared in [(1, 1, 0), (3, 17, 0), (3, 100, 40), (1, 300, 17)]:
        load = Load(sequences, context, min(shared, context))
        total = 0
        for stage in case.settled.stages:
            held = case.settled.held(stage, load)
            assert held.bytes == sum(part.bytes for part in held.parts) == case.settled.held_bytes(stage, load)
            content = content_bytes(case.settled.rank_load(stage, load))
            assert held.bytes >= content == case.settled.content_bytes(stage, load)
            total += held.bytes * stage.times * deployment.tp
            for part in held.parts:
                assert isinstance(part, Product)
            for part in case.settled.excess(stage, load):
                assert part.bytes > 0
                assert part.path
                assert part.source
        assert case.settled.replica(load).bytes == total
        numbers = sorted(number for stage in case.settled.stages for held in stage.numbers for number in held)
        assert numbers == list(range(deployment.pp))


@every_case
def test_stages_hold_no_less_apart_than_together(engine: type[Engine], shape: str, deployment: Deployment) -> None:
    if deployment.pp == 1:
        return
    apart, together = (case_of(shape, engine, each) for each in (deployment, replace(deployment, pp=1)))
    for load in [Load(1, 1), Load(2, 17), Load(3, 100), Load(5, 300, 40)]:
        each = [apart.settled.held_bytes(stage, load) * stage.times for stage in apart.settled.stages]
        assert sum(each) >= sum(together.settled.held_bytes(stage, load) for stage in together.settled.stages)


@every_case
def test_rates_are_the_differences_over_whole_blocks(engine: type[Engine], shape: str, deployment: Deployment) -> None:
    """From 960 tokens on no window grows; before the first 47 tokens none is full, less one that is never kept."""
    case = case_of(shape, engine, deployment)
    block = case.settled.block_tokens * deployment.dcp
    late = -(-960 // block) * block
    for stage in case.settled.stages:
        spans = [(late, 4 * block)] + ([(0, 47 // block * block)] if block <= 47 else [])
        for start, tokens in spans:
            rate = case.settled.rate(stage, Load(1, start))
            before, after = (case.settled.held_bytes(stage, Load(1, context)) for context in (start, start + tokens))
            each = rate.bytes_per_token_at_context if start else rate.bytes_per_token
            if engine is Slots and any(layer.span for layer in stage.kinds):
                assert after - before >= tokens * each  # it keeps every token, windows or not
            elif deployment.dcp > 1:  # rows of several tensors are each rounded up
                assert 0 <= tokens * each - (after - before) < deployment.dcp * len(stage.kinds) * tokens
            elif engine.name in POOLS_IN_RATIO:
                assert 0 <= tokens * each - (after - before) < tokens
            else:
                assert after - before == tokens * each
        one, many = (case.settled.held_bytes(stage, Load(n, late)) for n in (1, 101))
        rounded_up = 100 if engine.name in POOLS_IN_RATIO else 0
        assert many - one >= 100 * case.settled.rate(stage, Load(1, late)).bytes_per_sequence - rounded_up


@every_case
def test_capacity_fits_and_one_more_does_not(engine: type[Engine], shape: str, deployment: Deployment) -> None:
    asked = replace(scenario(shape, engine, context=100, temporary="0B"), deployment=deployment)
    found = capacity(asked)
    assert found.sequences is not None
    replica = replica_of(asked, deployment, usual)
    assert replica.holds(found.sequences, 100)
    assert not replica.holds(found.sequences + 1, 100)
    ranks = Ranks(asked).of(deployment)
    for rank, memory in zip(ranks, replica.cache_memory, strict=True):
        assert memory == rank.usable_bytes - rank.fixed_bytes - rank.temporary.term.bytes
        assert rank.usable_bytes <= 2 * 10**8 + LEFT_FREE.get(engine.name, 0)
    pooled = Ranks(asked).settled(deployment).pool(replica.cache_memory, Load(1, 100)) is not None
    data = found.to_dict()
    assert (data["blocks"] is not None, data["block_size"] is not None) == (pooled, pooled)


@every_engine
@for_each(("shape", "memory"), some(each for place, each in enumerate(product(SHAPES, MEMORIES)) if place % 4))
def test_searches_find_what_trying_everything_finds(engine: type[Engine], shape: str, memory: int) -> None:
    asked = scenario(shape, engine, gpu_memory=memory, batch=40, context=700, allow_pp=True, temporary="0B")
    ranks = Ranks(asked)
    every = [
        evaluate(asked, each, ranks)
        for tp, pp in product((1, 2, 4, 8), range(1, asked.model.num_layers + 1))
        if served(ranks, each := Deployment(tp, pp))
    ]
    holding = [each for each in every if each.holds(usual)]
    found = smallest(asked, figure=usual)
    if holding:
        fewest = min((each.deployment.gpus, -each.deployment.tp) for each in holding)
        assert found is not None
        assert (found.deployment.gpus, -found.deployment.tp) == fewest
    small = [each for each in every if each.deployment.gpus <= 6]
    best = best_of(asked, 6)
    assert (best is None) == (not small)
    if best is not None:
        assert best.least_headroom == max(each.least_headroom for each in small)


@every_engine
def test_settling_twice_is_settling_once(engine: type[Engine]) -> None:
    for one in (engine(), pickle.loads(pickle.dumps(engine()))):  # noqa: S301  # our own
        assert one == engine()
        assert hash(one) == hash(engine())
    deployment = Deployment() if engine.name in WHOLE else Deployment(1, 2)
    first, second = (case_of("windows", engine, deployment) for _ in range(2))
    assert first.held(3, 100) == second.held(3, 100)


@every_engine
def test_plain_engines_do_not_look_at_the_accelerator(engine: type[Engine]) -> None:
    if not engine.plain:
        return
    for shape in SHAPES:
        small, large = (
            Ranks(replace(scenario(shape, engine), gpu=kvcalc.load_gpu(name))).of(Deployment(2))[0]
            for name in ("t4", "b200")
        )
        assert small.settled.budget(small.settled.stages[0], 0) == large.settled.budget(large.settled.stages[0], 0)
        assert small.cache_bytes(3, 100) == large.cache_bytes(3, 100)


@every_engine
def test_every_option_is_read_or_refused(engine: type[Engine], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(ENGINES, engine.name, engine)
    usual = engine.usual_version or (engine.versions[-1] if engine.versions else None)
    assert choose_engine(engine.name, {}).version == usual
    assert usual is None or usual in engine.versions
    for name, option in engine.options.items():
        assert name == name.lower().replace("_", "-")
        if option.default is not None:
            assert choose_engine(engine.name, {name: option.default}).option(name) == engine().option(name)
            assert choose_engine(engine.name, {name.replace("-", "_"): option.default}) == choose_engine(
                engine.name, {name: option.default}
            )
        assert option.default_in_words
        with pytest.raises(KvcalcError, match=name):
            choose_engine(engine.name, {name: "no such value"})
    with pytest.raises(KvcalcError, match="'no-such-option'"):
        choose_engine(engine.name, {"no-such-option": "1"})
    with pytest.raises(KvcalcError, match="version"):
        choose_engine(f"{engine.name}@0.0.1-none", {})
    if engine.block_option is None:
        with pytest.raises(KvcalcError, match=f"engine {engine.name} counts tokens"):
            choose_engine(engine.name, {}, "16")
    else:
        block = BLOCKS.get(engine.name, 32)
        assert choose_engine(engine.name, {}, str(block)).option(engine.block_option) == block
        with pytest.raises(KvcalcError, match="give one of them"):
            choose_engine(engine.name, {engine.block_option: str(block)}, str(block))


@every_engine
def test_explain_tells_the_engines_own_formula(engine: type[Engine], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(ENGINES, engine.name, engine)
    told = explain(engine.name)
    assert (told.formula, told.keeps, told.source) == (engine.formula, engine.about, engine.source)
    assert [(each.name, each.help) for each in told.options] == [(n, o.help) for n, o in engine.options.items()]


@every_case
def test_no_rank_uses_more_than_the_accelerator_has(engine: type[Engine], shape: str, deployment: Deployment) -> None:
    """Plans rest on it: they rule deployments out before an engine has laid them out."""
    ranks = Ranks(scenario(shape, engine))
    most = ranks.most_of_an_accelerator(usual)
    for rank in ranks.of(deployment):
        assert rank.memory_for_cache(usual(rank.temporary)) + (rank.weights_bytes or 0) <= most
        assert rank.content_bytes(3, 77) <= rank.cache_bytes(3, 77)


@every_case
def test_no_stage_has_more_left_than_the_bound_says(engine: type[Engine], shape: str, deployment: Deployment) -> None:
    """Searches leave numbers of stages and of replicas out by it."""
    asked = scenario(shape, engine, batch=3, context=77)
    ranks = Ranks(asked)
    alone = Deployment(deployment.tp, dcp=deployment.dcp)
    if deployment.dcp > 1 or not ranks.serves(alone):
        return
    bounds = Bounds(evaluate(asked, alone, ranks), ranks, 3, usual)
    for pp in range(1, 5):
        if ranks.serves(Deployment(deployment.tp, pp)):
            each = ranks.of(Deployment(deployment.tp, pp))
            assert min(rank.headroom(3, 77) for rank in each) <= bounds.most_headroom(pp)


@every_engine
def test_more_replicas_that_share_experts_use_no_more(engine: type[Engine]) -> None:
    """Plans leave numbers of replicas out by what fewer of them use."""
    model = kvcalc.load_model("qwen3-30b-a3b")
    asked = replace(kvcalc.make_scenario(model), engine=engine())
    ranks = Ranks(asked)
    for tp in (1, 2, 4):
        several = [Deployment(tp, dp=dp, ep=tp * dp, dp_attention=True) for dp in (2, 4, 8, 16, 32, 64, 128)]
        most = [ranks.most_before_laid_out(each, usual) for each in several]
        assert most == sorted(most, reverse=True)
        for each, known in zip(several, most, strict=True):
            if ranks.serves(each):
                rank = ranks.of(each)[0]
                assert rank.memory_for_cache(usual(rank.temporary)) + (rank.weights_bytes or 0) <= known + max(
                    0, rank.cache_bytes(1, 77) - rank.content_bytes(1, 77)
                )


def test_dcp_is_legal_where_the_toy_refuses_it() -> None:
    """So that refusing is tested at all."""
    asked = scenario("latent", Toy)
    assert 2 in legal_dcps(asked.model, 8)
    assert not Ranks(asked).can_hold(Deployment(8, dcp=2))


class StatesInFp16(Settled):
    """A layout whose engine keeps states in a format of its own."""

    @property
    def cache_format(self) -> CacheFormat:
        return self.setup.cache_format._replace(state=find_format("fp16", "state"))


def test_an_engine_may_keep_states_in_a_format_of_its_own() -> None:
    asked = scenario("hybrid", Toy)
    plain = Ranks(asked).settled(Deployment(2))
    own = StatesInFp16(plain.setup)
    (stage,) = own.stages
    load = Load(3, 100)
    states = 3 * 6 * 4 * 16 * 16
    assert content_bytes(plain.rank_load(stage, load)) - content_bytes(own.rank_load(stage, load)) == states * (4 - 2)
    assert own.content_bytes(stage, load) == content_bytes(own.rank_load(stage, load)) == own.held(stage, load).bytes
    assert own.rate(stage, load).state_bytes_per_sequence == plain.rate(stage, load).state_bytes_per_sequence - (
        states // 3 * 2
    )
