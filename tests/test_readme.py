"""What the README shows is what the program prints. UPDATE_GOLDENS=1 writes its outputs anew; read the difference."""

from __future__ import annotations

import os
import re
import shlex
from pathlib import Path

import pytest
from conftest import ROOT

from kvcalc.cli.app import run

PATH = ROOT / "README.md"
README = PATH.read_text(encoding="utf-8")
BLOCKS = re.findall(r"```console\n\$ kvcalc ([^\n]*)\n(.*?)```", README, re.DOTALL)


def block(language: str) -> str:
    found = re.search(rf"```{language}\n(.*?)```", README, re.DOTALL)
    assert found is not None
    return found[1]


@pytest.mark.parametrize(
    ("command", "shown"),
    [
        pytest.param(command, shown, id=command, marks=[pytest.mark.torch] if command.startswith("verify") else [])
        for command, shown in BLOCKS
    ],
)
def test_console_block_is_real(command: str, shown: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(shlex.split(command)) == 0
    printed = capsys.readouterr().out
    if os.environ.get("UPDATE_GOLDENS") and steady(printed) != steady(shown):
        renewed = PATH.read_text(encoding="utf-8").replace(
            f"$ kvcalc {command}\n{shown}", f"$ kvcalc {command}\n{printed}"
        )
        PATH.write_text(renewed, encoding="utf-8")
        shown = printed
    assert steady(printed) == steady(shown)


def steady(text: str) -> str:
    """Without what differs from machine to machine: the release of torch, and how float64 rounds."""
    return re.sub(r"\d\.\de-1[5-7]", "?.?e-1?", re.sub(r"torch \S+", "torch ?", text))


def test_there_are_console_blocks() -> None:
    assert len(BLOCKS) >= 4
    assert BLOCKS[0][0] == "estimate llama-3-70b --batch 32 --context 8192"
    assert "85,899,345,920" in BLOCKS[0][1]


def test_yaml_block_is_a_model(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("my-model.yaml").write_text(block("yaml"), encoding="utf-8")
    assert run(["estimate", "my-model.yaml", "-c", "8192", "--format", "csv"]) == 0
    assert ",1107296256," in capsys.readouterr().out


def test_error_block_is_real(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("my-model.yaml").write_text(block("yaml").replace("head_dim", "head_dm", 1), encoding="utf-8")
    assert run(["estimate", "my-model.yaml"]) == 2
    assert capsys.readouterr().err == block("text")


def test_import_block_is_real(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("falcon").mkdir()
    Path("falcon/config.json").write_text(block("json"), encoding="utf-8")
    found = re.search(r"```yaml\n\$ kvcalc ([^\n]*)\n(.*?)```", README, re.DOTALL)
    assert found is not None
    assert run(found[1].split()) == 0
    assert capsys.readouterr().out == found[2]


def test_python_block_runs() -> None:
    exec(compile(block("python"), "README.md", "exec"), {})  # noqa: S102  # the README's own example


def test_make_targets_exist() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = re.findall(r"^ {4}make (\w+)", README, re.MULTILINE)
    assert targets == ["run", "test"]
    assert all(f"\n{target}:" in makefile for target in targets)
