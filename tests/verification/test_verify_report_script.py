"""benchmarks/verification_report.py: what it verifies, in what order, and that it keeps within its minutes."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from conftest import ROOT

import kvcalc

SCRIPT = ROOT / "benchmarks" / "verification_report.py"
GIB = 2**30


@pytest.fixture(scope="module")
def script() -> Any:
    spec = importlib.util.spec_from_file_location("verification_report", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


Answer = Callable[[list[str]], tuple[int, str, float]]


class Machine:
    """A GPU box whose processes end at once, on a clock of its own."""

    def __init__(self, answer: Answer) -> None:
        self.answer, self.now = answer, 0.0
        self.commands: list[list[str]] = []
        self.settings: list[str | None] = []

    def monotonic(self) -> float:
        return self.now

    def run(self, command: list[str], **how: Any) -> SimpleNamespace:
        if "-c" in command[1:2]:
            return SimpleNamespace(stdout=f"{8 * GIB}\n", returncode=0)
        code, text, seconds = self.answer(command)
        self.commands.append(command[3:])
        self.settings.append(how["env"].get("PYTORCH_CUDA_ALLOC_CONF"))
        self.now += min(seconds, how["timeout"])
        if seconds > how["timeout"]:
            raise subprocess.TimeoutExpired(command, how["timeout"])
        return SimpleNamespace(stdout=text, stderr="", returncode=code)


@pytest.fixture
def machine(script: Any, monkeypatch: pytest.MonkeyPatch) -> Callable[[Answer], Machine]:
    monkeypatch.delenv("PYTORCH_CUDA_ALLOC_CONF", raising=False)

    def build(answer: Answer) -> Machine:
        made = Machine(answer)
        monkeypatch.setattr(script.subprocess, "run", made.run)
        monkeypatch.setattr(script, "time", made)
        return made

    return build


def test_the_four_come_first_then_the_edge(script: Any) -> None:
    runs = script.plan(16 * GIB, edge=True)
    needed = [run for run in runs if run.needed]
    assert needed == runs[: len(needed)]
    kinds = [set(kvcalc.estimate(run.model.name, context=8).model.mechanisms) for run in needed]
    assert kinds == [{"mha"}, {"mqa"}, {"gqa"}, {"mla"}, {"gqa"}]
    assert [run.extent for run in needed][-1] == ("--boundary",)
    assert not any(run.setting for run in needed)
    assert {run.model.name for run in runs if run.setting} == {run.model.name for run in needed}


def test_a_cache_fills_what_it_may(script: Any) -> None:
    for run in script.plan(16 * GIB, edge=False):
        batch = int(run.extent[1])
        one = kvcalc.estimate(run.model.name, context=run.model.context).cache.bytes
        assert batch * one <= 16 * GIB < (batch + 1) * one


def test_everything_verified(script: Any, machine: Any, tmp_path: Path) -> None:
    box = machine(lambda _command: (0, "all is well", 20))
    report = tmp_path / "report.md"
    assert script.main([str(report)]) == 0
    assert len(box.commands) == len(script.plan(7 * GIB, edge=True))
    assert all(command[0] == "verify" and command[-2:] == ["--format", "markdown"] for command in box.commands)
    assert box.settings.count("expandable_segments:True") == 5
    text = report.read_text(encoding="utf-8")
    assert text.count("| verified |") == text.count("all is well") == len(box.commands)
    assert "`kvcalc verify llama-3-8b --boundary -c 8192 --device cuda`" in text


def test_a_check_that_fails(script: Any, machine: Any, tmp_path: Path) -> None:
    machine(lambda command: (1, "DIFFERS", 1) if "falcon-7b" in command else (0, "", 1))
    report = tmp_path / "report.md"
    assert script.main([str(report)]) == 1
    assert report.read_text(encoding="utf-8").count("| FAILED |") == 2


@pytest.mark.parametrize(("seconds", "code", "ran"), [(20, 0, 12), (75, 0, 6), (130, 3, 3), (500, 3, 1)], ids=str)
def test_it_keeps_within_its_minutes(
    script: Any, machine: Any, tmp_path: Path, seconds: float, code: int, ran: int
) -> None:
    box = machine(lambda _command: (0, "", seconds))
    report = tmp_path / "report.md"
    assert script.main([str(report)]) == code
    assert box.now <= 8 * 60
    assert len(box.commands) == ran
    text = report.read_text(encoding="utf-8")
    assert text.count("| left out |") + text.count("| verified |") + text.count("| not finished |") == 12
    assert ("| not finished |" in text) == (seconds == 500)
