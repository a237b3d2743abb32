"""A comparison as people and scripts read it, and what is refused."""

from __future__ import annotations

import csv
import io
import json
import math
import re
from pathlib import Path
from typing import Any

import pytest
from conftest import Kvcalc

import kvcalc
from kvcalc.render.screens.compare import compare_report
from kvcalc.render.screens.decode import shown as rate_shown
from kvcalc.render.terminal.table import draw


def parsed(kvcalc: Kvcalc, *words: str) -> dict[str, Any]:
    run = kvcalc("compare", *words, "--json")
    assert (run.code, run.stderr) == (0, "")
    body: dict[str, Any] = json.loads(run.stdout)
    return body


def test_json_is_the_contract(kvcalc: Kvcalc) -> None:
    body = parsed(kvcalc, "llama-3-70b", "-c", "8192")

    assert (body["schema_version"], body["command"]) == (2, "compare")
    assert {
        "name",
        "mechanism",
        "elements_per_token_per_layer",
        "bytes_per_token",
        "cache_bytes",
        "ratio_to_mha",
    } < set(body["rows"][0])
    assert {"by_memory", "count"} < set(body["rows"][0])
    assert [row["cache_bytes"] for row in body["rows"] if row["own"]] == [2_684_354_560]
    for row in body["rows"]:
        for term in row["terms"]:
            assert math.prod(factor["value"] for factor in term["factors"]) == term["bytes"]


def test_csv_has_a_line_for_each_row(kvcalc: Kvcalc) -> None:
    body = parsed(kvcalc, "llama-3-70b", "-c", "8192")
    lines = list(csv.DictReader(io.StringIO(kvcalc("compare", "llama-3-70b", "-c", "8192", "--format", "csv").stdout)))

    assert [line["name"] for line in lines] == [row["name"] for row in body["rows"]]
    assert [int(line["cache_bytes"]) for line in lines] == [row["cache_bytes"] for row in body["rows"]]
    assert [line["own"] for line in lines].count("true") == 1
    assert lines[0]["given_tokens_per_second"] == ""
    assert float(lines[3]["given_tokens_per_second"]) == body["rows"][3]["given"]["tokens_per_second"]


def test_csv_of_an_explanation_has_the_leaves(kvcalc: Kvcalc) -> None:
    run = kvcalc("compare", "deepseek-v3", "-c", "8192", "--explain", "--format", "csv")
    lines = list(csv.DictReader(io.StringIO(run.stdout)))

    assert sum(int(line["term_bytes"]) for line in lines if line["row"] == "mla") == 575_668_224


def test_csv_has_the_same_columns_whatever_the_answer(kvcalc: Kvcalc) -> None:
    headers = {
        kvcalc("compare", *words, "--format", "csv").stdout.splitlines()[0]
        for words in (("llama-3-70b",), ("palm-540b",), ("llama-3-8b", "falcon-7b"), ("llama-3-70b", "-b", "1000000"))
    }
    assert len(headers) == 1


def test_the_table(kvcalc: Kvcalc) -> None:
    run = kvcalc("compare", "llama-3-70b", "-c", "8192")
    lines = run.stdout.splitlines()

    assert run.code == 0
    assert re.search(r"^gqa-8 \(own\) +64/8 x 128 +2,048 +327,680 +2\.50 +12\.5 %$", run.stdout, re.MULTILINE)
    assert re.search(r"^mla +64 heads, 512\+64 +576 +92,160 +0\.70 +3\.52 %$", run.stdout, re.MULTILINE)
    assert re.search(r"^mha +4 \(tp 4\) +2 \(tp 2\) +0 +- +-$", run.stdout, re.MULTILINE)
    figures = lines[: next(index for index, line in enumerate(lines) if line.startswith("elements:"))]
    assert max(map(len, figures)) <= 100
    assert "(1) Comparing Attention Mechanisms" not in run.stdout
    assert "no bound of decoding" in run.stderr


@pytest.mark.parametrize("columns", [40, 66, 75, 78, 80, 100])
def test_a_narrow_terminal_cuts_no_number(columns: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    monkeypatch.setenv("TERM", "xterm")
    for name in ("mimo-v2-flash", "deepseek-v3"):
        report = compare_report(kvcalc.compare(name), "B", explain=False, command="")
        shown = re.sub(r"\x1b\[[\d;]*m", "", draw(report.view(), terminal=True))
        for row in kvcalc.compare(name).rows:
            assert f"{row.cache_bytes:,}" in shown.split()
            most = row.given.most_when_tight if row.given.tight else row.given.most_sequences
            assert f"{most:,}" in shown.split()
            rate = row.given.tokens_per_second
            assert rate is not None
            assert columns < 100 or re.search(rf"^{row.name}\b.* {rate_shown(rate)}$", shown, re.MULTILINE)


def test_articles_are_shown_where_they_are_asked_for(kvcalc: Kvcalc) -> None:
    shown = kvcalc("compare", "llama-3-70b", "-c", "8192", "--articles").stdout
    assert "(1) Comparing Attention Mechanisms: MHA, MQA, GQA, and MLA (Shaoyuan Chen, 2024-10-10)" in shown
    assert "By the formula it is 576 / 32,768 elements = 1.76 % for DeepSeek-V2 and V3" in " ".join(shown.split())


def test_side_by_side_says_nothing_of_quality(kvcalc: Kvcalc) -> None:
    run = kvcalc("compare", "llama-3-8b", "falcon-7b", "-c", "100")

    assert "2 models" in run.stdout
    assert "articles" not in run.stdout


def test_markdown_tables_are_well_formed(kvcalc: Kvcalc) -> None:
    run = kvcalc("compare", "deepseek-v3", "--explain", "--articles", "--format", "markdown")
    tables = re.findall(r"(?:^\|.*\n)+", run.stdout, re.MULTILINE)

    assert len(tables) == 5
    for table in tables:
        lines = table.splitlines()
        assert len({len(re.findall(r"(?<!\\)\|", line)) for line in lines}) == 1
        assert re.fullmatch(r"\|( (---|--:) \|)+", lines[1])
    assert "| **mla (own)** | **128 heads, 512+64** | **576** |" in run.stdout


def test_explanations_have_every_formula(kvcalc: Kvcalc) -> None:
    text = kvcalc("compare", "deepseek-v3", "-c", "8192", "--explain").stdout

    for words in (
        r"mla_expanded: elements of .* 40,960 +num_heads x \(qk_nope_head_dim .* 128 x \(128 \+ 64 \+ 128\)",
        r"mla: elements of .* 576 +kv_lora_rank \+ qk_rope_head_dim +512 \+ 64",
        r"mha: elements of .* 32,768 +2 x num_heads x head_dim +2 x 128 x 128",
        r"61 layers x 1 sequence x 8,192 tokens x 512 x 2 bytes",
        r"mla: of mha's +0\.0175781 +cache / cache of mha +575,668,224 / 32,749,125,632",
        r"source of mla: DeepSeek-V2, https://arxiv.org/abs/2405.04434",
    ):
        assert re.search(words, text), words


def test_a_model_without_a_file(kvcalc: Kvcalc) -> None:
    body = parsed(kvcalc, *["--layers", "32", "--heads", "32", "--head-dim", "64", "-c", "80000"])

    assert body["rows"][0]["cache_bytes"] == 20_971_520_000
    assert body["model"]["name"] == "ad-hoc"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ((), "MODEL: missing"),
        (("llama-3-80b",), "did you mean 'llama-3-70b'"),
        (("llama-3-8b", "llama-3-80b"), "did you mean 'llama-3-70b'"),
        (
            ("llama-3-8b,Falcon-7B",),
            "are several models; compare them, or sweep, which takes commas\nnext: kvcalc compare",
        ),
        (("llama-3-8b", "--layers", "3"), "--layers: describes a model without a file"),
        (("falcon-7b", "--tp", "2"), "legal are 1, 71"),
        (("llama-3-70b", "--gpus", "8", "--tp", "2"), "--gpus: chooses the deployment; give --gpus, or --tp, not both"),
        (("llama-3-8b", "-c", "128k"), "could mean two numbers"),
        (("llama-3-8b", "falcon-7b", "--parameters", "7e9"), "--parameters: is of one model"),
        (("llama-3-8b", "gpt2-xl", "-c", "max"), "compared at one workload"),
        (("llama-3-8b", "--cache-dtype", "c_kv=fp8"), "which this model does not keep"),
        (("llama-3-8b", "--format", "yaml"), "no format 'yaml'"),
    ],
)
def test_bad_input(kvcalc: Kvcalc, words: tuple[str, ...], message: str) -> None:
    run = kvcalc("compare", *words)

    assert (run.code, run.stdout) == (2, "")
    assert message in run.stderr


def test_a_result_goes_to_a_file(kvcalc: Kvcalc, tmp_path: Path) -> None:
    target = tmp_path / "rows.csv"
    run = kvcalc("compare", "llama-3-8b", "--format", "csv", "-o", str(target))

    assert (run.code, run.stdout) == (0, "")
    assert target.read_text(encoding="utf-8").startswith("name,mechanism,own,")
