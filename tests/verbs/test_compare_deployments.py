"""A comparison's GPUs, bounds and spilled cache, and models side by side."""

from __future__ import annotations

import math
from dataclasses import astuple
from typing import Any

import pytest
from comparisons import H100_USABLE, notes_with, rows_of

import kvcalc
from kvcalc.mechanisms import GQA
from kvcalc.model.layers import LayerGroup

# GPUs


def test_gpus_of_llama_3_70b() -> None:
    """Weights 141.1 GB, temporary 1.5 GiB, overhead 0.8 GiB, beside caches of 21.5 and 2.7 GB."""
    answer = kvcalc.compare("llama-3-70b", context=8192)
    rows = rows_of(answer)
    rest = 141_107_412_992 + 1_610_612_736 + 858_993_458

    assert astuple(answer.gpus) == ("h100-sxm", 85_020_639_232, 0.92, H100_USABLE, 2)
    assert rows["mha"].unsplit_bytes == rest + 21_474_836_480
    assert rows["mha"].by_memory == math.ceil((rest + 21_474_836_480) / H100_USABLE) == 3
    assert rows["gqa-8"].by_memory == 2
    assert (rows["mha"].count, rows["mha"].deployment) == (4, kvcalc.Deployment(tp=4))
    assert (rows["gqa-8"].count, rows["gqa-8"].count_tight) == (2, True)


@pytest.mark.parametrize(
    ("model", "options"),
    [
        ("llama-3-70b", {}),
        ("deepseek-v3", {"gpu": "h200"}),
        ("gemma-4-31b", {"batch": 64, "context": 131_072}),
        ("llama-3-70b", {"tp": 8, "batch": 16}),
        ("llama-3-8b", {"batch": 100, "context": 8192, "gpus": 2}),
        ("falcon-7b", {"gpu": "t4"}),
        ("palm-540b", {}),
        ("qwen2.5-0.5b", {"batch": 100_000, "context": 8192}),
    ],
)
def test_the_own_row_is_the_estimate(model: str, options: dict[str, Any]) -> None:
    (row,) = (row for row in kvcalc.compare(model, **options).rows if row.own)
    told = kvcalc.estimate(model, **options)
    alone = kvcalc.estimate(model, **{name: value for name, value in options.items() if name not in {"tp", "gpus"}})

    assert (row.cache_bytes, row.bytes_per_token) == (alone.cache.bytes, alone.cache.bytes_per_token)
    assert row.terms == alone.cache.terms
    assert (row.by_memory, row.unsplit_bytes) == (told.gpus.by_memory, told.gpus.unsplit_bytes)
    assert (row.count, row.count_tight) == (told.gpus.count, told.gpus.count_tight)
    assert row.deployment == told.gpus.deployment
    if told.decode is None:
        assert row.given.tokens_per_second is None
    else:
        assert row.given.deployment == told.decode.deployment
        assert row.given.tokens_per_second == told.decode.tokens_per_second
        assert row.given.seconds_per_token == told.decode.seconds_per_token


def test_the_given_gpus_of_a_few() -> None:
    """The best of at most 3 GPUs is tp 2: a tp of 3 divides no 64 heads."""
    answer = kvcalc.compare("llama-3-70b", context=1000, gpus=3)

    assert answer.gpus.at_most == 3
    assert {row.given.deployment for row in answer.rows} == {kvcalc.Deployment(tp=2)}
    assert not notes_with("of at most", answer)


def test_the_most_sequences_by_hand() -> None:
    """One GPU: 1,000 bytes of weights, 30 of temporary memory, 7 of overhead, and 7 sequences of 640 bytes."""
    model = kvcalc.Model(
        name="m", layers=(LayerGroup(count=1, attention=GQA(num_heads=4, num_kv_heads=2, head_dim=8)),)
    )
    rows = rows_of(
        kvcalc.compare(
            model,
            context=10,
            weights=1000,
            temporary=30,
            overhead=7,
            gpu_memory=1037 + 640 * 7,
            utilization=1,
        )
    )

    assert rows["gqa-2"].given.most_sequences == 7
    assert rows["mha"].given.most_sequences == 3
    assert rows["mqa"].given.most_sequences == 14
    assert rows["mla"].given.most_sequences == 640 * 7 // (36 * 2 * 10)


def test_what_one_mechanism_cannot_have_is_null() -> None:
    answer = kvcalc.compare("llama-3-70b", context=8192, tp=8, dcp=2)
    rows = rows_of(answer)

    assert {name for name, row in rows.items() if row.given.gpus == 8} == {"gqa-4", "gqa-2", "mqa", "mla"}
    assert set(astuple(rows["gqa-8"].given)) == {None}
    assert rows["gqa-8"].count == 2
    assert notes_with("mha, gqa-32, gqa-16, gqa-8, mla_expanded: on the given GPUs: dcp: 2 is illegal", answer)


def test_what_no_mechanism_can_have_is_refused() -> None:
    with pytest.raises(kvcalc.KvcalcError, match="tp: 2 is illegal for this model; legal are 1, 71"):
        kvcalc.compare("falcon-7b", tp=2)


def test_no_bound_where_the_workload_has_no_room() -> None:
    answer = kvcalc.compare("llama-3-70b", context=8192)
    given = rows_of(answer)["mha"].given

    assert (given.fits, given.tight, given.most_sequences) == (False, False, 0)
    assert (given.tokens_per_second, given.seconds_per_token, given.limited_by) == (None, None, None)
    assert notes_with("mha, mla_expanded: the given GPUs do not hold the workload", answer)


def test_spilled_cache_has_a_bound() -> None:
    """Two GPUs, 64 GB/s to the host: a step reads what is spilled of a GPU's cache over its link."""
    answer = kvcalc.compare("llama-3-70b", batch=32, context=80_000, tp=2, spill=True, temporary=0, overhead=0)
    rows = rows_of(answer)
    room = H100_USABLE - 141_107_412_992 // 2
    spilled = 32 * 80_000 * 2_621_440 // 2 - room
    link = kvcalc.load_gpu("h100-sxm").host_link_gb_per_s
    assert link is not None

    assert rows["mha"].given.spilled_bytes == 2 * spilled
    assert rows["mha"].given.seconds_per_token == pytest.approx(spilled / (link * 1e9))
    assert rows["mha"].given.limited_by == "host link"


def test_spill_needs_room_for_the_weights() -> None:
    answer = kvcalc.compare("llama-3-70b", context=8192, tp=1, spill=True)

    assert all(row.given.tokens_per_second is None for row in answer.rows)
    assert notes_with("only cache can be kept in host memory", answer)


def test_without_weights_there_are_caches_alone() -> None:
    answer = kvcalc.compare("palm-540b", context=2048)
    row = answer.rows[0]

    assert row.cache_bytes == 2 * 48 * 256 * 118 * 2048 * 2
    assert (row.by_memory, row.count, row.deployment, row.unsplit_bytes) == (None,) * 4
    assert set(astuple(row.given)) == {None}
    assert answer.gpus.at_most is None
    assert notes_with("weights are not known", answer)


@pytest.mark.parametrize(
    ("model", "words"),
    [
        ("llama-3-70b", "mha up to 9,395,240,960 more (13.3 %), mqa up to 1,174,405,120 fewer"),
        ("deepseek-v3", "projections of keys and values would differ"),
    ],
)
def test_the_weights_are_said_to_be_the_models(model: str, words: str) -> None:
    """Llama-3-70B as MHA: 80 layers x 8,192 x (64 - 8) heads x 128 x 2 more parameters."""
    assert 80 * 8192 * 56 * 128 * 2 == 9_395_240_960
    (note,) = notes_with("every row has the model's own weights", kvcalc.compare(model))
    assert words in note


# Models side by side


def test_models_side_by_side() -> None:
    answer = kvcalc.compare(["llama-3-70b", "deepseek-v3", "falcon-7b"], context=2048)

    assert answer.model is None
    assert [(row.name, row.mechanism, row.cache_bytes) for row in answer.rows] == [
        ("llama-3-70b", "gqa", 2 * 80 * 8 * 128 * 2048 * 2),
        ("deepseek-v3", "mla", 576 * 61 * 2048 * 2),
        ("falcon-7b", "mqa", 128 * 32 * 2048 * 2),
    ]
    assert [row.ratio_to_mha for row in answer.rows] == [0.125, 0.017578125, 1 / 71]
    assert (answer.sayings, answer.contradictions) == ((), ())


def test_models_of_different_limits_have_one_context() -> None:
    answer = kvcalc.compare(["llama-3-8b", "gpt2-xl"])

    assert answer.workload.context == 1024
    assert notes_with("context is not given: 1,024 is used", answer)
    with pytest.raises(kvcalc.KvcalcError, match="theirs are 1 x 8,192, 1 x 1,024"):
        kvcalc.compare(["llama-3-8b", "gpt2-xl"], context="max")


def test_one_models_weights_are_not_anothers() -> None:
    with pytest.raises(kvcalc.KvcalcError, match="--weights: is of one model, and 2 are given"):
        kvcalc.compare(["llama-3-8b", "falcon-7b"], weights="14GB")


def test_of_several_models_one_cannot_have_the_deployment() -> None:
    answer = kvcalc.compare(["llama-3-8b", "falcon-7b"], tp=4, context=100)

    assert [row.given.gpus for row in answer.rows] == [4, None]
    assert notes_with("falcon-7b: on the given GPUs: tp: 4 is illegal", answer)


def test_scenarios_can_be_compared() -> None:
    small, large = (kvcalc.make_scenario("llama-3-8b", context=context) for context in (100, 200))

    assert kvcalc.compare(small).rows[2].name == "gqa-8"
    with pytest.raises(kvcalc.KvcalcError, match="compared at one workload"):
        kvcalc.compare([small, large])
    with pytest.raises(kvcalc.KvcalcError, match="on one accelerator"):
        kvcalc.compare([small, kvcalc.make_scenario("llama-3-8b", context=100, gpu="t4")])
    with pytest.raises(kvcalc.KvcalcError, match="MODEL: missing"):
        kvcalc.compare([])
    with pytest.raises(TypeError, match="has its options already"):
        kvcalc.compare(small, batch=2)
