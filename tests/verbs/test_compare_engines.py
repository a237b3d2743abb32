"""compare with several engines: what each reserves for the same content, side by side."""

from __future__ import annotations

import json

import pytest
from conftest import Kvcalc, texts

import kvcalc as library

GEMMA = 10 * 2 * 16 * 128 * 2  # bytes of a token in the full layers of gemma-3-27b; 52 more have windows of 1,024


def test_a_row_for_each_engine(kvcalc: Kvcalc) -> None:
    run = kvcalc("compare", "gemma-3-27b", "--engine", "exact,vllm", "-c", "131072", "--json")
    printed = json.loads(run.stdout)
    assert (printed["varies"], printed["engine"], printed["engine_version"]) == (["engine"], None, None)
    exact, vllm = printed["rows"]
    assert (exact["name"], exact["engine"], exact["engine_version"]) == ("exact", "exact", None)
    assert exact["cache_bytes"] == exact["content_bytes"] == GEMMA * 131_072 + 52 * 2 * 16 * 128 * 2 * 1024
    # vLLM's own planner: a request of 131,072 tokens takes 19.30 GB, beside a null block of 10 x 16 x 8,192 bytes.
    assert vllm["content_bytes"] == exact["content_bytes"]
    assert vllm["cache_bytes"] // 10**7 == 1930
    assert vllm["name"] == f"vllm {vllm['engine_version']}"
    assert any("those of the smallest deployment under exact" in text for text in texts(printed["notes"]))


def test_versions_are_engines_of_their_own(kvcalc: Kvcalc) -> None:
    run = kvcalc("compare", "llama-3-8b", "--engine", "vllm@0.19.0,vllm")
    assert run.code == 0
    names = [line.split("  ")[0] for line in run.stdout.splitlines() if line.startswith("vllm ")]
    assert names == [each for _ in range(2) for each in ("vllm 0.19.0", "vllm 0.33.0")]


def test_models_and_formats_vary_beside_engines(kvcalc: Kvcalc) -> None:
    run = kvcalc("compare", "llama-3-8b", "qwen3-8b", "--engine", "exact,vllm", "--cache-dtype", "bf16,fp8", "--json")
    printed = json.loads(run.stdout)
    assert printed["varies"] == ["model", "format", "engine"]
    names = [row["name"].rsplit(" ", 1)[0].replace(" under", "") for row in printed["rows"]]
    assert names[:4] == ["llama-3-8b, bf16", "llama-3-8b, bf16 vllm", "llama-3-8b, fp8", "llama-3-8b, fp8 vllm"]


def test_an_option_is_for_the_engines_that_have_it() -> None:
    options = {"max-num-batched-tokens": "1024"}
    default, given = (
        library.compare("gemma-3-27b", engine="exact,vllm", context=8192, engine_option=each).rows
        for each in ({}, options)
    )
    assert default[0].cache_bytes == given[0].cache_bytes
    assert default[1].cache_bytes > given[1].cache_bytes


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--engine", "exact,exact"), "each --engine once"),
        (("--engine", "exact,vlm"), "unknown engine 'vlm'"),
        (("--engine", "exact,"), "unknown engine ''"),
        (("--engine", "exact,vllm", "--engine-option", "foo=1"), "none of exact, vllm has an option 'foo'"),
        (("--engine", "exact,vllm", "--engine-option", "max-num-seqs=x"), "max-num-seqs"),
    ],
)
def test_what_cannot_be_compared_is_refused(kvcalc: Kvcalc, words: tuple[str, ...], message: str) -> None:
    run = kvcalc("compare", "llama-3-8b", *words)
    assert (run.code, run.stdout) == (2, "")
    assert message in run.stderr


def test_notes_name_the_rows_they_are_of() -> None:
    notes = texts(library.compare("gemma-3-27b", engine=["exact", "vllm"]).notes)
    assert any(text.startswith("exact: 52 of 62 layers keep only their window") for text in notes)


@pytest.mark.parametrize("engine", ["vllm", "sglang", "tensorrt-llm"])
def test_a_tp_that_other_rows_alone_can_have(engine: str) -> None:
    """phi-4 has 10 KV heads, which 4 ranks do not share; as MQA or MHA it could be on them."""
    found = library.compare("phi-4", engine=engine, tp=4)
    sequences = {row.name: row.given.most_sequences for row in found.rows}
    assert sequences["gqa-10"] is None
    assert sequences["mha"]
    assert any(text.startswith("gqa-10: on the given GPUs: tp: 4 is illegal") for text in texts(found.notes))


def test_rows_that_need_more_ranks_than_the_models_own_heads_divide_by() -> None:
    found = library.compare("phi-4", engine="vllm", batch=200, context=16384)
    assert {row.name: row.count for row in found.rows}["mha"]


def test_what_layers_hold_is_not_called_what_an_engine_reserves() -> None:
    """deepseek-v3 on vLLM: blocks are more than the content, which the note of copies is of."""
    (told,) = (
        each
        for each in library.estimate("deepseek-v3", engine="vllm", gpu="h200", tp=8).notes
        if each.code == "cache-copied"
    )
    assert "cannot divide all of the cache: its layers hold " in told.text
