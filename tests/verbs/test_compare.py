"""One model under each mechanism: caches by hand, what articles say, and the laws of heads."""

from __future__ import annotations

import pytest
from catalogue_models import distinct_names
from comparisons import caches, elements, notes_with, one_kind, rows_of
from conftest import texts
from each import for_each
from fuzzing import examples, some
from hypothesis import given
from hypothesis import strategies as st

import kvcalc
from kvcalc.mechanisms import GQA, MHA, MLA, MQA, Attention, NoAttention, Shared
from kvcalc.model.layers import LayerGroup, Repeat
from kvcalc.record import contents

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


@examples(100)
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


def kinds_of_layers(model: kvcalc.Model) -> object:
    """What rows and notes of a comparison turn on: which dims layers have, whatever they are, and what is not known."""
    layers = {
        (each.attention.kind, tuple(name for name, dim in contents(each.attention).items() if dim), type(each.span))
        for each in model.distinct()
    }
    return model.dtype, model.active_parameters is None, sorted(layers, key=repr)


@for_each("name", some(distinct_names(kinds_of_layers)))
def test_every_kind_of_model_of_the_catalogue(name: str) -> None:
    answer = kvcalc.compare(name)
    (own,) = (row for row in answer.rows if row.own)

    assert own.cache_bytes == kvcalc.estimate(name).cache.one_copy_bytes
    kept = [layer.attention for layer in kvcalc.load_model(name).distinct() if layer.attention.elements_per_token]
    if all(each.kind == "compressed" for each in kept):
        assert ([row.name for row in answer.rows], answer.sayings) == ([name], ())
        assert any("no layer has heads that another mechanism would change" in note for note in texts(answer.notes))
        return
    assert [row.name for row in answer.rows if row.ratio_to_mha == 1][:1] == ["mha"]
    assert {"mha", "mqa", "mla", "mla_expanded"} <= {row.name for row in answer.rows}
    assert len({row.lower_bound for row in answer.rows}) == 1
