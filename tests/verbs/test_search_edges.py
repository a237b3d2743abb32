"""At the edge of the search: formats that do not fit every split, batches beyond any fleet, odd GPU counts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from conftest import texts

import kvcalc
from kvcalc.deployment import Deployment
from kvcalc.mechanisms import MHA, MQA
from kvcalc.memory import Ranks
from kvcalc.model.layers import LayerGroup
from kvcalc.scenario.plan_request import Limits
from kvcalc.verbs.planning.search import Search
from kvcalc.verbs.searching.candidate import evaluate
from kvcalc.verbs.searching.deployment_search import best_of

if TYPE_CHECKING:
    from pathlib import Path

    from conftest import Kvcalc


def test_a_split_whose_rows_no_block_fills_is_left_out_of_the_search() -> None:
    """8 heads of 80 over 8 ranks are rows of 80 elements, which blocks of 32 do not fill; over 4 ranks they do."""
    model = kvcalc.Model(
        name="m", parameters=7 * 10**9, layers=(LayerGroup(count=32, attention=MHA(num_heads=8, head_dim=80)),)
    )
    gpus = kvcalc.estimate(model, context=8192, cache_dtype="q8_0").gpus
    assert gpus.count == 1
    assert [most.gpus for most in gpus.most_sequences] == [1, 2, 4]
    with pytest.raises(kvcalc.KvcalcError, match="multiple"):
        kvcalc.estimate(model, context=8192, cache_dtype="q8_0", tp=8)


@pytest.mark.parametrize("model", ["deepseek-v3", "gemma-3-27b", "qwen3-8b"])
def test_a_batch_beyond_any_fleet_has_no_deployment(model: str) -> None:
    result = kvcalc.estimate(model, batch=10**9, context=10**6)
    assert result.gpus.count is None
    assert any("no legal deployment" in note for note in texts(result.notes))


def test_gpus_takes_fewer_stages_where_those_hold_it(kvcalc: Kvcalc) -> None:
    """17 stages of 32 layers are no shorter than 16, and their ranks have more overhead."""
    words = ("estimate", "falcon-7b", "-b", "2000", "-c", "2048", "--temporary", "0B", "--utilization", "1")
    run = kvcalc(*words, "--gpu-memory", "6683909948", "--gpus", "17")
    assert run.code == 0
    assert run.stdout.startswith("16 x h100-sxm, tp 1 x pp 16: fits")


def test_the_larger_tp_wins_between_equals() -> None:
    """Without cache or temporary memory to tell them apart, 2 GPUs are two tensor-parallel ranks, not two stages."""
    model = kvcalc.Model(name="m", layers=(LayerGroup(count=2, attention=MHA(num_heads=2, head_dim=64)),))
    found = kvcalc.estimate(model, context=1, weights="100GB", gpus=2, allow_pp=True)
    assert found.scenario.deployment == kvcalc.Deployment(tp=2, pp=1)


def test_weights_in_very_many_parts_are_refused(kvcalc: Kvcalc, tmp_path: Path) -> None:
    part = "- {part: p, parameters: 1, format: bf16}\n"
    layers = "layers:\n- {count: 1, attention: {kind: mha, num_heads: 1, head_dim: 1}}\n"
    path = tmp_path / "m.yaml"
    path.write_text(f"name: m\nweights:\n{part * 65}{layers}", encoding="utf-8")
    run = kvcalc("estimate", str(path))
    assert (run.code, run.stdout) == (2, "")
    assert "weights: more than 64 entries" in run.stderr


def test_very_many_mistakes_are_told_in_a_few_lines(kvcalc: Kvcalc, tmp_path: Path) -> None:
    path = tmp_path / "m.yaml"
    path.write_text("name: m\nlayers:\n" + "- {repeat: 1, of: []}\n" * 30_000, encoding="utf-8")
    run = kvcalc("estimate", str(path))
    assert run.code == 2
    assert "and 29996 more" in run.stderr  # each of the 30,000, and the list that they leave empty
    assert len(run.stderr) < 2000


def test_the_next_command_is_the_one_that_was_typed(kvcalc: Kvcalc) -> None:
    run = kvcalc("estimate", "deepseek-v3", "--gpu", "h200", "--tp", "8", "--reserve", "my adapter=1GiB", "-c", "8192")
    assert (
        "\nnext: kvcalc estimate deepseek-v3 --gpu h200 --tp 8 --reserve 'my adapter=1GiB' -c 8192 --explain\n"
        in run.stdout
    )


def test_the_explanation_names_every_source(kvcalc: Kvcalc) -> None:
    explained = kvcalc("estimate", "deepseek-v3", "--explain", "-c", "8192").stdout
    for source in ("temporary", "communication", "cuda graphs", "mla", "deepseek-v3", "h100-sxm"):
        assert f"\nsource of {source}: " in explained


def test_gpus_without_known_weights_is_refused(kvcalc: Kvcalc) -> None:
    """Ranking deployments as if weights were nothing would be a silent guess."""
    shape = ("estimate", "--layers", "32", "--heads", "32", "--head-dim", "64", "--gpus", "8")
    unknown, known = kvcalc(*shape), kvcalc(*shape, "--weights", "14GB")
    assert (unknown.code, unknown.stdout) == (2, "")
    assert "--gpus: the best deployment depends on the weights" in unknown.stderr
    assert known.code == 0


def test_gpus_with_a_format_that_nothing_stores_names_the_format(kvcalc: Kvcalc) -> None:
    shape = ("estimate", "--layers", "2", "--heads", "1", "--head-dim", "80", "--weights", "1GB")
    run = kvcalc(*shape, "--cache-dtype", "q8_0", "--gpus", "8")
    assert run.code == 2
    assert "q8_0" in run.stderr


def test_stages_without_counted_copies_are_tried_too() -> None:
    """One rank of tp 4 copies projections of the MQA layers; where places are not known, stages count no copies.

    So stages together may hold less than the rank alone, and a search that bounds them by it must not leave them out.
    """
    attention = (MHA(num_heads=8, head_dim=16), MQA(num_heads=8, head_dim=16))
    model = kvcalc.Model(
        name="both", hidden_size=64, parameters=100_000, layers=(LayerGroup(count=5, attention=attention),)
    )
    asked = kvcalc.make_scenario(
        model, context=1, gpu_memory=10**6, temporary="0B", overhead="0B", utilization=1, allow_pp=True
    )
    every = [evaluate(asked, Deployment(tp, pp)) for tp in (1, 2, 4, 8) for pp in range(1, 6) if tp * pp <= 8]
    best = best_of(asked, 8)
    assert best is not None
    assert best.deployment == max(every, key=lambda each: each.least_headroom).deployment == Deployment(4, 2)


def test_no_context_is_shorter_than_the_prefix_that_all_share() -> None:
    """A whole layer of 2 x 4 heads x 128 x 2 bytes keeps 2,000 tokens in 4 MB, and not 4,000."""
    numbers: dict[str, Any] = {"layers": 1, "heads": 4, "head_dim": 128}
    found = {
        prefix: kvcalc.capacity(**numbers, context=8192, shared_prefix=prefix, cache_memory=2000 * 2048).max_context
        for prefix in (1000, 2000, 4000)
    }
    assert found == {1000: 2000, 2000: 2000, 4000: 0}


def test_a_plan_counts_no_weights_that_lie_with_the_host() -> None:
    """llama.cpp keeps the 4.2 GB of token embeddings in host memory: 811 GB are enough for 811.7 GB of weights."""
    options: dict[str, Any] = {"engine": "llama-cpp", "context": 512, "gpu_memory": "811GB"}
    assert kvcalc.estimate("llama-3.1-405b", **options).answer.fits
    assert kvcalc.plan("llama-3.1-405b", gpu="h100", limit=1, **options).deployments[0].count == 1


def test_a_plan_counts_no_tables_of_n_grams_that_lie_with_the_host() -> None:
    """vLLM keeps the 203 GB of tables of n-grams in host memory: one card of 340 GB holds the rest."""
    options: dict[str, Any] = {"engine": "vllm", "context": 512, "gpu_memory": "340GB"}
    assert kvcalc.estimate("deepseek-v4.1-flash", gpu="b200", **options).answer.fits
    assert kvcalc.plan("deepseek-v4.1-flash", gpu="b200", limit=1, **options).deployments[0].count == 1


def test_a_plan_looks_at_no_way_whose_first_stage_cannot_hold_tables_of_n_grams() -> None:
    """By plain formulas the first stage has them: of 8 ranks each 25 GB, more than an L4 has, however many stages."""
    asked = kvcalc.make_scenario("deepseek-v4.1-flash", gpu="l4")
    search = Search(asked, Limits(max_gpus=1024))
    assert len(search.shapes(asked)) > 40
    assert not [way for _, tp, pp in search.shapes(asked) for way in search.of_shape(asked, tp, pp)]


@pytest.mark.parametrize(("model", "engine"), [("qwen3-235b-a22b", "vllm"), ("deepseek-v4-flash", "sglang")])
def test_a_plan_passes_over_no_number_of_replicas_that_share_experts_and_hold_the_batch(
    model: str, engine: str
) -> None:
    """Some are passed over: of so few sequences each still lacks more than what more replicas leave."""
    asked = kvcalc.make_scenario(model, gpu="h100", engine=engine, batch=500, context=131_072)
    search = Search(asked, Limits(max_gpus=256))
    passed = 0
    for tp in (4, 8):
        tried = 2
        while tried < 256 // tp:
            beyond = min(search.beyond(asked, Deployment(tp), tried), 256 // tp)
            between = [search.shared(Deployment(tp), dp) for dp in range(tried + 1, beyond)]
            assert not any(search.ranks(asked).serves(each) and search.holds_its_share(asked, each) for each in between)
            passed, tried = passed + len(between), beyond
    assert passed > 10


@pytest.mark.parametrize("engine", ["transformers", "mlx", "sglang"])
def test_the_best_of_a_few_gpus_of_an_engine_is_the_best_of_all_stages(engine: str) -> None:
    """Temporary memory of some grows with the batch, so that what stages leave is not known by what one has."""
    gpu = "m3-ultra" if engine == "mlx" else "h100"
    asked = kvcalc.make_scenario("llama-3.1-405b", engine=engine, gpu=gpu, batch=300, gpu_memory="80GB")
    best = best_of(asked, 40)
    assert best is not None
    tps = [tp for tp in (1, 2, 4, 8) if Ranks(asked).serves(Deployment(tp))]
    every = [evaluate(asked, Deployment(tp, pp)) for tp in tps for pp in range(1, 40 // tp + 1)]
    expected = max(every, key=lambda each: (each.least_headroom, each.deployment.tp, -each.deployment.pp))
    assert best.deployment == expected.deployment
