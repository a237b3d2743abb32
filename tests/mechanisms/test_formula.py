"""Formulas are written from the tensors that a layer keeps. tests/test_registries.py compares them with the docs."""

from __future__ import annotations

import pytest

from kvcalc.mechanisms import GQA, MLA
from kvcalc.mechanisms.formula import in_numbers, in_words
from kvcalc.term import Factor

A, B, C = Factor("a", 2), Factor("b", 3), Factor("c", 5)
LESS = Factor("a_less", 1, derived=("a - 1", "2 - 1"))


@pytest.mark.parametrize(
    ("products", "words", "numbers"),
    [
        ([], "0", "0"),
        ([(A,)], "a", "2"),
        ([(A,), (B,)], "a + b", "2 + 3"),
        ([(A, B)], "a x b", "2 x 3"),
        ([(A, B), (A, B)], "2 x a x b", "2 x 2 x 3"),
        ([(A, B), (A, C)], "a x (b + c)", "2 x (3 + 5)"),
        ([(A, B), (A, C), (A, B)], "a x (2 x b + c)", "2 x (2 x 3 + 5)"),
        ([(A, B), (C,)], "a x b + c", "2 x 3 + 5"),
        ([(A,), (A, B)], "a + a x b", "2 + 2 x 3"),
        ([(LESS,)], "a - 1", "2 - 1"),
        ([(LESS,), (B,)], "a - 1 + b", "2 - 1 + 3"),
        ([(LESS, B)], "(a - 1) x b", "(2 - 1) x 3"),
        ([(LESS,), (LESS,)], "2 x (a - 1)", "2 x (2 - 1)"),
        ([(LESS, B), (LESS, C)], "(a - 1) x (b + c)", "(2 - 1) x (3 + 5)"),
    ],
)
def test_products_are_added_up(products: list[tuple[Factor, ...]], words: str, numbers: str) -> None:
    assert (in_words(products), in_numbers(products)) == (words, numbers)


def test_a_layer_shows_what_it_has() -> None:
    gqa = GQA(num_heads=64, num_kv_heads=8, head_dim=128)
    assert (gqa.formula, gqa.formula_in_numbers) == ("2 x num_kv_heads x head_dim", "2 x 8 x 128")
    wide = GQA(num_heads=64, num_kv_heads=8, head_dim=192, v_head_dim=128)
    assert wide.formula_in_numbers == "8 x (192 + 128)"
    mla = MLA(num_heads=4, kv_lora_rank=512, qk_rope_head_dim=64, qk_nope_head_dim=128, v_head_dim=128)
    assert mla.formula == "kv_lora_rank + qk_rope_head_dim"
