"""File types of llama.cpp against published files, whose tables take other shares of the parameters."""

from __future__ import annotations

import csv
import dataclasses
from pathlib import Path

import pytest
from each import for_each

import kvcalc
from kvcalc.formats.weights import WEIGHT_FORMATS
from kvcalc.memory.parts import placed_parts, whole_parts

FILES = list(csv.DictReader((Path(__file__).parents[1] / "data" / "gguf_sizes.csv").read_text("utf-8").splitlines()))
"""GB as repositories of the Hub show them (bartowski, mradermacher, unsloth, Qwen and lmstudio-community).

Of 152, the median is 0.3 % off, and files that an older llama.cpp made up to 2 %. Each has its vocabulary beside the
weights, of some MB, which is more than 2 % of the smallest. Rows of deepseek-v2-lite's experts (1,408), of
Qwen2.5-72B's down-projections (29,568) and of Qwen2.5-0.5B (896) fill no blocks of 256.
"""


@pytest.mark.parametrize("model", sorted({each["model"] for each in FILES}))
def test_files_are_as_large_as_published_ones(model: str) -> None:
    for each in FILES:
        if each["model"] == model:
            asked = kvcalc.make_scenario(model, context=1024, weight_dtype=each["file_type"])
            whole, placed = whole_parts(asked), placed_parts(asked)
            assert whole is not None
            assert placed is not None
            found = sum(part.term.bytes for part in whole)
            assert found / 10**9 == pytest.approx(float(each["gigabytes"]), rel=0.02, abs=0.01), each
            assert abs(sum(part.term.bytes for part in placed) - found) < 10**5


def test_a_name_that_is_a_block_too_means_the_file_type() -> None:
    (told,) = [
        each.data["format"]
        for each in kvcalc.estimate("llama-3.1-8b", context=1024, weight_dtype="Q2_K").notes
        if each.code == "weights-of-a-mix"
    ]
    assert told == "q2_k"
    asked = [kvcalc.make_scenario("llama-3.1-8b", context=1024, weight_dtype=each) for each in ("q4_k", "Q4_K_M")]
    assert asked[0].weight_format == asked[1].weight_format


def test_a_models_own_file_means_what_the_option_means() -> None:
    """`weight_dtype: q4_k` of a file, and --weight-dtype q4_k."""
    model = kvcalc.load_model("llama-3.1-8b")
    for name in ("q4_k", "q2_k", "q4_k_m", "q8_0"):
        own = kvcalc.make_scenario(dataclasses.replace(model, weight_dtype=name), context=1024)
        assert own.weight_format == kvcalc.make_scenario(model, context=1024, weight_dtype=name).weight_format
    assert kvcalc.make_scenario(dataclasses.replace(model, weight_dtype="fp8"), context=1024).weight_format is None


def test_experts_alone_are_in_mxfp4() -> None:
    """gpt-oss-20b-mxfp4.gguf of ggml-org/gpt-oss-20b-GGUF is such a file: 12.1 GB."""
    parts = whole_parts(kvcalc.make_scenario("gpt-oss-20b", context=1024, weight_dtype="MXFP4_MOE")) or ()
    assert sum(part.term.bytes for part in parts) / 10**9 == pytest.approx(12.1, rel=0.005)
    named = kvcalc.make_scenario("ggml-org/gpt-oss-20b-GGUF:MXFP4_MOE", context=1024, engine="exact")
    assert sum(part.term.bytes for part in whole_parts(named) or ()) == sum(part.term.bytes for part in parts)
    dense = [kvcalc.make_scenario("qwen3-8b", context=1024, weight_dtype=each) for each in ("mxfp4_moe", "q8_0")]
    assert len({sum(part.term.bytes for part in whole_parts(each) or ()) for each in dense}) == 1
    untold = dataclasses.replace(kvcalc.load_model("mixtral-8x7b"), moe_intermediate_size=None, weights=())
    with pytest.raises(kvcalc.KvcalcError, match="--weights SIZE gives all of them"):
        kvcalc.estimate(untold, context=1024, weight_dtype="mxfp4_moe")


def test_rows_that_blocks_of_256_do_not_fill_are_in_blocks_of_32() -> None:
    """Gemma 3 1B: a tied table of 262,144 x 1,152 in q8_0, and layers in q5_0 but for down-projections."""
    parts = whole_parts(kvcalc.make_scenario("gemma-3-1b", context=1024, weight_dtype="q4_k_s")) or ()
    found = {part.term.path: (part.parameters, part.term.bytes) for part in parts}
    table, down = 262_144 * 1152, 26 * 6912 * 1152
    assert found["embedding"] == (table, table // 32 * 34)
    parameters, size = found["layers: down-projections"]
    assert parameters == down
    assert size / down * 8 == pytest.approx((7 * 4.5 + 5.5) / 8, rel=1e-4)
    parameters, size = found["layers"]
    assert size / parameters * 8 == pytest.approx(5.5, abs=0.1)


def test_experts_that_are_published_in_mxfp4_stay_in_it() -> None:
    """unsloth/gpt-oss-20b-GGUF: Q4_K_M is 11.6 GB, of which the experts are 10.2 in mxfp4 (17 bytes for 32)."""
    parts = whole_parts(kvcalc.make_scenario("gpt-oss-20b", context=1024, weight_dtype="q4_k_m")) or ()
    assert sum(part.term.bytes for part in parts) / 10**9 == pytest.approx(11.6, rel=0.01)
    named = kvcalc.make_scenario("unsloth/gpt-oss-20b-GGUF:Q4_K_M", context=1024, engine="exact")
    assert sum(part.term.bytes for part in whole_parts(named) or ()) == sum(part.term.bytes for part in parts)
    (experts,) = [part for part in parts if part.split == "ep"]
    assert experts.term.bytes == experts.parameters // 32 * 17


@for_each(
    ("name", "gib", "within"),
    (
        ("unsloth/gpt-oss-20b-GGUF:F16", 12.83, 0.002),
        ("unsloth/gpt-oss-120b-GGUF:F16", 60.87, 0.002),
        ("unsloth/gpt-oss-120b-GGUF:Q4_K_M", 58.45, 0.003),
        ("unsloth/gpt-oss-120b-GGUF:Q8_0", 60.03, 0.02),  # leaves its tables in bf16
        ("unsloth/gpt-oss-20b-GGUF", 11_624_759_488 / 2**30, 0.003),
        ("ggml-org/gpt-oss-20b-GGUF", 12_109_566_624 / 2**30, 0.005),
        ("ggml-org/gpt-oss-120b-GGUF", 63_387_346_464 / 2**30, 0.005),
    ),
)
def test_files_of_gpt_oss_by_name_are_as_large_as_they_are(name: str, gib: float, within: float) -> None:
    """Sizes that llama-bench prints of them; experts stay in mxfp4 in all of them."""
    parts = whole_parts(kvcalc.make_scenario(name, context=1024, engine="exact")) or ()
    assert sum(part.term.bytes for part in parts) / 2**30 == pytest.approx(gib, rel=within)


def test_names_of_parts_of_a_file_are_not_shown() -> None:
    assert not [name for name in WEIGHT_FORMATS if name.endswith(("_mix", "_layers", "_rows", "_down", "_fallen"))]
