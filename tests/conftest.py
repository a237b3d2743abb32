"""What tests share: one thread a process, a settled heap, and the command line in this process."""

from __future__ import annotations

import gc
import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NamedTuple

# Before torch is imported: threads that share small matrices wait for each other, and for the other worker's.
os.environ["OMP_NUM_THREADS"] = os.environ["MKL_NUM_THREADS"] = "1"

import pytest

from kvcalc.cli.app import run
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


@pytest.fixture
def kvcalc(capsys: pytest.CaptureFixture[str]) -> Kvcalc:
    """Run a command line in this process: `kvcalc("estimate", "llama-3-8b").stdout`."""

    def call(*words: str) -> Run:
        capsys.readouterr()
        code = run(list(words))
        return Run(code, *capsys.readouterr())

    return call


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """`-m "not torch"` does not even import the files that import torch."""
    without_torch = config.getoption("markexpr") == "not torch"
    return True if without_torch and collection_path.name in {"reference", "verification"} else None


def pytest_collection() -> None:
    """What is collected stays: looking through it for garbage would take a third of the time."""
    gc.disable()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files whose tests take long come first, so that no worker is left with one of them at the end."""
    items.sort(key=lambda item: item.path.parent.name != "verification")


def pytest_collection_finish() -> None:
    _settle()
    gc.enable()


@pytest.fixture(autouse=True, scope="module")
def _settled(request: pytest.FixtureRequest) -> None:
    """What tests of other files have imported meanwhile stays too."""
    if request.path.parent.name == "verification":
        _settle()


def _settle() -> None:
    """Modules stay: a collection, of which `kvcalc verify` makes many, need not look at them again."""
    gc.collect()
    gc.freeze()
