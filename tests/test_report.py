"""A report is what the verbs answer, put together: their figures, their refusals, and no markup of strangers."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest
from conftest import Kvcalc

import kvcalc as kv
from kvcalc.review.asking import CAPACITY, COMPARE, ESTIMATE, PLAN
from kvcalc.scenario.option import options_of
from kvcalc.scenario.options import ReportOptions, Tiers
from kvcalc.scenario.options.deployment import Spill
from kvcalc.scenario.options.plan import PlannedSpare, Sizing

LLAMA = ("llama-3-70b", "--batch", "32", "--context", "8192")


class Page(HTMLParser):
    """What a page is made of.

    Attributes:
        open: elements that are not closed.
        links: where they lead.
        rows: cells of each row of tables.
        heard: headings by their level.
    """

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.links: list[str] = []
        self.rows: list[list[str]] = []
        self.heard: list[int] = []
        self.tags: set[str] = set()
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        if tag not in {"br", "meta"}:
            self.open.append(tag)
        if tag == "tr":
            self.rows.append([])
        if tag in {"td", "th"}:
            self.rows[-1].append("")
        if re.fullmatch(r"h\d", tag):
            self.heard.append(int(tag[1]))
        self.links += [value or "" for name, value in attrs if name in {"href", "src"}]
        assert all(not name.startswith("on") for name, _ in attrs)
        assert tag != "th" or dict(attrs).get("scope") in {"row", "col"}

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if {"td", "th"} & {*self.open}:
            self.rows[-1][-1] += data


def test_a_page_is_whole_and_needs_nothing(kvcalc: Kvcalc) -> None:
    run = kvcalc("report", *LLAMA)
    page = Page(run.stdout)
    assert (run.code, run.stderr, page.open) == (0, "", [])
    assert not page.tags & {"script", "img", "link", "iframe", "object"}
    assert all(link.startswith(("#s", "https://")) for link in page.links)
    assert page.heard[0] == 1
    assert all(after <= before + 1 for before, after in zip(page.heard, page.heard[1:], strict=False))
    assert "url(" not in run.stdout
    assert "@import" not in run.stdout


def test_figures_are_the_verbs_own(kvcalc: Kvcalc) -> None:
    """As the commands at the end of the page print them."""
    text = kvcalc("report", *LLAMA, "--tp", "4", "--format", "markdown").stdout.replace("\\", "")
    commands = {line.split()[1]: line.split()[1:] for line in text.splitlines() if line.startswith("kvcalc ")}
    answers = {
        verb: json.loads(kvcalc(*words, "--json").stdout)
        for verb, words in commands.items()
        if verb not in {"report", "plot"}
    }
    assert {*answers} == {"estimate", "capacity", "plan", "compare"}
    rank, capacity = answers["estimate"]["memory"]["per_rank"], answers["capacity"]
    for part in ("weights", "cache", "temporary", "overhead", "total"):
        assert f"{rank[f'{part}_bytes'] / 2**30:.2f}" in re.search(rf"\n\| \**{part}\** \|.*", text)[0]  # type: ignore[index]  # it is there
        assert f"{rank[f'{part}_bytes']:,}" in text
    for name, figure in (("sequences", "sequences"), ("tokens", "tokens"), ("longest context", "max_context")):
        assert f"\n| {name} | {capacity[figure]:,} |" in text
    for row in answers["plan"]["deployments"]:
        assert f"\n| {row['count']} | tp {row['tp']} | fits | {row['bytes_per_rank'] / 2**30:.2f} |" in text
    for row in answers["compare"]["rows"]:
        cells = next(line for line in text.splitlines() if re.match(rf"\| \**{row['name']}(?: \(own\))?\** \|", line))
        assert f" {row['bytes_per_token']:,}" in cells.replace("*", "")
    for each in answers.values():
        for note in (*each["not_modelled"], *each["notes"]):
            assert note["text"][:30] in text


def test_pictures_are_those_of_plot(kvcalc: Kvcalc) -> None:
    """As the commands at the end of the page draw them; all are in one element each, and share the page's style."""
    text = kvcalc("report", *LLAMA, "--format", "markdown", "--unit", "GB").stdout
    commands = [line.split()[1:] for line in text.splitlines() if line.startswith("kvcalc plot ")]
    assert [words[1] for words in commands] == ["cache", "sequences", "memory", "gpus"]
    for words in commands:
        assert kvcalc(*words, "--format", "text", "--width", "80").stdout in text
    page = kvcalc("report", *LLAMA).stdout
    assert page.count("<svg ") == len(commands)
    assert page.count("<style>") == 1
    assert not re.findall(r"<svg[^>]* id=|url\(#", page)
    assert "left on h100-sxm" in page  # on the GPUs of the answer, where the cache has a place


def test_a_picture_that_cannot_be_stands_as_its_refusal(kvcalc: Kvcalc) -> None:
    run = kvcalc("report", "llama-3-8b", "--tp", "3", "--format", "markdown")
    assert run.code == 0
    assert "kvcalc plot memory refuses: tp: 3 is illegal" in run.stdout
    assert "GPUs against sequences: llama-3-8b\n" in run.stdout  # which looks for deployments


def test_what_is_taken_is_said_once(kvcalc: Kvcalc) -> None:
    """What is of the comparison alone stands there."""
    words = ("report", "deepseek-v3", "--engine", "vllm", "--gpu", "h200", "--format", "markdown")
    for models in ((), ("llama-3-8b",)):
        text = kvcalc(*words[:2], *models, *words[2:]).stdout
        taken = text.partition("Taken and assumed\n")[2].partition("\n## ")[0]
        of_first = taken.partition("llama-3-8b\n")[0]
        assert of_first.count("vLLM 0.33.0's defaults") == 1
        assert "mha, gqa" not in taken
        assert text.count("deepseek-v3: vLLM 0.33.0's defaults") == 0
        compared = re.search(r"\n## \d+ Comparison\n(.*?)\n## ", text, re.DOTALL)
        assert compared
        assert ("every row has the model's own weights" in compared[1]) == (not models)


def test_python_gives_the_same_bytes_and_so_does_another_process(kvcalc: Kvcalc) -> None:
    words = ["report", "qwen3-8b", "gemma-3-27b", "--gpu", "l40s,h100", "--context", "32Ki"]
    page = kvcalc(*words).stdout
    assert kv.report(["qwen3-8b", "gemma-3-27b"], gpu="l40s,h100", context="32Ki").html() == page
    elsewhere = {**os.environ, "TZ": "Asia/Tokyo", "LC_ALL": "C", "PYTHONHASHSEED": "7", "PYTHONUTF8": "1"}
    again = subprocess.run([sys.executable, "-m", "kvcalc", *words], capture_output=True, env=elsewhere, check=True)
    assert again.stdout.decode() == page


def test_what_is_refused_stands_there_with_the_next_step(kvcalc: Kvcalc) -> None:
    run = kvcalc("report", "llama-3-8b", "--tp", "3", "--format", "markdown")
    assert run.code == 0
    assert "kvcalc estimate refuses: tp: 3 is illegal" in run.stdout
    assert "1 x h100-sxm: fits" in run.stdout  # the plan's
    assert "refused, as the answer says | --tp 3" in run.stdout


def test_every_verb_of_a_report_takes_its_options() -> None:
    """But for what sizes the batch, which the others are given, and for deployments, which a plan looks for."""
    for verb in (ESTIMATE, CAPACITY, PLAN, COMPARE):
        beside = (options_of(each) for each in (Tiers, Spill, PlannedSpare, Sizing))
        known = {*options_of(verb.takes), *verb.without, "max_gpus"}.union(*beside)
        assert set(options_of(ReportOptions)) <= known, verb.name


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["no-such-model"], "no-such-model"),
        (["llama-3-8b", "--utilization", "5"], "--utilization"),
        (["llama-3-8b", "--context", "128k"], "128Ki"),
        (["llama-3-8b", "--gpu", "all"], "--gpu"),
        (["llama-3-8b", "qwen3-8b", "--weights", "16GB"], "--weights: is of one model, and 2 are given"),
        (["llama-3-8b", "--format", "json"], "--format: no format 'json'; there are html, markdown"),
        (["llama-3-8b", "--engine", "nosuch"], "nosuch"),
    ],
    ids=lambda each: " ".join(each) if isinstance(each, list) else "",
)
def test_where_nothing_can_be_answered_there_is_no_report(kvcalc: Kvcalc, words: list[str], told: str) -> None:
    run = kvcalc("report", *words)
    assert (run.code, run.stdout) == (2, "")
    assert told in run.stderr


def test_names_of_strangers_are_no_markup(kvcalc: Kvcalc, tmp_path: Path) -> None:
    file = tmp_path / "m.yaml"
    file.write_text(
        "name: '<script>alert(1)</script>\\[x](javascript:alert(2))'\n"
        "source: 'javascript:alert(3) https://user:pw@evil.example/ https://127.0.0.1/x https://example.org/a\"onclick=x'\n"
        "layers:\n  - {count: 2, attention: {kind: mha, num_heads: 4, head_dim: 64}}\nparameters: 1000000\n",
        encoding="utf-8",
    )
    page = Page(kvcalc("report", str(file)).stdout)
    assert "script" not in page.tags
    outside = {link for link in page.links if not link.startswith("#")}
    assert "https://example.org/a" in outside
    assert not [link for link in outside if re.search(r"javascript|evil|127|onclick|pw", link)]
    text = kvcalc("report", str(file), "--format", "markdown").stdout
    prose = re.sub(r"^(`{3,}).*?^\1$", "", text, flags=re.DOTALL | re.MULTILINE)
    assert "\\<script\\>" in prose
    assert not re.search(r"(?<!\\)<script|(?<!\\)\]\(", prose)


def test_a_batch_that_follows_from_requests_a_second_is_that_of_all(kvcalc: Kvcalc) -> None:
    text = kvcalc("report", "llama-3-8b", "--rps", "9", "--latency", "20", "--format", "markdown").stdout
    assert "| 180 held at the same time | --rps 9 --latency 20 |" in text
    assert "\nkvcalc estimate llama-3-8b --batch 180\n" in text
    assert "\nkvcalc plan llama-3-8b --rps 9 --latency 20\n" in text


def test_a_file_is_written_as_it_ends(kvcalc: Kvcalc, tmp_path: Path) -> None:
    for name, start in (("r.html", "<!DOCTYPE html>"), ("r.md", "# KV cache review"), ("r", "<!DOCTYPE html>")):
        run = kvcalc("report", "llama-3-8b", "-o", str(tmp_path / name))
        assert (run.code, run.stdout) == (0, "")
        assert (tmp_path / name).read_text(encoding="utf-8").startswith(start)


def test_a_report_takes_what_can_be_typed() -> None:
    with pytest.raises(kv.KvcalcError, match="takes a name or a path"):
        kv.report([kv.load_model("llama-3-8b")])  # type: ignore[list-item]  # the mistake
    with pytest.raises(kv.KvcalcError, match="what can be typed"):
        kv.report("llama-3-8b", gpu=kv.load_gpu("h100"))  # type: ignore[arg-type]  # the mistake
