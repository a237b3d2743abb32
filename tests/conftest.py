"""What tests share: one thread a process, a settled heap, and the command line in this process."""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

# Before torch is imported: threads that share small matrices wait for each other, and for the other worker's.
os.environ["OMP_NUM_THREADS"] = os.environ["MKL_NUM_THREADS"] = "1"

with suppress(ModuleNotFoundError):  # hypothesis is not where browsers or engines are tested, and no test there draws
    import fuzzing  # noqa: F401  # before the tests, which draw as many examples as it says
import pytest
from _pytest.runner import runtestprotocol

import kvcalc as kvcalc_package
from kvcalc.cli.app import run
from kvcalc.memory import known_ranks
from kvcalc.note import Note

ROOT = Path(__file__).parents[1]
DATA = ROOT / "tests" / "data"


class Run(NamedTuple):
    """One command line's exit code and what it printed."""

    code: int
    stdout: str
    stderr: str


Kvcalc = Callable[..., Run]


def texts(notes: Iterable[Note | dict[str, Any]]) -> tuple[str, ...]:
    """The sentences of a result's notes, or of its JSON's."""
    return tuple(each.text if isinstance(each, Note) else each["text"] for each in notes)


def codes(notes: Iterable[Note]) -> set[str]:
    return {each.code for each in notes}


@pytest.fixture
def kvcalc(capsys: pytest.CaptureFixture[str]) -> Kvcalc:
    """Run a command line in this process: `kvcalc("estimate", "llama-3-8b").stdout`."""

    def call(*words: str) -> Run:
        capsys.readouterr()
        code = run(list(words))
        return Run(code, *capsys.readouterr())

    return call


@pytest.fixture
def log(tmp_path: Path) -> Callable[[str], str]:
    """Write a server's log and give its path."""

    def write(text: str) -> str:
        path = tmp_path / "server.log"
        path.write_text(text, encoding="utf-8")
        return str(path)

    return write


def pytest_runtest_protocol(item: pytest.Item, nextitem: pytest.Item | None) -> bool | None:
    """A worker of pytest-xdist tells how the call went, or what else failed or was skipped.

    Each report takes it and its controller half a millisecond, and nobody reads that a test was set up.
    """
    if not hasattr(item.config, "workerinput"):
        return None
    for report in runtestprotocol(item, log=False, nextitem=nextitem):
        if report.when == "call" or not report.passed:
            item.ihook.pytest_runtest_logreport(report=report)
    return True


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """`-m "not torch"` does not even import the files that import torch."""
    without_torch = str(config.getoption("markexpr")).startswith("not torch")
    return True if without_torch and collection_path.name in {"reference", "speed", "verification"} else None


def pytest_collection() -> None:
    """What is collected stays: looking through it for garbage would take a third of the time."""
    gc.disable()


LONG = ("verification", "verbs", "engines")
"""Folders of files whose tests take long, the longest first."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Those come first, so that no worker is left with one of them at the end."""
    items.sort(key=lambda item: LONG.index(folder) if (folder := item.path.parent.name) in LONG else len(LONG))


def pytest_collection_finish() -> None:
    gc.freeze()
    gc.set_threshold(100_000)  # as the command line has it
    gc.enable()


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Tests of verification change formulas: nothing counts that was counted with another test's."""
    if item.path.parent.name == "verification":
        known_ranks._known.cache_clear()  # noqa: SLF001  # as in a process of its own


@pytest.fixture(autouse=True, scope="module")
def _settled(request: pytest.FixtureRequest) -> Iterator[None]:
    """What tests of other files have imported meanwhile stays too, and what the first verification in here imports."""
    if request.path.parent.name not in {"verification", "speed"}:
        gc.freeze()
        yield
        return
    from kvcalc.verification.host_memory import only_new_garbage  # imports torch

    _verified_once()
    _settle()
    with only_new_garbage():
        yield


def pytest_runtest_teardown(item: pytest.Item) -> None:
    """What a test was the first to import stays too: formats differ in what they need of torch."""
    if item.path.parent.name == "verification" and len(sys.modules) > _imported[-1] + MANY_MODULES:
        gc.freeze()
        _imported.append(len(sys.modules))


MANY_MODULES = 100
_imported = [0]


@cache
def _verified_once() -> None:
    """A run of each kind, of a small model: torch imports much of itself when that is first used."""
    for device in ("meta", "cpu"):
        assert kvcalc_package.verify("gemma-3-270m", context=16, device=device, decode=True).verified


def _settle() -> None:
    """Modules stay: a collection, of which `kvcalc verify` makes many, need not look at them again."""
    gc.collect()
    gc.freeze()
