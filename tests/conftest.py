"""What tests of the command line share."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import pytest

from kvcalc.cli.app import run


class Run(NamedTuple):
    """One command line's exit code and what it printed."""

    code: int
    stdout: str
    stderr: str


Kvcalc = Callable[..., Run]


@pytest.fixture
def kvcalc(capsys: pytest.CaptureFixture[str]) -> Kvcalc:
    """Run a command line in this process: `kvcalc("estimate", "llama-3-8b").stdout`."""

    def call(*words: str) -> Run:
        capsys.readouterr()
        code = run(list(words))
        return Run(code, *capsys.readouterr())

    return call
