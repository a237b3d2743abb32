"""One model under each mechanism, and models side by side: published figures, plain arithmetic, and what is refused."""

from __future__ import annotations

import csv
import io
import json
import math
import re
from dataclasses import astuple
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from conftest import Kvcalc, texts
from hypothesis import given, settings
from hypothesis import strategies as st

import kvcalc
from kvcalc.catalogue import model_names
from kvcalc.mechanisms import GQA, MHA, MLA, MQA, Attention, NoAttention, Shared
from kvcalc.model.layers import LayerGroup, Repeat
from kvcalc.render.compare import compare_report
from kvcalc.render.decode import shown as rate_shown
from kvcalc.render.table import draw
from kvcalc.verbs.comparing.literature import CONTRADICTIONS, SAYINGS, SOURCES
from kvcalc.verbs.comparing.result import ComparedRow, Comparison

H100_USABLE = 85_020_639_232 * 92 // 100


def rows_of(answer: Comparison) -> dict[str, ComparedRow]:
    names = [row.name for row in answer.rows]
    assert len(names) == len(set(names))
    return dict(zip(names, answer.rows, strict=True))


def caches(model: kvcalc.Model | str, **options: Any) -> dict[str, int]:
    return {row.name: row.cache_bytes for row in kvcalc.compare(model, **options).rows}


def elements(model: kvcalc.Model | str, **options: Any) -> dict[str, int | None]:
    return {row.name: row.elements_per_token_per_layer for row in kvcalc.compare(model, **options).rows}


def one_kind(attention: Attention, **fields: Any) -> kvcalc.Model:
    return kvcalc.Model(name="m", layers=(LayerGroup(count=2, attention=attention),), **fields)


def notes_with(words: str, answer: Comparison) -> list[str]:
    return [note for note in texts(answer.notes) if words in note]


# Caches


def test_llama_3_70b() -> None:
    assert caches("llama-3-70b", context=8192) == {
        "mha": 21_474_836_480,
        "gqa-32": 10_737_418_240,
        "gqa-16": 5_368_709_120,
        "gqa-8": 2_684_354_560,
        "gqa-4": 1_342_177_280,
        "gqa-2": 671_088_640,
        "mqa": 335_544_320,
        "mla": (512 + 64) * 80 * 8192 * 2,
        "mla_expanded": 64 * (128 + 64 + 128) * 80 * 8192 * 2,
    }


def test_deepseek_v3() -> None:
    """A latent is 1.76 % of what multi-head attention keeps, not 4.3 to 6.7 %."""
    rows = rows_of(kvcalc.compare("deepseek-v3", context=8192))

    assert {name: row.elements_per_token_per_layer for name, row in rows.items()} == {
        "mha": 32_768,
        "gqa-32": 8192,
        "gqa-16": 4096,
        "gqa-8": 2048,
        "gqa-4": 1024,
        "gqa-2": 512,
        "mqa": 256,
        "mla": 576,
        "mla_expanded": 40_960,
    }
    assert rows["mla"].ratio_to_mha == 0.017578125
    assert rows["mla_expanded"].ratio_to_mha == 1.25
    assert rows["mla"].bytes_per_token == 70_272
    assert rows["mla"].cache_bytes == 575_668_224
    assert [name for name, row in rows.items() if row.own] == ["mla"]


def test_the_worked_example_of_an_article() -> None:
    """32 layers, 32 heads of 64, 80,000 tokens: it prints 640, 80 and 20 GB."""
    model = kvcalc.Model(name="m", layers=(LayerGroup(count=32, attention=MHA(num_heads=32, head_dim=64)),))
    found = caches(model, context=80_000)

    assert (found["mha"], found["gqa-4"], found["mqa"]) == (20_971_520_000, 2_621_440_000, 655_360_000)
    assert rows_of(kvcalc.compare(model, context=80_000))["mqa"].ratio_to_mha == 1 - 0.96875


def test_falcon_7b_has_a_prime_number_of_heads() -> None:
    rows = rows_of(kvcalc.compare("falcon-7b", context=2048))

    assert list(rows) == ["mha", "mqa", "mla", "mla_expanded"]
    assert rows["mqa"].own
    assert [row.elements_per_token_per_layer for row in rows.values()] == [71 * 128, 128, 288, 71 * (64 + 32 + 64)]
    assert rows["mqa"].ratio_to_mha == 1 / 71


def test_windows_stay() -> None:
    """gemma-3-27b at 131,072 tokens: 10 layers keep all of them, 52 the last 1,024."""
    answer = kvcalc.compare("gemma-3-27b", context=131_072)
    positions = 10 * 131_072 + 52 * 1024

    assert caches("gemma-3-27b", context=131_072) == {
        "mha": 2 * 32 * 128 * positions * 2,
        "gqa-16": 11_173_625_856,
        "gqa-8": 2 * 8 * 128 * positions * 2,
        "gqa-4": 2 * 4 * 128 * positions * 2,
        "gqa-2": 2 * 2 * 128 * positions * 2,
        "mqa": 2 * 128 * positions * 2,
        "mla": 576 * positions * 2,
        "mla_expanded": 32 * 320 * positions * 2,
    }
    assert all(row.lower_bound for row in answer.rows)
    assert answer.rows[0].bytes_per_token == 2 * 32 * 128 * 62 * 2
    assert answer.rows[0].layers == ("52 x mha 32 x 128, window 1,024", "10 x mha 32 x 128")


def test_shared_layers_stay() -> None:
    """gemma-3n-e4b: 15 of 35 layers read another layer's cache."""
    rows = rows_of(kvcalc.compare("gemma-3n-e4b", context=100))

    assert rows["gqa-2"].own
    assert rows["mqa"].cache_bytes == 2 * 256 * 20 * 100 * 2
    assert rows["mha"].layers[-1] == "15 x shared"
    assert rows["mha"].elements_per_token_per_layer == 2 * 8 * 256


def test_layers_that_differ_are_a_row_of_their_own() -> None:
    """gemma-4-31b: 50 layers with a window keep 16 heads of 256, 10 keep 4 heads of 512."""
    rows = rows_of(kvcalc.compare("gemma-4-31b", context=2000))
    own = rows["gemma-4-31b"]

    assert [name for name, row in rows.items() if row.own] == ["gemma-4-31b"]
    assert (own.mechanism, own.elements_per_token_per_layer) == ("gqa", None)
    assert own.cache_bytes == 2 * (50 * 1024 * 16 * 256 + 10 * 2000 * 4 * 512) * 2
    assert rows["mha"].cache_bytes == 2 * 32 * (50 * 1024 * 256 + 10 * 2000 * 512) * 2
    assert rows["gqa-4"].cache_bytes == 2 * 4 * (50 * 1024 * 256 + 10 * 2000 * 512) * 2
    assert rows["mla"].cache_bytes == (50 * 1024 * (1024 + 128) + 10 * 2000 * (2048 + 256)) * 2


def test_values_of_another_width() -> None:
    """mimo-v2-flash: keys of 192 and values of 128, 9 layers with 4 KV heads, 39 with a window of 129 and 8."""
    rows = rows_of(kvcalc.compare("mimo-v2-flash", context=100))

    assert rows["mimo-v2-flash"].own
    assert rows["mimo-v2-flash"].cache_bytes == 320 * 100 * (9 * 4 + 39 * 8) * 2
    assert rows["mha"].elements_per_token_per_layer == 64 * 320
    assert rows["mla"].elements_per_token_per_layer == 4 * 192 + 96
    assert rows["mla_expanded"].elements_per_token_per_layer == 64 * (192 + 96 + 128)


def test_heads_that_differ_and_keep_the_same() -> None:
    """step-3.7-flash: 64 and 96 query heads, 8 KV heads in every layer."""
    rows = rows_of(kvcalc.compare("step-3.7-flash", context=100))

    assert [name for name, row in rows.items() if row.own] == ["gqa-8"]
    assert rows["gqa-8"].elements_per_token_per_layer == 2048
    assert rows["mha"].elements_per_token_per_layer is None
    assert rows["mha"].cache_bytes == 2 * 128 * 100 * (12 * 64 + 33 * 96) * 2


@pytest.mark.parametrize(
    ("attention", "own"),
    [
        (GQA(num_heads=8, num_kv_heads=8, head_dim=4), "mha"),
        (GQA(num_heads=8, num_kv_heads=1, head_dim=4), "mqa"),
        (GQA(num_heads=1, num_kv_heads=1, head_dim=4), "mha"),
        (MQA(num_heads=1, head_dim=4), "mqa"),
        (GQA(num_heads=9, num_kv_heads=3, head_dim=4, v_head_dim=2), "gqa-3"),
    ],
)
def test_the_own_row(attention: Attention, own: str) -> None:
    (row,) = (row for row in kvcalc.compare(one_kind(attention)).rows if row.own)

    assert (row.name, row.mechanism) == (own, own.partition("-")[0])


def test_the_own_number_of_kv_heads_is_there() -> None:
    assert list(elements("phi-3-medium-128k")) == [
        "mha",
        *("gqa-10", "gqa-8", "gqa-4", "gqa-2"),
        *("mqa", "mla", "mla_expanded"),
    ]


def test_a_latent_with_other_dims() -> None:
    """Heads are as wide as the latent's values."""
    latent = MLA(num_heads=6, kv_lora_rank=50, qk_rope_head_dim=10, qk_nope_head_dim=12, v_head_dim=7)

    assert elements(one_kind(latent)) == {
        "mha": 6 * 14,
        "gqa-2": 2 * 14,
        "mqa": 14,
        "mla": 60,
        "mla_expanded": 6 * (12 + 10 + 7),
    }


def test_odd_heads_have_no_latent() -> None:
    answer = kvcalc.compare(one_kind(MHA(num_heads=4, head_dim=7)))

    assert list(rows_of(answer)) == ["mha", "gqa-2", "mqa"]
    assert notes_with("head_dim 7 is odd", answer)


def test_nothing_kept_is_nothing_compared() -> None:
    answer = kvcalc.compare(one_kind(NoAttention(), parameters=10**6))
    (row,) = answer.rows

    assert (row.name, row.own, row.cache_bytes, row.ratio_to_mha) == ("m", True, 0, None)
    assert row.elements_per_token_per_layer is None
    assert row.given.most_sequences is None
    assert notes_with("unbounded", answer)


def test_a_format_of_named_tensors() -> None:
    answer = kvcalc.compare("llama-3-8b", context=100, cache_dtype="k=q8_0,v=q4_0")
    rows = rows_of(answer)

    assert rows["gqa-8"].cache_bytes == 32 * 100 * 8 * (128 // 32 * 34 + 128 // 32 * 18)
    assert rows["mla_expanded"].cache_bytes == 32 * 100 * 32 * (192 // 32 * 34 + 128 // 32 * 18)
    assert "mla" not in rows
    assert notes_with("mla: left out: cache format k=q8_0,v=q4_0 is for k, v", answer)


def test_a_format_that_cannot_hold_mha_leaves_the_ratio_out() -> None:
    answer = kvcalc.compare("deepseek-v3", context=8192, cache_dtype="fp8_ds_mla")
    (row,) = answer.rows

    assert (row.name, row.cache_bytes) == ("mla", 656 * 61 * 8192)
    assert (row.ratio_to_mha, row.mha_cache_bytes) == (None, None)
    assert notes_with("ratio_to_mha is not known", answer)
    assert notes_with("mha, gqa-32, gqa-16, gqa-8, gqa-4, gqa-2, mqa, mla_expanded: left out", answer)


def test_blocks_that_do_not_fill_a_row() -> None:
    answer = kvcalc.compare("qwen2.5-0.5b", context=100, cache_dtype="fp8_block128")

    assert list(rows_of(answer)) == ["mha", "gqa-2"]
    assert notes_with("mqa: left out: format fp8_block128 stores blocks of 128", answer)


def test_a_format_that_the_model_itself_cannot_have_is_refused() -> None:
    with pytest.raises(kvcalc.KvcalcError, match="stores blocks of 128"):
        kvcalc.compare("falcon-7b", cache_dtype="fp8_block128")


def test_scales_of_heads_change_the_ratio() -> None:
    """A byte an element and 4 a head and token: 132 of a head of 128, whatever the mechanism."""
    rows = rows_of(kvcalc.compare("llama-3-8b", context=10, cache_dtype="fp8_per_token_head"))

    assert rows["gqa-8"].bytes_per_token == 32 * 2 * 8 * 132
    assert rows["mla"].bytes_per_token == 32 * (512 + 4 + 64 + 4)
    assert rows["mla"].ratio_to_mha == 584 / (2 * 32 * 132)


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
    """One GPU with 1,000 bytes of weights, 30 of temporary and 7 of overhead, and room for 7 sequences of 640 bytes."""
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
    assert notes_with("only cache can be kept in the host's memory", answer)


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
        ("llama-3-70b", "mha up to 9,395,240,960 parameters more (13.3 %), mqa up to 1,174,405,120 parameters fewer"),
        ("deepseek-v3", "projections of keys and values would differ"),
    ],
)
def test_the_weights_are_said_to_be_the_models(model: str, words: str) -> None:
    """Llama-3-70B as MHA: 80 layers x 8,192 x (64 - 8) heads x 128 x 2 more parameters."""
    assert 80 * 8192 * 56 * 128 * 2 == 9_395_240_960
    (note,) = notes_with("every row has the weights of the model as it is", kvcalc.compare(model))
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
    assert notes_with("context is not given: 1,024 is taken", answer)
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


# What articles say


def test_every_mechanism_has_sayings_with_sources() -> None:
    assert {saying.mechanism for saying in SAYINGS} == {"mha", "gqa", "mqa", "mla"}
    assert {saying.topic for saying in SAYINGS} == {"quality", "memory", "use"}
    assert {saying.source for saying in SAYINGS} == set(SOURCES)
    assert all(saying.source in SOURCES for each in CONTRADICTIONS for saying in each.said)


def test_deepseeks_own_words_on_quality() -> None:
    told = {saying.mechanism: saying.words for saying in SAYINGS if "2405.04434" in saying.source}
    quality = {
        saying.mechanism: saying.words
        for saying in SAYINGS
        if "2405.04434" in saying.source and saying.topic == "quality"
    }

    assert quality == {"mha": "Strong", "gqa": "Moderate", "mqa": "Weak", "mla": "Stronger"}
    assert told["mla"] == "equal to GQA with only 2.25 groups"
    assert Fraction(512 + 64, 2 * 128) == Fraction("2.25")


def test_figures_of_the_contradictions() -> None:
    figures = " ".join(each.figure or "" for each in CONTRADICTIONS)

    for figure in (2 * 128, 512 + 64, 2 * 128 * 128, 2 * 32 * 32 * 64 * 80_000 * 2, 2 * 32 * 4 * 64 * 80_000 * 2):
        assert f"{figure:,}" in figures
    assert f"{2 * 32 * 64 * 80_000 * 2:,}" in figures
    assert f"{100 * 576 / 32_768:.2f} %" in figures
    assert f"{100 * (1 - 1 / 32)} %" in figures


# Laws


@st.composite
def head_models(draw: st.DrawFn) -> kvcalc.Model:
    heads = draw(st.sampled_from([1, 2, 6, 8, 12, 16, 24, 64]))
    kept = draw(st.sampled_from([n for n in range(1, heads + 1) if heads % n == 0]))
    width, value = draw(st.integers(1, 128)), draw(st.none() | st.integers(1, 128))
    kinds: list[Attention] = [
        MHA(num_heads=heads, head_dim=width, v_head_dim=value),
        MQA(num_heads=heads, head_dim=width, v_head_dim=value),
        GQA(num_heads=heads, num_kv_heads=kept, head_dim=width, v_head_dim=value),
    ]
    group = st.builds(
        LayerGroup,
        count=st.integers(1, 5),
        attention=st.sampled_from(kinds),
        window=st.none() | st.integers(1, 500),
    )
    other = st.builds(LayerGroup, count=st.integers(1, 3), attention=st.sampled_from([NoAttention(), Shared()]))
    repeat = st.builds(Repeat, repeat=st.integers(1, 3), of=st.lists(group | other, min_size=1, max_size=2).map(tuple))
    return kvcalc.Model(
        name="random",
        layers=(draw(group), *draw(st.lists(group | other | repeat, max_size=3))),
    )


@settings(max_examples=150, deadline=None)
@given(head_models(), st.integers(1, 50), st.integers(1, 2000))
def test_laws_of_models_with_heads(model: kvcalc.Model, batch: int, context: int) -> None:
    answer = kvcalc.compare(model, batch=batch, context=context)
    rows = rows_of(answer)
    heads = next(layer.attention.query_heads for layer in model.distinct())
    mha = rows["mha"].cache_bytes
    assert heads is not None

    assert sum(row.own for row in answer.rows) == 1
    for name, row in rows.items():
        if name.startswith("gqa-"):
            assert row.cache_bytes * heads == mha * int(name[4:])
        assert row.ratio_to_mha == row.cache_bytes / mha
        assert sum(term.bytes for term in row.terms) == row.cache_bytes
        if row.own:
            estimate = kvcalc.estimate(model, batch=batch, context=context)
            assert row.cache_bytes == estimate.cache.bytes
    assert rows["mqa"].cache_bytes * heads == mha
    in_order = [row.cache_bytes for name, row in rows.items() if name not in {"random", "mla", "mla_expanded"}]
    assert in_order == sorted(in_order, reverse=True)


@pytest.mark.parametrize("name", model_names())
def test_every_model_of_the_catalogue(name: str) -> None:
    answer = kvcalc.compare(name)
    (own,) = (row for row in answer.rows if row.own)

    assert own.cache_bytes == kvcalc.estimate(name).cache.one_copy_bytes
    if not any(layer.attention.elements_per_token for layer in kvcalc.load_model(name).distinct()):
        assert ([row.name for row in answer.rows], answer.sayings) == ([name], ())
        assert any("no layer has heads that another mechanism would change" in note for note in texts(answer.notes))
        return
    assert [row.name for row in answer.rows if row.ratio_to_mha == 1][:1] == ["mha"]
    assert {"mha", "mqa", "mla", "mla_expanded"} <= {row.name for row in answer.rows}
    assert len({row.lower_bound for row in answer.rows}) == 1


# The command line


def parsed(kvcalc: Kvcalc, *words: str) -> dict[str, Any]:
    run = kvcalc("compare", *words, "--json")
    assert (run.code, run.stderr) == (0, "")
    body: dict[str, Any] = json.loads(run.stdout)
    return body


def test_json_is_the_contract(kvcalc: Kvcalc) -> None:
    body = parsed(kvcalc, "llama-3-70b", "-c", "8192")

    assert (body["schema_version"], body["command"]) == (2, "compare")
    assert {
        "name",
        "mechanism",
        "elements_per_token_per_layer",
        "bytes_per_token",
        "cache_bytes",
        "ratio_to_mha",
    } < set(body["rows"][0])
    assert {"by_memory", "count"} < set(body["rows"][0])
    assert [row["cache_bytes"] for row in body["rows"] if row["own"]] == [2_684_354_560]
    for row in body["rows"]:
        for term in row["terms"]:
            assert math.prod(factor["value"] for factor in term["factors"]) == term["bytes"]


def test_csv_has_a_line_for_each_row(kvcalc: Kvcalc) -> None:
    body = parsed(kvcalc, "llama-3-70b", "-c", "8192")
    lines = list(csv.DictReader(io.StringIO(kvcalc("compare", "llama-3-70b", "-c", "8192", "--format", "csv").stdout)))

    assert [line["name"] for line in lines] == [row["name"] for row in body["rows"]]
    assert [int(line["cache_bytes"]) for line in lines] == [row["cache_bytes"] for row in body["rows"]]
    assert [line["own"] for line in lines].count("true") == 1
    assert lines[0]["given_tokens_per_second"] == ""
    assert float(lines[3]["given_tokens_per_second"]) == body["rows"][3]["given"]["tokens_per_second"]


def test_csv_of_an_explanation_has_the_leaves(kvcalc: Kvcalc) -> None:
    run = kvcalc("compare", "deepseek-v3", "-c", "8192", "--explain", "--format", "csv")
    lines = list(csv.DictReader(io.StringIO(run.stdout)))

    assert sum(int(line["term_bytes"]) for line in lines if line["row"] == "mla") == 575_668_224


def test_csv_has_the_same_columns_whatever_the_answer(kvcalc: Kvcalc) -> None:
    headers = {
        kvcalc("compare", *words, "--format", "csv").stdout.splitlines()[0]
        for words in (("llama-3-70b",), ("palm-540b",), ("llama-3-8b", "falcon-7b"), ("llama-3-70b", "-b", "1000000"))
    }
    assert len(headers) == 1


def test_the_table(kvcalc: Kvcalc) -> None:
    run = kvcalc("compare", "llama-3-70b", "-c", "8192")
    lines = run.stdout.splitlines()

    assert run.code == 0
    assert re.search(r"^gqa-8 \(own\) +64/8 x 128 +2,048 +327,680 +2\.50 +12\.5 %$", run.stdout, re.MULTILINE)
    assert re.search(r"^mla +64 heads, 512\+64 +576 +92,160 +0\.70 +3\.52 %$", run.stdout, re.MULTILINE)
    assert re.search(r"^mha +3 +4 \(tp 4\) +2 \(tp 2\) +0 +- +-$", run.stdout, re.MULTILINE)
    figures = lines[: next(index for index, line in enumerate(lines) if line.startswith("elements:"))]
    assert max(map(len, figures)) <= 90
    assert '(1) Shaoyuan Chen, "Comparing Attention Mechanisms: MHA, MQA, GQA, and MLA", 2024-10-10' in lines
    assert "By the formula it is 576 / 32,768 elements = 1.76 % for DeepSeek-V2 and V3" in run.stdout
    assert "no bound of decoding" in run.stderr


@pytest.mark.parametrize("columns", [40, 66, 75, 78, 80, 100])
def test_a_narrow_terminal_cuts_no_number(columns: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    monkeypatch.setenv("TERM", "xterm")
    for name in ("mimo-v2-flash", "deepseek-v3"):
        report = compare_report(kvcalc.compare(name), "B", explain=False, command="")
        shown = re.sub(r"\x1b\[[\d;]*m", "", draw(report.view(), terminal=True))
        for row in kvcalc.compare(name).rows:
            assert re.search(rf"^{row.name}\b.* {row.cache_bytes:,}  [^\n]* %$", shown, re.MULTILINE)
            assert re.search(rf"^{row.name}\b.* {row.given.most_sequences:,}  +[\d,.]+  +[\d,.]+$", shown, re.MULTILINE)
            rate = row.given.tokens_per_second
            assert rate is not None
            assert re.search(rf"^{row.name}\b.* {rate_shown(rate)}$", shown, re.MULTILINE)


def test_side_by_side_says_nothing_of_quality(kvcalc: Kvcalc) -> None:
    run = kvcalc("compare", "llama-3-8b", "falcon-7b", "-c", "100")

    assert "2 models" in run.stdout
    assert "articles" not in run.stdout


def test_markdown_tables_are_well_formed(kvcalc: Kvcalc) -> None:
    run = kvcalc("compare", "deepseek-v3", "--explain", "--format", "markdown")
    tables = re.findall(r"(?:^\|.*\n)+", run.stdout, re.MULTILINE)

    assert len(tables) == 5
    for table in tables:
        lines = table.splitlines()
        assert len({len(re.findall(r"(?<!\\)\|", line)) for line in lines}) == 1
        assert re.fullmatch(r"\|( (---|--:) \|)+", lines[1])
    assert "| **mla (own)** | **128 heads, 512+64** | **576** |" in run.stdout


def test_explanations_have_every_formula(kvcalc: Kvcalc) -> None:
    text = kvcalc("compare", "deepseek-v3", "-c", "8192", "--explain").stdout

    for words in (
        r"mla_expanded: elements of .* 40,960 +num_heads x \(qk_nope_head_dim .* 128 x \(128 \+ 64 \+ 128\)",
        r"mla: elements of .* 576 +kv_lora_rank \+ qk_rope_head_dim +512 \+ 64",
        r"mha: elements of .* 32,768 +2 x num_heads x head_dim +2 x 128 x 128",
        r"61 layers x 1 sequence x 8,192 tokens x 512 x 2 bytes",
        r"mla: of mha's +0\.0175781 +cache / cache of mha +575,668,224 / 32,749,125,632",
        r"source of mla: DeepSeek-V2, https://arxiv.org/abs/2405.04434",
    ):
        assert re.search(words, text), words


def test_a_model_without_a_file(kvcalc: Kvcalc) -> None:
    body = parsed(kvcalc, *["--layers", "32", "--heads", "32", "--head-dim", "64", "-c", "80000"])

    assert body["rows"][0]["cache_bytes"] == 20_971_520_000
    assert body["model"]["name"] == "ad-hoc"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ((), "MODEL: missing"),
        (("llama-3-80b",), "did you mean 'llama-3-8b'"),
        (("llama-3-8b", "llama-3-80b"), "did you mean 'llama-3-8b'"),
        (("llama-3-8b", "--layers", "3"), "--layers: describes a model without a file"),
        (("falcon-7b", "--tp", "2"), "legal are 1, 71"),
        (("llama-3-70b", "--gpus", "8", "--tp", "2"), "--gpus: chooses the deployment; give --gpus, or --tp, not both"),
        (("llama-3-8b", "-c", "128k"), "could mean two numbers"),
        (("llama-3-8b", "falcon-7b", "--parameters", "7e9"), "--parameters: is of one model"),
        (("llama-3-8b", "gpt2-xl", "-c", "max"), "compared at one workload"),
        (("llama-3-8b", "--cache-dtype", "c_kv=fp8"), "which this model does not keep"),
        (("llama-3-8b", "--format", "yaml"), "no format 'yaml'"),
    ],
)
def test_bad_input(kvcalc: Kvcalc, words: tuple[str, ...], message: str) -> None:
    run = kvcalc("compare", *words)

    assert (run.code, run.stdout) == (2, "")
    assert message in run.stderr


def test_a_result_goes_to_a_file(kvcalc: Kvcalc, tmp_path: Path) -> None:
    target = tmp_path / "rows.csv"
    run = kvcalc("compare", "llama-3-8b", "--format", "csv", "-o", str(target))

    assert (run.code, run.stdout) == (0, "")
    assert target.read_text(encoding="utf-8").startswith("name,mechanism,own,")
