"""The smallest deployment, against a search of everything legal; and how many sequences a deployment holds."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

import pytest
from fuzzing import examples, some
from hypothesis import given
from hypothesis import strategies as st

import kvcalc
from kvcalc.catalogue import model_names
from kvcalc.mechanisms import GQA, MHA, MLA, MQA, Attention, NoAttention
from kvcalc.memory import Fit
from kvcalc.model.layers import LayerGroup
from kvcalc.verbs.searching.candidate import evaluate
from kvcalc.verbs.searching.deployment_search import best_of, most_sequences, smallest

MOST_GPUS = 64
CATALOGUE = [model for model in map(kvcalc.load_model, model_names()) if model.parameters]


def is_legal(model: kvcalc.Model, tp: int) -> bool:
    """Heads, or a state's channels, divide by tp; KV heads and groups divide by tp, or tp by them."""
    for layer in model.distinct():
        kept = vars_of(layer.attention)
        divided = [kept[name] for name in DIVIDED.get(kept["kind"], ("num_heads",)) if name in kept]
        copied = [kept[name] for name in ("num_kv_heads", "num_groups") if name in kept]
        if any(heads % tp for heads in divided) or any(heads % tp and tp % heads for heads in copied):
            return False
    return True


DIVIDED = {
    "gated_deltanet": ("num_k_heads", "num_v_heads"),
    "mamba1": ("intermediate_size",),
    "short_conv": ("hidden_size",),
}


def vars_of(attention: Any) -> dict[str, Any]:
    return {field.name: getattr(attention, field.name) for field in fields(attention)}


def holds(scenario: kvcalc.Scenario, tp: int, pp: int) -> bool:
    return evaluate(scenario, kvcalc.Deployment(tp, pp)).fit is not Fit.NO


def by_search(scenario: kvcalc.Scenario) -> kvcalc.Deployment | None:
    """Fewest GPUs, on ties the larger tp; pipeline stages where no tp of a node is enough or where allowed."""
    node = scenario.gpu.gpus_per_node or 8
    no_attention = all(not layer.attention.cached() for layer in scenario.model.distinct())
    tps = [tp for tp in range(1, node + 1) if is_legal(scenario.model, tp) and (tp == 1 or not no_attention)]
    alone = [tp for tp in tps if holds(scenario, tp, 1)]
    if alone and not scenario.allow_pp:
        return kvcalc.Deployment(min(alone))
    pairs = ((tp, pp) for tp in tps for pp in range(1, scenario.model.num_layers + 1) if tp * pp <= MOST_GPUS)
    for tp, pp in sorted(pairs, key=lambda pair: (pair[0] * pair[1], -pair[0])):
        if holds(scenario, tp, pp):
            return kvcalc.Deployment(tp, pp)
    return None


def agrees(scenario: kvcalc.Scenario) -> bool:
    found, expected = smallest(scenario), by_search(scenario)
    if expected is not None:
        return found is not None and found.deployment == expected and found.fit is not Fit.NO
    # Beyond what was searched: more stages, or replicas where no single one holds the batch.
    return found is None or found.deployment.gpus > MOST_GPUS or found.deployment.dp > 1


@st.composite
def scenarios(draw: st.DrawFn) -> kvcalc.Scenario:
    heads = draw(st.sampled_from([1, 2, 4, 6, 8, 16, 24]))
    kv_heads = draw(st.sampled_from([n for n in range(1, heads + 1) if heads % n == 0]))
    width = draw(st.integers(1, 256))
    kinds: list[Attention] = [
        MHA(num_heads=heads, head_dim=width),
        MQA(num_heads=heads, head_dim=width),
        GQA(num_heads=heads, num_kv_heads=kv_heads, head_dim=width),
        MLA(num_heads=heads, kv_lora_rank=width, qk_rope_head_dim=8, qk_nope_head_dim=8, v_head_dim=8),
        NoAttention(),
    ]
    group = st.builds(LayerGroup, count=st.integers(1, 9), attention=st.sampled_from(kinds))
    hidden, vocab = draw(st.integers(1, 4096)), draw(st.integers(1, 50_000))
    dims: dict[str, Any] = draw(
        st.sampled_from(
            [{}, *({"hidden_size": hidden, "vocab_size": vocab, "tie_word_embeddings": tied} for tied in (True, False))]
        )
    )
    parameters = draw(st.integers(1, 10**9)) + 2 * hidden * vocab
    model = kvcalc.Model(
        name="random", parameters=parameters, layers=tuple(draw(st.lists(group, min_size=1, max_size=4))), **dims
    )
    batch, context = draw(st.integers(1, 64)), draw(st.integers(1, 20_000))
    fixed, small = draw(st.sampled_from([(10**8, 10**7), (0, 0), (None, None)]))
    wanted = 2 * parameters + kvcalc.estimate(model, batch=batch, context=context).cache.bytes
    memory = (
        wanted * 10 // draw(st.integers(3, 300)) + 1 + ((fixed or 0) + (small or 0) if fixed is not None else 10**10)
    )
    return kvcalc.make_scenario(
        model,
        batch=batch,
        context=context,
        gpu=kvcalc.Gpu(name="any", gpus_per_node=draw(st.sampled_from([None, 1, 2, 4, 8, 16]))),
        gpu_memory=memory,
        utilization=draw(st.sampled_from(["1", "0.9"])),
        temporary=fixed,
        overhead=small,
        allow_pp=draw(st.booleans()),
    )


@examples(100)
@given(scenarios())
def test_the_smallest_deployment_of_random_models(scenario: kvcalc.Scenario) -> None:
    assert agrees(scenario)


@pytest.mark.parametrize(
    ("gpu", "allow_pp", "first"),
    [
        *(("l4", False, 0), ("rtx4090", True, 1), ("h100-sxm", False, 2)),
        *(("h100-sxm", True, 0), ("gb200", False, 1), ("gh200-96", True, 2)),
    ],
)
def test_the_smallest_deployment_of_the_catalogue(gpu: str, allow_pp: bool, first: int) -> None:
    """Each model on two of the accelerators."""
    for model in some(CATALOGUE[first::3]):
        scenario = kvcalc.make_scenario(model, batch=5, context=20_000, gpu=gpu, allow_pp=allow_pp)
        assert agrees(scenario), model.name


@pytest.mark.parametrize(
    ("model", "options", "tp", "pp", "tight"),
    [
        ("llama-3-8b", {}, 1, 1, False),
        ("llama-3-70b", {}, 2, 1, True),
        ("llama-3-70b", {"batch": 32, "context": "32Ki"}, 8, 1, False),
        ("llama-3-70b", {"gpu": "h200-sxm"}, 2, 1, False),
        ("deepseek-v3", {"gpu": "h200-sxm"}, 8, 1, False),
        ("deepseek-v3", {"gpu": "h100-sxm"}, 2, 5, True),
        ("falcon-7b", {"gpu": "t4"}, 1, 2, True),  # 71 query heads: no tp but 1
    ],
)
def test_smallest_deployments_by_hand(model: str, options: dict[str, Any], tp: int, pp: int, tight: bool) -> None:
    gpus = kvcalc.estimate(model, **options).gpus

    assert (gpus.deployment, gpus.count) == (kvcalc.Deployment(tp, pp), tp * pp)
    assert gpus.count_tight is tight


def test_nothing_legal_is_null() -> None:
    gpus = kvcalc.estimate("llama-3-8b", context="8Ki", temporary="100GB").gpus

    assert (gpus.count, gpus.deployment, gpus.per_rank, gpus.count_tight) == (None,) * 4
    assert (gpus.fits, gpus.tight) == (False, False)


def test_on_ties_the_larger_tp() -> None:
    """8 GPUs are needed: 8 x 1 is taken, not 4 x 2 or 2 x 4."""
    options: dict[str, Any] = {"temporary": 0, "overhead": 0, "weights": "80GB", "utilization": 1, "allow_pp": True}
    gpus = kvcalc.estimate("llama-3-70b", context=1, gpu_memory="10.1GB", **options).gpus
    assert gpus.deployment == kvcalc.Deployment(tp=8)


@pytest.mark.parametrize(
    ("model", "options", "expected"),
    [
        ("llama-3-70b", {"gpus": 3}, kvcalc.Deployment(2)),
        ("llama-3-70b", {"gpus": 2}, kvcalc.Deployment(2)),
        ("llama-3-70b", {"gpus": 8}, kvcalc.Deployment(8)),
        ("llama-3-70b", {"gpus": 7}, kvcalc.Deployment(4)),
        ("llama-3-70b", {"gpus": 16}, kvcalc.Deployment(8)),
        ("llama-3-70b", {"gpus": 1}, kvcalc.Deployment(1)),
        ("llama-3-70b", {"gpus": 9, "dp": 2}, kvcalc.Deployment(4, 1, 2)),
        ("llama-3.1-405b", {"gpus": 16}, kvcalc.Deployment(8, 2)),
        ("llama-3.1-405b", {"gpus": 24}, kvcalc.Deployment(8, 3)),
        ("llama-3-8b", {"gpus": 4, "gpu": "gh200-96"}, kvcalc.Deployment(1)),
    ],
)
def test_the_best_of_a_few_gpus(model: str, options: dict[str, Any], expected: kvcalc.Deployment) -> None:
    assert kvcalc.estimate(model, **options).scenario.deployment == expected


@examples(60)
@given(scenarios(), st.integers(1, 40))
def test_the_best_of_a_few_gpus_is_legal_and_holds_where_one_does(scenario: kvcalc.Scenario, gpus: int) -> None:
    best = best_of(scenario, gpus)
    assert best is not None
    deployment = best.deployment

    assert deployment.gpus <= gpus
    assert deployment.tp <= scenario.gpu.node_size
    assert is_legal(scenario.model, deployment.tp)
    if scenario.allow_pp:
        return
    alone = [tp for tp in range(1, min(gpus, scenario.gpu.node_size) + 1) if is_legal(scenario.model, tp)]
    if any(layer.attention.cached() for layer in scenario.model.distinct()):
        assert (deployment.pp == 1) or not any(holds(scenario, tp, 1) for tp in alone)
        assert best.fit is not Fit.NO or not any(holds(scenario, tp, 1) for tp in alone)


def test_replicas_that_do_not_exist_are_refused() -> None:
    with pytest.raises(kvcalc.KvcalcError, match="--gpus: 2 are fewer than the 3 replicas"):
        kvcalc.make_scenario("llama-3-8b", gpus=2, dp=3)


@examples(100)
@given(scenarios(), st.data())
def test_the_most_sequences_are_exactly_what_fits(scenario: kvcalc.Scenario, data: st.DataObject) -> None:
    tp = data.draw(st.sampled_from([tp for tp in range(1, 17) if is_legal(scenario.model, tp)]))
    pp = data.draw(st.integers(1, scenario.model.num_layers))
    deployment = kvcalc.Deployment(tp, pp)
    most = most_sequences(scenario, deployment)

    def fits(batch: int) -> bool:
        asked = replace(scenario, workload=replace(scenario.workload, batch=batch))
        return all(memory.tree.bytes <= scenario.usable_bytes for memory in evaluate(asked, deployment).memories)

    assert most == 0 or fits(most)
    assert most == 10**9 or not fits(most + 1)
    assert most_sequences(replace(scenario, workload=replace(scenario.workload, batch=7)), deployment) == most


@pytest.mark.parametrize(
    ("usable", "tp", "expected"),
    [
        (1000 + 30 + 7 + 640 * 3, 1, 3),
        (1000 + 30 + 7 + 640 * 3 - 1, 1, 2),
        (1000 + 30 + 7 + 640 - 1, 1, 0),
        (500 + 30 + 7 + 320 * 11, 2, 11),
        (250 + 30 + 7 + 320 * 11 - 1, 4, 10),
    ],
)
def test_the_most_sequences_by_hand(usable: int, tp: int, expected: int) -> None:
    """A sequence takes 2 x 2 KV heads x 8 x 10 tokens x 2 bytes = 640 bytes, on 2 ranks or more 320 each."""
    model = kvcalc.Model(
        name="m", layers=(LayerGroup(count=1, attention=GQA(num_heads=4, num_kv_heads=2, head_dim=8)),)
    )
    scenario = kvcalc.make_scenario(
        model, context=10, weights=1000, temporary=30, overhead=7, gpu_memory=usable, utilization=1
    )

    assert most_sequences(scenario, kvcalc.Deployment(tp)) == expected
    assert most_sequences(scenario, kvcalc.Deployment(tp, 1, 5)) == expected
    told = {most.gpus: most.sequences for most in kvcalc.estimate(scenario).gpus.most_sequences}
    assert told.get(tp, 0) == expected


def test_a_cache_of_nothing_has_no_end() -> None:
    model = kvcalc.Model(name="m", parameters=1, layers=(LayerGroup(count=1, attention=NoAttention()),))

    assert most_sequences(kvcalc.make_scenario(model), kvcalc.Deployment()) == 10**9


@pytest.mark.parametrize(("batch", "dp"), [(3, 1), (4, 2), (6, 2), (9, 3), (10, 4)])
@pytest.mark.parametrize("layers", [1, 2])
def test_more_replicas_where_no_single_one_holds_the_batch(layers: int, batch: int, dp: int) -> None:
    """With one head, a replica has a GPU a layer at most. Each of them holds 1,000 bytes of weights and 3 sequences."""
    model = kvcalc.Model(name="m", layers=(LayerGroup(count=layers, attention=MHA(num_heads=1, head_dim=8)),))
    options: dict[str, Any] = {"temporary": 0, "overhead": 0, "gpu_memory": 1000 + 320 * 3, "utilization": 1}
    gpus = kvcalc.estimate(model, batch=batch, context=10, weights=1000 * layers, **options).gpus

    assert (gpus.count, gpus.deployment) == (layers * dp, kvcalc.Deployment(1, layers, dp))
    assert gpus.per_rank is not None
    assert gpus.per_rank.cache_bytes == 320 * -(-batch // dp)


def test_a_deep_model_is_searched_to_the_end() -> None:
    """118 TB over 2,000 layers need 1,655 stages of an H100, which a search from below must reach."""
    model = kvcalc.Model(name="m", layers=(LayerGroup(count=2000, attention=MHA(num_heads=1, head_dim=128)),))
    gpus = kvcalc.estimate(model, weights="118TB", context=100).gpus

    assert (gpus.count, gpus.deployment) == (1655, kvcalc.Deployment(pp=1655))


def test_replicas_may_be_tight() -> None:
    """With 0.22 GiB of temporary memory a GPU holds 3 of 10 sequences; with 5.64 GiB none."""
    model = kvcalc.Model(name="m", layers=(LayerGroup(count=1, attention=MHA(num_heads=1, head_dim=8)),))
    gpus = kvcalc.estimate(
        model, batch=10, context=10, weights=50, overhead=0, gpu_memory=50 + 236_223_201 + 320 * 3, utilization=1
    ).gpus

    assert (gpus.count, gpus.deployment, gpus.count_tight) == (4, kvcalc.Deployment(dp=4), True)


def test_stages_that_grow_the_overhead_may_still_help() -> None:
    """1 GB of weights: on one GPU 2.095 GB with the least temporary, on two 2.025 GB each, on 64 more again."""
    model = kvcalc.Model(name="m", layers=(LayerGroup(count=64, attention=MHA(num_heads=1, head_dim=1)),))
    gpus = kvcalc.estimate(model, context=1, weights="1GB", gpu_memory="2.05GB", utilization=1).gpus

    assert (gpus.count, gpus.deployment, gpus.count_tight) == (2, kvcalc.Deployment(pp=2), True)


def test_stages_that_are_exactly_full() -> None:
    """4,000 bytes on GPUs of 1,000: four stages, and not five."""
    model = kvcalc.Model(name="m", layers=(LayerGroup(count=8, attention=NoAttention()),))
    options: dict[str, Any] = {"temporary": 0, "overhead": 0, "utilization": 1}

    assert kvcalc.estimate(model, weights=4000, gpu_memory=1000, **options).gpus.count == 4
    assert kvcalc.estimate(model, weights=4000, gpu_memory=999, **options).gpus.count == 5
