"""What the README and the documents show is what the program prints.

UPDATE_GOLDENS=1 writes their outputs anew; read the difference.
"""

from __future__ import annotations

import os
import re
import shlex
from pathlib import Path

import pytest
from conftest import ROOT, Kvcalc

from kvcalc.cli.app import run

README = (ROOT / "README.md").read_text(encoding="utf-8")
MODELS = (ROOT / "docs" / "models.md").read_text(encoding="utf-8")
RECIPES = (ROOT / "docs" / "recipes.md").read_text(encoding="utf-8")

_BLOCK = re.compile(r"```console\n\$ kvcalc ([^\n]*)\n(.*?)```", re.DOTALL)
_RECIPE = re.compile(
    r"^### (.*?)\n\n {4}kvcalc (.*?)(?: +# exit status (\d))?\n\n(.*?)(?=^##|\Z)", re.DOTALL | re.MULTILINE
)

DOCUMENTS = (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")), *sorted((ROOT / "docs").glob("engines/*.md")))
BLOCKS = [(path, *found) for path in DOCUMENTS for found in _BLOCK.findall(path.read_text(encoding="utf-8"))]
QUESTIONS = re.findall(r"^\| .* \| `kvcalc ([^`]*)` \|$", README, re.MULTILINE)
NEEDS_TORCH, NEEDS_A_FILE = "verify", "server.log"
SERVES = ("mcp", "web")
"""Servers, which wait for requests: tests/mcp and tests/web ask them."""


def block(language: str, text: str) -> str:
    found = re.search(rf"```{language}\n(.*?)```", text, re.DOTALL)
    assert found is not None
    return found[1]


def marked(command: str) -> list[pytest.MarkDecorator]:
    return [pytest.mark.torch] if command.startswith(NEEDS_TORCH) else []


@pytest.mark.parametrize(
    ("path", "command", "shown"),
    [pytest.param(*each, id=f"{each[0].stem}: {each[1]}", marks=marked(each[1])) for each in BLOCKS],
)
def test_console_block_is_real(path: Path, command: str, shown: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(shlex.split(command)) == 0
    printed = capsys.readouterr().out
    if os.environ.get("UPDATE_GOLDENS") and steady(printed) != steady(shown):
        before = f"$ kvcalc {command}\n{shown}"
        renewed = path.read_text(encoding="utf-8").replace(before, f"$ kvcalc {command}\n{printed}")
        path.write_text(renewed, encoding="utf-8")
        shown = printed
    assert steady(printed) == steady(shown)


def steady(text: str) -> str:
    """Without what differs from machine to machine: the release of torch, and how float64 rounds."""
    return re.sub(r"\d\.\de-1[5-7]", "?.?e-1?", re.sub(r"torch \S+", "torch ?", text))


def test_there_are_console_blocks() -> None:
    assert len(BLOCKS) >= 4
    assert BLOCKS[0][1] == "estimate llama-3-70b --batch 32 --context 8192"
    assert "80.00 GiB" in BLOCKS[0][2]


def test_the_readme_is_short() -> None:
    lines = README.splitlines()
    assert len(lines) < 120
    assert max(map(len, lines)) <= 120


@pytest.mark.parametrize(
    "command",
    [pytest.param(each, marks=marked(each)) for each in QUESTIONS if NEEDS_A_FILE not in each and each not in SERVES],
)
def test_a_command_of_the_readme_answers(command: str, kvcalc: Kvcalc) -> None:
    assert kvcalc(*shlex.split(command)).code == (1 if "--check" in command else 0)


@pytest.mark.parametrize(
    ("command", "status", "answer"),
    [pytest.param(*each[1:], id=each[0], marks=marked(each[1])) for each in _RECIPE.findall(RECIPES)],
)
def test_a_recipe_is_real(command: str, status: str, answer: str, kvcalc: Kvcalc) -> None:
    run = kvcalc(*shlex.split(command))
    printed = re.sub(r"\s+", " ", run.stdout + run.stderr)
    assert run.code == int(status or 0)
    figures = re.findall(r"\*\*(.*?)\*\*", answer)
    assert figures
    for figure in figures:
        assert re.search(rf"(?<![\d.,]){re.escape(figure)}(?!\d|[.,]\d)", printed), figure


def test_every_recipe_is_found() -> None:
    asked = re.findall(r"^ {4}kvcalc ", RECIPES, re.MULTILINE)
    assert len(_RECIPE.findall(RECIPES)) == len(asked) > 20


def test_figures_of_accuracy_are_those_of_the_page() -> None:
    page = (ROOT / "docs" / "accuracy.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| .*", page.partition("### At first sight")[2].partition("###")[0], re.MULTILINE)
    shown = [line for line in README.splitlines() if re.match(r"\| (weights|cache memory|tokens)", line)]
    assert len(shown) == 4
    if os.environ.get("UPDATE_GOLDENS"):
        text = (ROOT / "README.md").read_text(encoding="utf-8")
        renewed = [next(row for row in rows if row.split("|")[:3] == line.split("|")[:3]) for line in shown]
        for before, after in zip(shown, renewed, strict=True):
            text = text.replace(before + "\n", after + "\n")
        (ROOT / "README.md").write_text(text, encoding="utf-8")
        shown = renewed
    assert set(shown) <= set(rows)


def test_yaml_block_is_a_model(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("my-model.yaml").write_text(block("yaml", MODELS), encoding="utf-8")
    assert run(["estimate", "my-model.yaml", "-c", "8192", "--format", "csv"]) == 0
    assert ",1107296256," in capsys.readouterr().out


def test_error_block_is_real(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("my-model.yaml").write_text(block("yaml", MODELS).replace("head_dim", "head_dm", 1), encoding="utf-8")
    assert run(["estimate", "my-model.yaml"]) == 2
    assert capsys.readouterr().err == block("text", MODELS)


def test_import_block_is_real(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("falcon").mkdir()
    Path("falcon/config.json").write_text(block("json", MODELS), encoding="utf-8")
    found = re.search(r"```yaml\n\$ kvcalc ([^\n]*)\n(.*?)```", MODELS, re.DOTALL)
    assert found is not None
    assert run(found[1].split()) == 0
    assert capsys.readouterr().out == found[2]


def test_python_block_runs() -> None:
    text = (ROOT / "docs" / "scripts.md").read_text(encoding="utf-8")
    exec(compile(block("python", text), "scripts.md", "exec"), {})  # noqa: S102  # the page's own example


def test_make_targets_exist() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = re.findall(r"^ {4}make (\w+)", README, re.MULTILINE)
    assert targets == ["run", "test"]
    assert all(f"\n{target}:" in makefile for target in targets)
