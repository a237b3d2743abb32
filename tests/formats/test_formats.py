"""Element formats: the bytes of a row, worked out here by hand from each layout's documentation."""

from __future__ import annotations

import math

import pytest
from conftest import Kvcalc
from format_bytes import ROW_BYTES
from hypothesis import given
from hypothesis import strategies as st

from kvcalc.engines.cache_format import parse_cache_format
from kvcalc.errors import KvcalcError
from kvcalc.formats.by_name import find_format, format_names
from kvcalc.formats.element import ALIASES, FORMATS
from kvcalc.formats.weights import find_weight_format
from kvcalc.mechanisms import MHA, CachedTensor
from kvcalc.model.layers import Layer
from kvcalc.term import Factor

BF16 = find_format("bf16", "dtype")
LAYER = Layer(MHA(num_heads=1, head_dim=32), None, None)
K_AND_V = [CachedTensor("k", ()), CachedTensor("v", ())]
LATENT = [CachedTensor("c_kv", ()), CachedTensor("k_rope", ())]


def row_bytes(name: str, heads: int | None, width: int) -> int:
    row = find_format(name, "dtype").row(
        None if heads is None else Factor("num_kv_heads", heads), (Factor("head_dim", width),)
    )
    return math.prod(factor.value for factor in row)


@pytest.mark.parametrize("name", ROW_BYTES)
def test_rows_take_what_was_added_up(name: str) -> None:
    assert (row_bytes(name, 8, 128), row_bytes(name, 3, 128), row_bytes(name, None, 128)) == ROW_BYTES[name]


def test_every_format_was_added_up() -> None:
    assert set(FORMATS) == set(ROW_BYTES)


@pytest.mark.parametrize(
    ("spelling", "name"),
    [
        ("float32", "fp32"),
        ("f32", "fp32"),
        ("bfloat16", "bf16"),
        ("float16", "fp16"),
        ("f16", "fp16"),
        ("half", "fp16"),
        ("fp8_e4m3", "fp8"),
        ("BF16", "bf16"),
        (" q8_0 ", "q8_0"),
    ],
)
def test_a_spelling_means_its_format(spelling: str, name: str) -> None:
    assert find_format(spelling, "dtype").name == name


def test_every_spelling_is_found() -> None:
    assert set(format_names()) == {*FORMATS, *ALIASES}
    assert all(find_format(name, "dtype") for name in format_names())


@pytest.mark.parametrize(
    ("name", "heads", "width", "size"),
    [
        ("int4_per_token_head", 3, 65, 3 * (33 + 4)),  # the last half byte of a head is padding
        ("int4_per_token_head", 1, 1, 1 + 4),
        ("fp8_per_token_head", 3, 65, 3 * (65 + 4)),
        ("q8_0", 8, 40, 10 * 34),  # blocks run over the heads of a row
        ("q4_0", 1, 64, 2 * 18),
        ("fp8_block128", None, 512, 4 * 132),
        ("bf16", None, 64, 128),
        ("fp32", 1, 1, 4),
    ],
)
def test_a_row_of_another_shape_takes(name: str, heads: int | None, width: int, size: int) -> None:
    assert row_bytes(name, heads, width) == size


@pytest.mark.parametrize(
    ("name", "heads", "width", "fragments"),
    [
        ("q8_0", 2, 40, ["32", "80"]),
        ("q5_1", 1, 16, ["32", "16"]),
        ("nvfp4", 1, 8, ["16", "8"]),
        ("mxfp4", 1, 100, ["32", "100"]),
        ("fp8_block128", None, 64, ["128", "64"]),
    ],
)
def test_a_row_that_blocks_do_not_fill_is_refused(
    name: str, heads: int | None, width: int, fragments: list[str]
) -> None:
    with pytest.raises(KvcalcError) as refused:
        row_bytes(name, heads, width)
    assert all(fragment in str(refused.value) for fragment in (name, *fragments))


@pytest.mark.parametrize(("name", "size"), [("bf16", 66), ("q8_0", 2 * 34), ("mxfp4", 2 * 17), ("nvfp4", 3 * 9)])
def test_the_last_block_of_33_parameters_counts_whole(name: str, size: int) -> None:
    assert math.prod(factor.value for factor in find_format(name, "dtype").parameters(33)) == size


@pytest.mark.parametrize(
    ("name", "size"),
    [
        # GPTQ and AWQ in groups of 128: 4 bits each, a scale of 16 bits, a zero of 4.
        ("int4", 128 * 1024 * 128 // 2 + 128 * 1024 * 2 + 128 * 1024 // 2),
        ("gptq", 128 * 1024 * 128 // 2 + 128 * 1024 * 2 + 128 * 1024 // 2),
        ("awq", 128 * 1024 * 128 // 2 + 128 * 1024 * 2 + 128 * 1024 // 2),
        ("w4a16", 128 * 1024 * 128 // 2 + 128 * 1024 * 2),  # symmetric: no zeros
        ("w4a16_g32", 128 * 1024 * 128 // 2 + 4 * 128 * 1024 * 2),
        ("bnb", 128 * 1024 * 128 // 2 + 2 * 128 * 1024 * 4),  # in groups of 64, with scales of 32 bits
    ],
)
def test_a_matrix_of_4_bits_with_its_scales(name: str, size: int) -> None:
    """1,024 x 16,384 parameters."""
    factors = find_weight_format(name, "format").parameters(1024 * 128 * 128)
    assert math.prod(factor.value for factor in factors) == size


def test_a_scale_for_each_head_is_nothing_for_weights() -> None:
    with pytest.raises(KvcalcError, match="weights"):
        find_format("fp8_per_token_head", "dtype").parameters(10)


def test_one_format_is_for_every_tensor() -> None:
    cache = parse_cache_format("q8_0", BF16, K_AND_V)
    assert (cache.of(LAYER, CachedTensor("k", ())).name, cache.of(LAYER, CachedTensor("v", ())).name) == (
        "q8_0",
        "q8_0",
    )


def test_each_tensor_may_have_its_own_format() -> None:
    cache = parse_cache_format("k=q8_0, v=q4_0", BF16, K_AND_V)
    assert (cache.of(LAYER, CachedTensor("k", ())).name, cache.of(LAYER, CachedTensor("v", ())).name) == (
        "q8_0",
        "q4_0",
    )


def test_a_tensor_that_is_left_out_keeps_the_default() -> None:
    cache = parse_cache_format("k=q8_0", BF16, K_AND_V)
    assert (cache.of(LAYER, CachedTensor("k", ())).name, cache.of(LAYER, CachedTensor("v", ())).name) == (
        "q8_0",
        "bf16",
    )


def test_fp8_ds_mla_is_656_bytes_for_512_and_64() -> None:
    cache = parse_cache_format("fp8_ds_mla", BF16, LATENT)
    latent, rope = (
        row_bytes(cache.of(LAYER, CachedTensor("c_kv", ())).name, None, 512),
        row_bytes(cache.of(LAYER, CachedTensor("k_rope", ())).name, None, 64),
    )
    assert latent + rope == 656


@pytest.mark.parametrize(
    ("text", "fragments"),
    [
        ("fp9", ["fp9", "'fp8'"]),
        ("", ["unknown format"]),
        ("k=fp9,v=q4_0", ["fp9"]),
        ("k=q8_0,k=q4_0", ["'k'", "twice"]),
        ("key=q8_0", ["'key'", "k, v"]),
        ("c_kv=q8_0", ["'c_kv'", "k, v"]),
        ("k=", ["k="]),
        ("=q8_0", ["=q8_0"]),
        ("k=q8_0,", ["TENSOR=FORMAT"]),
        ("k=q8_0,q4_0", ["q4_0", "TENSOR=FORMAT"]),
        ("fp8_ds_mla", ["c_kv", "k, v"]),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_mistaken_cache_format_is_refused(text: str, fragments: list[str]) -> None:
    with pytest.raises(KvcalcError, match=r"^--cache-dtype: ") as refused:
        parse_cache_format(text, BF16, K_AND_V)
    assert all(fragment in str(refused.value) for fragment in fragments)


@pytest.mark.parametrize(
    ("model", "cache_dtype", "size"),
    [
        ("llama-3-8b", "k=q8_0,v=q4_0", "53,248"),  # 32 layers x (1,088 + 576)
        ("llama-3-8b", "int4_per_token_head", "34,816"),  # 32 x 2 x 544
        ("deepseek-v3", "fp8_ds_mla", "40,016"),  # 61 x 656
        ("deepseek-v3", "c_kv=fp8_block128,k_rope=bf16", "40,016"),
    ],
)
def test_one_token_takes(kvcalc: Kvcalc, model: str, cache_dtype: str, size: str) -> None:
    run = kvcalc("estimate", model, "-c", "1", "--cache-dtype", cache_dtype)
    assert run.code == 0
    assert f"cache: {size} bytes" in run.stdout


def test_every_format_says_what_it_is_and_who_says_so() -> None:
    assert all(element_format.about and element_format.source for element_format in FORMATS.values())


@given(st.sampled_from(sorted(FORMATS)), st.integers(1, 64), st.integers(1, 8))
def test_heads_of_whole_blocks_add_up(name: str, heads: int, blocks: int) -> None:
    assert row_bytes(name, heads, 512 * blocks) == heads * row_bytes(name, 1, 512 * blocks)


def test_formats_that_are_known_and_not_followed_name_a_step_that_works() -> None:
    with pytest.raises(KvcalcError, match="--cache-dtype turboquant_k8v4, turboquant_4bit_nc, "):
        find_format("turboquant_2bit", "--cache-dtype")
    with pytest.raises(KvcalcError, match="k=q8_g128_s8,v=q8_g32_s0"):  # 8 heads of 136 bytes, and 1,024
        find_format("q8_KV", "--cache-dtype")
    with pytest.raises(KvcalcError, match=r"q3_g32_s2 .* or q3_g128_s2"):
        find_format("turbo3", "--cache-dtype")
    with pytest.raises(KvcalcError, match=r"q2_g32_s2 .* or q2_g128_s2"):
        find_format("turbo2", "--cache-dtype")
    with pytest.raises(KvcalcError, match="q4_g32_s2 for 4 bits, or k=q6_g32_s2,v=q4_g32_s2"):
        find_format("exl3", "--cache-dtype")
    with pytest.raises(KvcalcError, match="--weights SIZE gives all of them"):
        find_weight_format("exl3", "--weight-dtype")
