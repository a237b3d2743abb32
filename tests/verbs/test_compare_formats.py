"""compare with several formats of the cache: one model, or several, side by side, with the bytes saved."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest
from conftest import Kvcalc, texts
from hypothesis import assume, given
from hypothesis import strategies as st

import kvcalc as library
from kvcalc.formats.element import FORMATS
from kvcalc.scenario.format_list import split_formats

LLAMA = 2 * 80 * 8 * 128  # elements of a token


@pytest.mark.parametrize(
    ("text", "formats"),
    [
        ("bf16", ["bf16"]),
        ("bf16,fp8", ["bf16", "fp8"]),
        (" bf16 , fp8 ", ["bf16", "fp8"]),
        ("k=q8_0,v=q4_0", ["k=q8_0,v=q4_0"]),
        ("bf16,k=q8_0,v=q4_0,fp8", ["bf16", "k=q8_0,v=q4_0", "fp8"]),
        ("k=q8_0,v=q4_0,k=fp8,v=fp8", ["k=q8_0,v=q4_0", "k=fp8,v=fp8"]),
        (
            "c_kv=fp8_block128,k_rope=bf16,index_k=bf16,fp8_ds_mla",
            ["c_kv=fp8_block128,k_rope=bf16,index_k=bf16", "fp8_ds_mla"],
        ),
        ("k=q8_0,q4_0", ["k=q8_0", "q4_0"]),
        ("k=fp8,bf16,k=q8_0", ["k=fp8", "bf16", "k=q8_0"]),
        ("k=fp8,v=fp8,v=bf16,k=bf16", ["k=fp8,v=fp8", "v=bf16,k=bf16"]),
        ("bf16,", ["bf16", ""]),
        ("", [""]),
    ],
)
def test_formats_are_split_and_pairs_stay_together(text: str, formats: list[str]) -> None:
    assert split_formats(text) == formats


@given(st.lists(st.sampled_from([*FORMATS, "k=q8_0,v=q4_0", "v=fp8"]), min_size=1, max_size=6))
def test_what_is_joined_is_split_again(formats: list[str]) -> None:
    pairs = [sorted(part.split("=")[0] for part in each.split(",")) if "=" in each else [] for each in formats]
    assume(all(not (one and two) or one == two == ["k", "v"] for one, two in pairwise(pairs)))
    split = split_formats(",".join(formats))
    assert ",".join(split) == ",".join(formats)
    assert all(("=" in each) == all("=" in part for part in each.split(",")) for each in split)


@pytest.mark.parametrize(
    ("formats", "message"),
    [
        (
            "k=fp8,k=bf16",
            "--cache-dtype: tensor 'k' is given twice; to compare formats of single tensors, name the same",
        ),
        ("k=q8_0,v=q4_0,k=fp8", "--cache-dtype: tensor 'k' is given twice"),
        ("k=fp8,v=fp8,v=bf16", "--cache-dtype: tensor 'v' is given twice"),
        (
            "bf16,bf16",
            "in bf16 is given twice; give each MODEL, each format of --cache-dtype and each --engine once",
        ),
        ("fp8,bf16,fp8", "with its cache in fp8 is given twice"),
        ("bf16,bfloat16", "--cache-dtype: bf16 and bfloat16 are one format; give one of them"),
        ("fp8,bf16,fp8_e4m3", "--cache-dtype: fp8 and fp8_e4m3 are one format"),
        ("k=fp8,v=q8_0,v=q8_0,k=fp8", "are one format"),
    ],
)
def test_a_format_that_is_given_twice_is_refused(formats: str, message: str, kvcalc: Kvcalc) -> None:
    run = kvcalc("compare", "llama-3-8b", "--cache-dtype", formats)
    assert (run.code, run.stdout) == (2, "")
    assert message in run.stderr


def test_what_the_refusal_shows_works(kvcalc: Kvcalc) -> None:
    run = kvcalc("compare", "llama-3-8b", "--cache-dtype", "k=fp8,v=fp8,k=bf16,v=bf16", "--json")
    assert [row["name"] for row in json.loads(run.stdout)["rows"]] == ["k=fp8,v=fp8", "k=bf16,v=bf16"]


def test_a_model_that_is_given_twice_is_refused() -> None:
    for twice in (["llama-3-8b", "llama-3-8b"], ["falcon-7b", "llama-3-8b", "falcon-7b"]):
        with pytest.raises(library.KvcalcError, match="is given twice; give each MODEL"):
            library.compare(twice, context=100)
    alike = library.load_model("llama-3-8b")
    again = replace(alike, name="again")
    assert len(library.compare([alike, again], context=100).rows) == 2


def rows(*args: Any, **options: Any) -> dict[str, Any]:
    return {row.name: row for row in library.compare(*args, **options).rows}


def test_bytes_saved_are_against_the_models_own_dtype() -> None:
    found = rows("llama-3-70b", cache_dtype="fp8,bf16,q8_0,fp32,k=q8_0,v=q4_0", context=1000, batch=3)
    tokens = 3000 * LLAMA
    expected = {
        "fp8": tokens,
        "bf16": 2 * tokens,
        "q8_0": tokens // 32 * 34,
        "fp32": 4 * tokens,
        "k=q8_0,v=q4_0": tokens // 2 // 32 * 34 + tokens // 2 // 32 * 18,
    }
    assert {name: row.cache_bytes for name, row in found.items()} == expected
    assert {name: row.saved_bytes for name, row in found.items()} == {
        name: 2 * tokens - size for name, size in expected.items()
    }
    assert [row.cache_dtype for row in found.values()] == list(found)


def test_every_format_has_the_gpus_of_the_first() -> None:
    """So many sequences fit on them; how few GPUs each needs stands beside."""
    found = rows("llama-3-70b", cache_dtype="bf16,fp8,fp32", context=32_768, batch=8)
    assert {row.given.gpus for row in found.values()} == {4}
    assert [row.count for row in found.values()] == [4, 4, 8]
    assert found["fp8"].given.most_sequences > 2 * found["bf16"].given.most_sequences
    assert found["fp32"].given.fits is False
    other = rows("llama-3-70b", cache_dtype="bf16,fp8", context=32_768, batch=8, tp=8)
    assert {row.given.deployment for row in other.values()} == {library.Deployment(tp=8)}


def test_quality_is_not_modelled_and_that_is_said_of_each_format() -> None:
    result = library.compare("llama-3-70b", cache_dtype=["bf16", "fp8"])
    assert "fp8: quality loss of a cache kept in fp8" in texts(result.not_modelled)
    assert not any(line.startswith("bf16:") for line in texts(result.not_modelled))
    assert (result.varies, result.sayings) == (("format",), ())
    assert result.model is not None
    assert result.model.name == "llama-3-70b"


def test_states_are_not_touched_by_the_caches_format() -> None:
    found = rows("qwen3-next-80b-a3b", cache_dtype="bf16,fp8", context=8192)
    assert {row.state_bytes_per_sequence for row in found.values()} == {77_266_944}
    assert found["fp8"].saved_bytes == 8192 * 12 * 1024
    halved = rows("qwen3-next-80b-a3b", cache_dtype="bf16,fp8", context=8192, state_dtype="bf16")
    assert halved["bf16"].state_bytes_per_sequence == 39_518_208
    assert halved["bf16"].saved_bytes == 0


def test_models_and_formats_together() -> None:
    result = library.compare(["deepseek-v3", "llama-3-8b"], cache_dtype="bf16,fp8", context=4096)
    assert [row.name for row in result.rows] == [
        "deepseek-v3, bf16",
        "deepseek-v3, fp8",
        "llama-3-8b, bf16",
        "llama-3-8b, fp8",
    ]
    assert result.varies == ("model", "format")
    assert [row.own for row in result.rows] == [True] * 4


def test_a_format_that_cannot_hold_the_cache_is_left_out_with_the_reason() -> None:
    result = library.compare("gpt-oss-120b", cache_dtype="bf16,fp8_block128,k=fp8")
    assert [row.name for row in result.rows] == ["bf16", "fp8_block128", "k=fp8"]
    odd = library.compare("phi-2", cache_dtype="bf16,q8_0,fp8_block128")
    assert [row.name for row in odd.rows] == ["bf16", "q8_0", "fp8_block128"]
    narrow = library.Model(
        name="narrow",
        layers=(library.load_model("llama-3-8b").layers[0],),
        dtype="bf16",
    )
    assert len(library.compare(narrow, cache_dtype="bf16,fp8").rows) == 2


def test_a_row_that_blocks_do_not_fill_is_left_out(kvcalc: Kvcalc, tmp_path: Any) -> None:
    file = tmp_path / "m.yaml"
    file.write_text(
        "name: m\ndtype: bf16\nlayers:\n  - {count: 2, attention: {kind: mqa, num_heads: 2, head_dim: 40}}\n",
        encoding="utf-8",
    )
    run = kvcalc("compare", str(file), "--cache-dtype", "bf16,q8_0,fp8", "--json", "-c", "100")
    result = json.loads(run.stdout)
    assert [row["name"] for row in result["rows"]] == ["bf16", "fp8"]
    assert any(note.startswith("q8_0: left out: format q8_0 stores blocks of 32") for note in texts(result["notes"]))
    refused = kvcalc("compare", str(file), "--cache-dtype", "q8_0,q4_0", "-c", "100")
    assert (refused.code, refused.stdout) == (2, "")
    assert "q8_0: left out: format q8_0 stores blocks of 32" in refused.stderr


@pytest.mark.parametrize(
    ("formats", "message"),
    [
        ("bf16,fp9", "--cache-dtype: unknown format 'fp9'"),
        ("bf16,", "--cache-dtype: unknown format ''"),
        ("bf16,c_kv=fp8", "--cache-dtype: 'c_kv=fp8' is for tensor 'c_kv', which this model does not keep"),
    ],
)
def test_a_mistaken_format_among_several_is_refused(kvcalc: Kvcalc, formats: str, message: str) -> None:
    run = kvcalc("compare", "llama-3-8b", "--cache-dtype", formats)
    assert (run.code, run.stdout) == (2, "")
    assert message in run.stderr


def test_one_format_is_still_a_comparison_of_mechanisms(kvcalc: Kvcalc) -> None:
    result = json.loads(kvcalc("compare", "llama-3-8b", "--cache-dtype", "fp8", "--json").stdout)
    assert result["varies"] == ["mechanism"]
    assert {row["cache_dtype"] for row in result["rows"]} == {"fp8"}


def test_the_table_and_the_csv(kvcalc: Kvcalc) -> None:
    words = ("compare", "llama-3-8b", "--cache-dtype", "bf16,fp8", "-c", "8192")
    table = kvcalc(*words).stdout
    assert "saved: against a cache in the model's dtype; what a format loses in quality is not modelled" in table
    assert "0.50 (50 %)" in table
    lines = list(csv.DictReader(io.StringIO(kvcalc(*words, "--format", "csv").stdout)))
    assert [(line["name"], line["saved_bytes"]) for line in lines] == [("bf16", "0"), ("fp8", "536870912")]
    explained = kvcalc(*words, "--explain").stdout
    assert "fp8: cache" in explained
