"""verify: published totals found in shapes and in real memory, in every form of output."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import Kvcalc, texts

import kvcalc as package

WINDOWS_SHARING_FORMATS = """
name: mixed
hidden_size: 64
dtype: bf16
layers:
  - repeat: 2
    of:
      - {count: 2, attention: {kind: gqa, num_heads: 8, num_kv_heads: 2, head_dim: 32}, window: 16}
      - {count: 1, attention: {kind: gqa, num_heads: 8, num_kv_heads: 2, head_dim: 32}}
      - {count: 1, attention: {kind: shared}}
  - {count: 1, attention: {kind: none}}
  - {count: 1, attention: {kind: mha, num_heads: 4, head_dim: 32}, cache_dtype: q8_0}
"""
# A token of one sequence: gqa 2 x 2 x 32 elements in bf16, 256 bytes; mha 2 x 4 x 32 in q8_0, 8 blocks of 34 bytes.
# 100 tokens: 4 windowed layers x 16 x 256 + 2 x 100 x 256 + 1 x 100 x 272 = 94,784.

DEEPSEEK_EXPANDED = """
name: deepseek-v3-expanded
hidden_size: 7168
dtype: bf16
layers:
  - count: 61
    attention:
      {kind: mla_expanded, num_heads: 128, kv_lora_rank: 512, qk_rope_head_dim: 64, qk_nope_head_dim: 128,
       v_head_dim: 128, q_lora_rank: 1536}
"""


def verified(kvcalc: Kvcalc, *words: str) -> dict[str, Any]:
    run = kvcalc("verify", *words, "--json")
    assert (run.code, run.stderr) == (0, "")
    printed: dict[str, Any] = json.loads(run.stdout)
    assert printed["verified"] is True
    assert all(check["ok"] for check in printed["checks"])
    return printed


def cache_bytes(printed: dict[str, Any]) -> int:
    """The one figure that everything is about, predicted and measured."""
    [check] = [check for check in printed["checks"] if check["name"] == "cache bytes"]
    assert check["unit"] == "bytes"
    assert check["relation"] == "="
    assert check["predicted"] == check["measured"]
    measured: int = check["measured"]
    return measured


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("llama-3-70b -b 32 -c 8192", 85_899_345_920),
        ("llama-3-8b -c 8192", 1_073_741_824),
        ("deepseek-v3 -c 8192", 575_668_224),
        ("deepseek-v3 -b 32 -c 131072", 294_742_130_688),
        ("falcon-7b -c 8192", 67_108_864),
        ("gemma-3-27b -c 8192", 1_107_296_256),
        ("llama-3-8b -c 8192 --cache-dtype fp16", 1_073_741_824),
        ("llama-3-8b -c 8192 --cache-dtype fp32", 2_147_483_648),
        ("llama-3-8b -c 8192 --cache-dtype fp8", 536_870_912),
        ("llama-3-8b -c 8192 --cache-dtype fp8_e5m2", 536_870_912),
        ("llama-3-8b -c 8192 --cache-dtype int8", 536_870_912),
        ("llama-3-8b -c 8192 --cache-dtype int8_per_token_head", 553_648_128),
        ("llama-3-8b -c 8192 --cache-dtype fp8_per_token_head", 553_648_128),
        ("llama-3-8b -c 8192 --cache-dtype q8_0", 570_425_344),
        ("llama-3-8b -c 8192 --cache-dtype q4_0", 301_989_888),
        ("llama-3-8b -c 8192 --cache-dtype k=q8_0,v=q4_0", 436_207_616),
        ("llama-3-8b -c 8192 --cache-dtype v=fp8", 805_306_368),
        ("deepseek-v3 -c 8192 --cache-dtype fp8_ds_mla", 8192 * 61 * 656),
    ],
)
def test_a_published_total_is_found_in_shapes(kvcalc: Kvcalc, words: str, expected: int) -> None:
    printed = verified(kvcalc, *words.split(), "--device", "meta")
    assert cache_bytes(printed) == expected
    assert printed["device"] == "meta"


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("llama-3-8b -b 3 -c 100", 39_321_600),
        ("falcon-7b -b 3 -c 511", 12_558_336),
        ("deepseek-v3 -c 100", 7_027_200),
        ("gemma-3-1b -c 1000", 15_630_336),
        ("gemma-3-1b -c 3000 --cache-dtype q8_0", 12_655_616),
        ("llama-3-8b -c 64 --cache-dtype fp8", 4_194_304),
        ("llama-3-8b -c 64 --cache-dtype int8", 4_194_304),
        ("llama-3-8b -c 64 --cache-dtype fp32", 16_777_216),
        ("llama-3-8b -c 64 --cache-dtype k=q8_0,v=q4_0", 3_407_872),
        ("deepseek-v3 -c 64 --cache-dtype fp8_ds_mla", 2_561_024),
    ],
)
def test_a_total_is_found_in_real_memory(kvcalc: Kvcalc, words: str, expected: int) -> None:
    printed = verified(kvcalc, *words.split(), "--device", "cpu")
    assert cache_bytes(printed) == expected
    assert printed["device"] == "cpu"
    assert rungs(printed)["allocated"]


@pytest.mark.parametrize("device", ["meta", "cpu"])
def test_windows_shared_layers_and_formats_of_their_own_are_found(kvcalc: Kvcalc, tmp_path: Path, device: str) -> None:
    file = tmp_path / "mixed.yaml"
    file.write_text(WINDOWS_SHARING_FORMATS, encoding="utf-8")
    printed = verified(kvcalc, str(file), "-b", "3", "-c", "100", "--device", device)
    assert cache_bytes(printed) == 3 * 94_784
    of_layers = {check["subject"]: check["measured"] for check in printed["checks"] if check["name"].endswith("layers")}
    assert of_layers == {
        "4 x gqa 8/2 x 32, window 16": 3 * 4 * 16 * 256,
        "2 x gqa 8/2 x 32": 3 * 2 * 100 * 256,
        "2 x shared": 0,
        "1 x no attention": 0,
        "1 x mha 4 x 32, q8_0": 3 * 100 * 272,
    }


@pytest.mark.parametrize(("context", "kept"), [(15, 15), (16, 16), (17, 16)])
def test_a_window_keeps_no_more_than_there_are_tokens(kvcalc: Kvcalc, tmp_path: Path, context: int, kept: int) -> None:
    file = tmp_path / "mixed.yaml"
    file.write_text(WINDOWS_SHARING_FORMATS, encoding="utf-8")
    printed = verified(kvcalc, str(file), "-c", str(context), "--device", "cpu")
    assert cache_bytes(printed) == 4 * kept * 256 + context * (2 * 256 + 272)


@pytest.mark.parametrize(
    ("words", "expected"),
    [("-c 8192 --device meta", 40_936_407_040), ("-c 3 --device cpu", 14_991_360)],
)
def test_an_expanded_latent_keeps_every_head(kvcalc: Kvcalc, tmp_path: Path, words: str, expected: int) -> None:
    file = tmp_path / "expanded.yaml"
    file.write_text(DEEPSEEK_EXPANDED, encoding="utf-8")
    printed = verified(kvcalc, str(file), *words.split())
    assert cache_bytes(printed) == expected
    kept = [check["measured"] for check in printed["checks"] if check["name"] == "kept per token"]
    assert kept == [128 * (128 + 64), 128 * 128]
    assert sum(kept) == 40_960


def test_every_form_of_output_has_the_same_figures(kvcalc: Kvcalc) -> None:
    words = ("verify", "gemma-3-1b", "-b", "2", "-c", "3000", "--device", "meta")
    checks = json.loads(kvcalc(*words, "--json").stdout)["checks"]
    runs = {how: kvcalc(*words, "--format", how) for how in ("table", "json", "csv", "markdown")}
    assert {run.code for run in runs.values()} == {0}
    assert json.loads(runs["json"].stdout)["checks"] == checks

    rows = list(csv.DictReader(io.StringIO(runs["csv"].stdout)))
    assert [row["name"] for row in rows] == [check["name"] for check in checks]
    assert [float(row["measured"]) for row in rows] == [check["measured"] for check in checks]
    assert [float(row["predicted"]) for row in rows] == [check["predicted"] for check in checks]

    for how in ("table", "markdown"):
        for check in checks:
            shown = [
                line for line in runs[how].stdout.splitlines() if check["name"] in line and check["subject"] in line
            ]
            assert any(" ok " in line for line in shown)
            if isinstance(check["measured"], int):
                assert any(line.count(f"{check['measured']:,}") >= 2 for line in shown)
        assert "47,644,672" in runs[how].stdout
        assert "verified: " in runs[how].stdout
    assert cache_bytes({"checks": checks}) == 47_644_672


def test_counts_are_integers_and_bounds_are_met(kvcalc: Kvcalc) -> None:
    printed = verified(kvcalc, "deepseek-v3", "-c", "500", "--device", "cpu", "--cache-dtype", "fp8_ds_mla")
    for check in printed["checks"]:
        if check["unit"] in {"bytes", "elements"}:
            assert isinstance(check["predicted"], int)
            assert isinstance(check["measured"], int)
        match check["relation"]:
            case "=":
                assert check["measured"] == check["predicted"]
            case "<=":
                assert 0 < check["measured"] <= check["predicted"]
            case ">=":
                assert check["measured"] >= check["predicted"] > 0
            case other:
                pytest.fail(other)
    for measurement in printed["measurements"]:
        if measurement["unit"] == "bytes":
            assert isinstance(measurement["measured"], int)


def round_trip(kvcalc: Kvcalc, cache_dtype: str, model: str = "llama-3-8b") -> dict[str, float]:
    printed = verified(kvcalc, model, "-c", "16", "--device", "meta", "--cache-dtype", cache_dtype)
    return {one["subject"]: one["measured"] for one in printed["measurements"] if one["name"] == "round trip"}


def test_what_packing_costs_is_measured(kvcalc: Kvcalc) -> None:
    """Uniform steps of q cost q / sqrt(12), where values are normal, of size 1; n fraction bits cost about 2^-n / 4."""
    error = {name: round_trip(kvcalc, name)[name] for name in ("fp32", "fp16", "bf16", "fp8", "int8", "q8_0", "q4_0")}
    assert error["fp32"] == 0
    assert error["fp16"] == pytest.approx(2**-12, rel=0.5)
    assert error["bf16"] == pytest.approx(2**-9, rel=0.5)
    assert error["fp8"] == pytest.approx(2**-5, rel=0.5)
    assert error["int8"] == pytest.approx(4.5 / 127 / 12**0.5, rel=0.5)
    assert error["q8_0"] == pytest.approx(2.1 / 127 / 12**0.5, rel=0.5)
    assert error["q4_0"] == pytest.approx(2.1 / 8 / 12**0.5, rel=0.5)


def test_every_format_of_a_cache_is_measured_once(kvcalc: Kvcalc) -> None:
    assert list(round_trip(kvcalc, "k=q8_0,v=q4_0")) == ["q8_0", "q4_0"]
    assert list(round_trip(kvcalc, "fp8_ds_mla", "deepseek-v3")) == ["fp8_block128", "bf16"]
    assert list(round_trip(kvcalc, "bf16")) == ["bf16"]


def rungs(printed: dict[str, Any]) -> dict[str, bool]:
    assert all(rung["about"] for rung in printed["rungs"])
    return {rung["name"]: rung["ran"] for rung in printed["rungs"]}


def reason(printed: dict[str, Any], name: str) -> str:
    [why] = [rung["about"] for rung in printed["rungs"] if rung["name"] == name]
    return str(why)


def test_shapes_alone_prove_no_memory(kvcalc: Kvcalc) -> None:
    printed = verified(kvcalc, "llama-3-8b", "-c", "16", "--device", "meta", "--decode")
    assert rungs(printed) == {
        "shapes": True,
        "sufficient": True,
        "allocated": False,
        "allocator": False,
        "sharded": False,
        "decoded": False,
    }
    assert "no memory" in reason(printed, "allocated")
    assert "no memory" in reason(printed, "decoded")
    assert "CUDA" in reason(printed, "allocator")
    assert "--tp" in reason(printed, "sharded")


def test_the_cpu_decodes_where_it_is_asked_to(kvcalc: Kvcalc) -> None:
    printed = verified(kvcalc, "gemma-3-1b", "-c", "16", "--device", "cpu")
    assert rungs(printed)["allocated"]
    assert not rungs(printed)["decoded"]
    assert "--decode" in reason(printed, "decoded")
    assert {check["name"] for check in printed["checks"]} & {"finite", "decoded"} == set()

    printed = verified(kvcalc, "gemma-3-1b", "-c", "16", "--device", "cpu", "--decode")
    assert rungs(printed)["decoded"]
    names = [check["name"] for check in printed["checks"]]
    assert names.count("decoded") == names.count("finite") == 2  # with a window, and without


def test_ranks_are_a_rung(kvcalc: Kvcalc) -> None:
    printed = verified(kvcalc, "llama-3-8b", "-c", "16", "--device", "meta", "--tp", "2")
    assert rungs(printed)["sharded"]
    assert "2 ranks" in reason(printed, "sharded")


def test_what_is_not_proven_is_said(kvcalc: Kvcalc) -> None:
    words = ("verify", "llama-3-8b", "-c", "16", "--device", "meta")
    not_proven = texts(json.loads(kvcalc(*words, "--json").stdout)["not_proven"])
    assert not_proven
    table = kvcalc(*words).stdout
    assert all(claim in table for claim in not_proven)


def test_notes_are_beside_the_answer(kvcalc: Kvcalc) -> None:
    run = kvcalc("verify", "llama-3-8b", "--device", "meta")
    assert run.code == 0
    assert run.stderr == "note: context is not given: 8,192 is used (-c sets it)\n"
    assert "note" not in run.stdout
    printed = verified(kvcalc, "llama-3-8b", "--device", "meta")
    assert texts(printed["notes"]) == ("context is not given: 8,192 is used (-c sets it)",)


def test_what_the_models_file_lacks_is_noted(kvcalc: Kvcalc, tmp_path: Path) -> None:
    file = tmp_path / "terse.yaml"
    file.write_text(
        "name: terse\nmax_context: 8\nlayers:\n  - {count: 1, attention: {kind: mqa, num_heads: 2, head_dim: 8}}\n",
        encoding="utf-8",
    )
    run = kvcalc("verify", str(file), "-c", "9", "--device", "meta")
    assert run.code == 0
    assert "hidden_size" in run.stderr
    assert "context 9 is above the model's max_context of 8" in run.stderr


def test_the_answer_goes_to_a_file(kvcalc: Kvcalc, tmp_path: Path) -> None:
    file = tmp_path / "answer.json"
    run = kvcalc("verify", "llama-3-8b", "-c", "8192", "--device", "meta", "--json", "-o", str(file))
    assert (run.code, run.stdout, run.stderr) == (0, "", "")
    assert cache_bytes(json.loads(file.read_text(encoding="utf-8"))) == 1_073_741_824


def test_python_has_the_same_answer() -> None:
    told: list[tuple[str, int, int]] = []
    result = package.verify("llama-3-8b", batch=2, context="16", device="cpu", progress=lambda *step: told.append(step))
    assert result.verified
    [whole] = [check for check in result.checks if check.name == "cache bytes"]
    assert whole.measured == package.estimate("llama-3-8b", batch=2, context=16).cache.bytes == 4_194_304
    assert [step for step in told if step[0] == "allocating"] == [("allocating", done, 32) for done in range(33)]


def test_the_cpu_is_chosen_where_there_is_no_gpu(kvcalc: Kvcalc, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert verified(kvcalc, "llama-3-8b", "-c", "16")["device"] == "cpu"


def test_a_format_that_does_not_divide_a_row_leads_to_one_that_does(tmp_path: Path) -> None:
    values = {"model_type": "hy_v4", "num_hidden_layers": 2, "num_attention_heads": 4, "kv_lora_rank": 32}
    values |= {"qk_rope_head_dim": 8, "qk_nope_head_dim": 16, "v_head_dim": 16, "q_lora_rank": 16, "hidden_size": 64}
    values |= {"index_head_dim": 16, "index_n_heads": 2, "index_topk": 8}
    path = tmp_path / "config.json"
    path.write_text(json.dumps(values), encoding="utf-8")
    with pytest.raises(
        package.KvcalcError, match="--cache-dtype index_k=bf16 does, or cache_dtype in the model's file"
    ):
        package.verify(str(path), device="meta", context=20)
    assert package.verify(str(path), device="meta", context=20, cache_dtype="index_k=bf16").verified
