"""Weights of models with towers in llama.cpp's formats: the text model's alone, as published files are."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

import kvcalc
from kvcalc.memory.parts import placed_parts, whole_parts

PUBLISHED = [
    ("gemma-3-27b", "bf16", 54.0),
    ("gemma-3-27b", "q8_0", 28.7),
    ("mistral-small-3.1-24b", "bf16", 47.2),
    ("mistral-small-3.1-24b", "q8_0", 25.1),
    ("qwen3.5-9b", "bf16", 17.9),
]
"""GB of files as the Hub shows them, beside which an mmproj lies: ggml-org/gemma-3-27b-it-GGUF (f16, in two files of 40
and 14), unsloth/Mistral-Small-3.1-24B-Instruct-2503-GGUF, lainlives/Qwen3.5-9B-Python-Coder-GGUF (a tune of it)."""

MMPROJ = [
    ("gemma-3-27b", 858_000_000 + round(121.25 * 2**20)),
    ("qwen3.5-9b", 921_704_576 + round(248.1 * 2**20)),
    ("qwen3.6-27b", round((887.99 + 248.1) * 2**20)),
]
"""Bytes of towers: mmproj-model-f16.gguf of the first repository, Qwen3.5-9B.BF16-mmproj.gguf of
khtsly/Mini-Coder-GGUF, and what llama.cpp loads of Qwen3.6-27B's; with buffers that it printed, of gemma-3 in
https://github.com/ggml-org/llama.cpp/pull/16837."""


def scenario(model: str, **options: Any) -> kvcalc.Scenario:
    return kvcalc.make_scenario(model, context=4096, **options)


def size(asked: kvcalc.Scenario) -> int:
    whole, placed = whole_parts(asked), placed_parts(asked)
    assert whole is not None
    assert placed is not None
    found = sum(part.term.bytes for part in whole)
    assert abs(sum(part.term.bytes for part in placed) - found) < 10**5  # blocks of each part are whole
    return found


@pytest.mark.parametrize(("model", "stored", "gigabytes"), PUBLISHED)
def test_files_of_llama_cpp_have_no_tower(model: str, stored: str, gigabytes: float) -> None:
    found = size(scenario(model, engine="llama-cpp", weight_dtype=stored))
    assert 0.997 < found / (gigabytes * 10**9) <= 1.0005  # a file has its vocabulary too, and norms in f32


@pytest.mark.parametrize(("model", "printed"), MMPROJ)
def test_what_an_mmproj_takes_is_told(model: str, printed: int) -> None:
    notes = kvcalc.estimate(model, context=4096, engine="llama-cpp", weight_dtype="q4_k_m").notes
    (told,) = [each for each in notes if each.code == "towers-apart"]
    size_told = told.data["bytes"]
    assert isinstance(size_told, int)
    assert 0.996 < size_told / printed < 1.001


def test_a_format_of_llama_cpp_has_no_tower_whatever_the_engine() -> None:
    with_engine = size(scenario("gemma-3-27b", engine="llama-cpp", weight_dtype="q8_0"))
    assert size(scenario("gemma-3-27b", weight_dtype="q8_0")) == with_engine
    by_name = scenario("google/gemma-3-27b-it-q8_0-GGUF")
    assert abs(size(by_name) - with_engine) < 10**5
    notes = kvcalc.estimate("google/gemma-3-27b-it-q8_0-GGUF", context=4096).notes
    assert any(each.code == "towers-apart" for each in notes)


def test_other_engines_load_the_tower() -> None:
    model = kvcalc.load_model("gemma-3-27b")
    assert size(scenario("gemma-3-27b")) == 2 * (model.parameters or 0)
    assert size(scenario("gemma-3-27b", engine="vllm", weight_dtype="bf16")) == 2 * (model.parameters or 0)


def test_a_list_loses_its_tower_too() -> None:
    model = kvcalc.load_model("kimi-k2.5")
    whole = {each: whole_parts(scenario("kimi-k2.5", engine=each)) or () for each in ("exact", "llama-cpp")}
    told = {each: sum(part.term.bytes for part in parts) for each, parts in whole.items()}
    assert told["exact"] - told["llama-cpp"] == 2 * (model.tower_parameters or 0)


def test_files_of_ollamas_own_engine_have_the_tower_in_16_bits() -> None:
    """gemma3:27b of its library is shown with 17 GB: q4_k_m's 16.5, and the tower's 0.85."""
    asked: dict[str, Any] = {"engine": "llama-cpp", "weight_dtype": "q4_k_m"}
    own = scenario("gemma-3-27b", engine_option={"ollama-new-engine": "1"}, **asked)
    assert size(own) - size(scenario("gemma-3-27b", **asked)) == 2 * 423_060_336


@pytest.mark.parametrize("number", [1000, 423_060_336])
def test_parameters_that_its_towers_alone_have_are_refused(number: int) -> None:
    """Else the text model would have fewer than none."""
    with pytest.raises(kvcalc.KvcalcError, match=f"--parameters: {number:,} are no more than the model's towers"):
        kvcalc.estimate("gemma-3-27b", engine="llama-cpp", parameters=number)
    found = kvcalc.load_model("gemma-3-27b")
    with pytest.raises(ValueError, match="are no more than its towers"):
        dataclasses.replace(found, parameters=number)
