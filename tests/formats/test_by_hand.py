"""Formats written by hand, and llama.cpp's file types of several formats."""

from __future__ import annotations

import pytest

import kvcalc
from kvcalc import KvcalcError
from kvcalc.formats.by_name import find_format
from kvcalc.formats.weights import find_weight_format


@pytest.mark.parametrize(
    ("written", "as_bytes_of"),
    # The same layouts by their own names: an fp16 scale, or a scale and a minimum, for each 32; an fp8 scale for 16.
    [
        ("q8_g32_s2", "q8_0"),
        ("q5_g32_s4", "q5_1"),
        ("q4_g32_s2", "q4_0"),
        ("q4_g16_s1", "nvfp4"),
        ("q16_g1_s0", "bf16"),
    ],
)
def test_bits_a_group_and_what_is_beside_it(written: str, as_bytes_of: str) -> None:
    by_hand, named = (kvcalc.estimate("llama-3-8b", context=4096, cache_dtype=each) for each in (written, as_bytes_of))
    assert by_hand.cache.bytes == named.cache.bytes


@pytest.mark.parametrize(
    ("written", "message"),
    [("q3_g5_s2", "fill no whole bytes"), ("q0_g32_s2", "needs 1 to 32 bits"), ("q4_g0_s2", "at least 1 element")],
)
def test_what_is_no_layout_is_refused(written: str, message: str) -> None:
    with pytest.raises(KvcalcError, match=message):
        find_format(written, "--cache-dtype")


def test_a_row_that_groups_do_not_fill_is_refused() -> None:
    with pytest.raises(KvcalcError, match="not a multiple"):
        kvcalc.estimate("llama-3-8b", context=16, cache_dtype="q4_g96_s2")


@pytest.mark.parametrize(("mix", "gib"), [("q4_k_m", 4.58), ("q4_k_s", 4.36), ("q5_k_m", 5.33), ("iq3_m", 3.52)])
def test_a_mix_is_as_large_as_the_published_file(mix: str, gib: float) -> None:
    """llama.cpp, tools/quantize/README.md: files of Llama-3.1-8B, whose parameters are 8,030,261,248."""
    (blocks, each) = find_weight_format(mix, "--weight-dtype").parameters(8_030_261_248)
    assert blocks.value * each.value / 2**30 == pytest.approx(gib, abs=0.006)


@pytest.mark.parametrize(
    ("model", "mix", "gb"),
    [
        ("phi-4", "q4_k_l", 9.43),
        ("phi-4", "q6_k_l", 12.3),
        ("mistral-small-24b-base-2501", "q4_k_l", 14.8),
        ("mistral-7b-v0.3", "iq2_m", 2.5),
    ],
)
def test_a_file_of_another_model_is_near_the_published_one(model: str, mix: str, gb: float) -> None:
    """https://huggingface.co/bartowski/phi-4-GGUF, .../mistralai_Mistral-Small-24B-Base-2501-GGUF: the listings."""
    rank = kvcalc.estimate(model, context=1, weight_dtype=mix).memory.per_rank
    assert (rank.weights_bytes or 0) / 10**9 == pytest.approx(gb, rel=0.02)


@pytest.mark.parametrize(
    ("mix", "message"),
    [
        ("UD-Q4_K_XL", "a mix that Unsloth chooses"),
        ("q4_0_8_8", "q4_0 is as large"),
        ("iq4_ks", "of a fork of llama.cpp"),
        ("i2_s", "of a fork of llama.cpp"),
    ],
)
def test_a_mix_that_differs_by_file_is_refused_with_what_to_do(mix: str, message: str) -> None:
    with pytest.raises(KvcalcError, match=message):
        find_weight_format(mix, "--weight-dtype")
