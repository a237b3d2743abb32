"""Terms: a figure and its formula are one object."""

from __future__ import annotations

import math
import re

import pytest

import kvcalc
from kvcalc.term import Factor, Product, Share, Sum, leaves

SIX = Product("six", (Factor("two", 2), Factor("three", 3)))
SEVEN = Product("seven", (Factor("given", 7, "byte"),), "somewhere")


def test_a_product_multiplies_its_factors() -> None:
    assert SIX.bytes == 6
    assert SIX.formula == "two x three"
    assert SIX.numbers == "2 x 3"
    assert SEVEN.numbers == "7 bytes"
    assert Product("zero", (Factor("none", 0), Factor("many", 10**30))).bytes == 0


def test_a_further_factor_stands_last() -> None:
    times = SIX.times(Factor("ranks", 5, "ranks"))

    assert times.bytes == 30
    assert times.formula == "two x three x ranks"
    assert times.path == "six"


def test_large_products_stay_exact() -> None:
    assert Product("large", (Factor("a", 10**18 + 1), Factor("b", 10**18 - 1))).bytes == 10**36 - 1


@pytest.mark.parametrize(
    ("bytes_", "among", "part", "expected"),
    [(7, 2, None, 4), (8, 2, None, 4), (7, 8, None, 1), (0, 3, None, 0), (7, 4, 2, 4), (10, 5, 3, 6), (11, 5, 3, 7)],
)
def test_a_share_is_rounded_up(bytes_: int, among: int, part: int | None, expected: int) -> None:
    whole = Product("whole", (Factor("given", bytes_),))
    share = Share("share", whole, Factor("ranks", among), None if part is None else Factor("mine", part))

    assert share.bytes == expected
    assert share.formula == ("ceil(whole / ranks)" if part is None else "ceil(whole x mine / ranks)")


def test_a_share_of_a_large_whole_is_exact() -> None:
    whole = Product("whole", (Factor("given", 10**30 + 1),))

    assert Share("share", whole, Factor("ranks", 10)).bytes == 10**29 + 1


def test_a_sum_adds_its_parts() -> None:
    total = Sum("total", (SIX, Sum("inner", (SEVEN,)), Share("half", SEVEN, Factor("ranks", 2))))

    assert total.bytes == 6 + 7 + 4
    assert total.formula == "six + inner + half"
    assert total.numbers == "6 + 7 + 4"


def test_an_empty_sum_is_nothing() -> None:
    empty = Sum("empty", ())

    assert empty.bytes == 0
    assert empty.formula == "nothing"
    assert empty.numbers == "0"
    assert leaves(empty) == ()


def test_leaves_are_the_products_in_order() -> None:
    assert leaves(SIX) == (SIX,)
    assert leaves(Sum("total", (SIX, Sum("inner", (SEVEN, SIX))))) == (SIX, SEVEN, SIX)


def test_a_share_has_no_leaves_that_add_up_to_it() -> None:
    with pytest.raises(TypeError, match="half is a share"):
        leaves(Sum("total", (Share("half", SEVEN, Factor("ranks", 2)),)))


@pytest.mark.parametrize("path", ["cache", "rank"])
@pytest.mark.parametrize("model", ["llama-3-70b", "deepseek-v3", "gemma-3n-e4b", "falcon-7b", "mimo-v2-flash"])
def test_numbers_of_every_term_say_its_bytes(model: str, path: str) -> None:
    """Read as a person would: the numbers in the text of a term, combined as it says, are its bytes."""
    answer = kvcalc.estimate(model, batch=3, context=9000)
    terms: list[Product | Share | Sum] = [*answer.cache.terms] if path == "cache" else [answer.memory.per_rank.tree]
    seen = 0
    while terms:
        term = terms.pop()
        seen += 1
        numbers = [int(number.replace(",", "")) for number in re.findall(r"(?<![\w.])[0-9][0-9,]*", term.numbers)]
        match term:
            case Product():
                assert math.prod(numbers) == term.bytes
                assert term.formula.count(" x ") == len(term.factors) - 1
            case Sum(parts=parts):
                assert sum(numbers) == term.bytes
                terms.extend(parts)
            case Share(whole=whole):
                terms.append(whole)
    assert seen


def test_the_formula_of_a_head_based_cache() -> None:
    terms = kvcalc.estimate("llama-3-70b", batch=2, context=8192, tp=16).cache.terms

    assert [(term.path, term.bytes, term.formula) for term in terms] == [
        (
            "gqa 64/8 x 128: k+v",
            2 * 5_368_709_120,
            "k_and_v x layers x sequences x context x num_kv_heads_on_rank x head_dim x bytes_per_element x ranks",
        )
    ]
    assert [factor.value for factor in terms[0].factors] == [2, 80, 2, 8192, 1, 128, 2, 16]


def test_the_formula_of_a_latent_cache() -> None:
    terms = kvcalc.estimate("deepseek-v3", context=100).cache.terms

    assert [(term.path.rpartition(": ")[2], [factor.value for factor in term.factors]) for term in terms] == [
        ("c_kv", [61, 1, 100, 512, 2]),
        ("k_rope", [61, 1, 100, 64, 2]),
    ]
    assert terms[0].formula == "layers x sequences x context x kv_lora_rank x bytes_per_element"


def test_the_formula_of_a_window() -> None:
    terms = kvcalc.estimate("gemma-3-27b", context=8192).cache.terms

    assert [[factor.value for factor in term.factors] for term in terms] == [
        [2, 52, 1, 1024, 16, 128, 2],
        [2, 10, 1, 8192, 16, 128, 2],
    ]
    assert "x window x" in terms[0].formula
    assert "x context x" in terms[1].formula


def test_the_formula_of_a_scale_per_head_and_of_blocks() -> None:
    per_head = kvcalc.estimate("llama-3-8b", context=1, cache_dtype="int8_per_token_head").cache.terms[0]
    blocks = kvcalc.estimate("llama-3-8b", context=1, cache_dtype="q8_0").cache.terms[0]

    assert [factor.value for factor in per_head.factors] == [2, 32, 1, 1, 8, 132]
    assert [factor.value for factor in blocks.factors] == [2, 32, 1, 1, 32, 34]
    assert per_head.formula.endswith("num_kv_heads x bytes_per_head")
    assert blocks.formula.endswith("blocks_of_32 x bytes_per_block")


def test_a_key_and_a_value_of_different_formats_are_two_terms() -> None:
    terms = kvcalc.estimate("llama-3-8b", context=1, cache_dtype="k=q8_0,v=q4_0").cache.terms

    assert [(term.path.rpartition(": ")[2], term.bytes) for term in terms] == [
        ("k", 32 * 8 * 4 * 34),
        ("v", 32 * 8 * 4 * 18),
    ]
