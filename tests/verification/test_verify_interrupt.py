"""Ctrl-C while verify starts: the process ends with 130 and says nothing, whatever is being imported."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

WORDS = ["verify", "llama-3-8b", "-c", "16", "--device", "meta"]

INTERRUPTED_BY = """
import os, signal, sys

class Interrupting:
    def find_spec(self, name, path=None, target=None):
        if name == {moment!r}:
            os.kill(os.getpid(), signal.SIGINT)

sys.meta_path.insert(0, Interrupting())
sys.argv = ["kvcalc", *{words!r}]
from kvcalc.cli import main
main()
"""

SWALLOWS = """
import os, signal
for _ in range({times}):
    try:
        os.kill(os.getpid(), signal.SIGINT)
        for _ in range(1000):
            pass
    except BaseException:
        pass
__version__ = "2.0"
"""
"""A torch that goes on whatever happens, and then is too old."""


def run(program: list[str], **changes: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *program],
        capture_output=True,
        text=True,
        env=os.environ | changes,
        check=False,
        timeout=120,
        stdin=subprocess.DEVNULL,
    )


@pytest.fixture(autouse=True)
def _interruptible() -> Iterator[None]:
    """Processes that are started here, also where the tests run in a shell's background, which ignores Ctrl-C."""
    previous = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, previous)


@pytest.mark.parametrize(
    "moment",
    [
        "typer",
        "kvcalc.verification",
        "torch",
        "torch._utils",
        "torch.nn",
        "torch.distributed",
        "kvcalc.verification.verdict",
    ],
)
def test_an_import_is_interrupted(moment: str) -> None:
    done = run(["-c", INTERRUPTED_BY.format(moment=moment, words=WORDS)])
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "")


@pytest.mark.parametrize("times", [0, 1, 2])
def test_an_import_that_swallows_everything_is_interrupted(tmp_path: Path, times: int) -> None:
    (tmp_path / "torch.py").write_text(SWALLOWS.format(times=times), encoding="utf-8")
    done = run(["-m", "kvcalc", *WORDS], PYTHONPATH=os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")]))
    if times:
        assert (done.returncode, done.stdout, done.stderr) == (130, "", "")
    else:
        assert done.returncode == 3
        assert "verify needs a newer PyTorch than 2.0" in done.stderr


def test_what_is_computed_is_interrupted() -> None:
    """Where nothing is imported, the exception is raised as ever, so that files are not left half written."""
    program = """
import os, signal, sys
from kvcalc.cli import app, main
def run(arguments):
    try:
        os.kill(os.getpid(), signal.SIGINT)
        for _ in range(1000):
            pass
    except KeyboardInterrupt:
        sys.stdout.write("cleaned up")
        raise
app.run = run
main()
"""
    done = run(["-c", program])
    assert (done.returncode, done.stdout, done.stderr) == (130, "cleaned up", "")


def test_the_second_time_ends_it() -> None:
    program = """
import os, signal
from kvcalc.cli import app, main
def run(arguments):
    for _ in range(2):
        try:
            os.kill(os.getpid(), signal.SIGINT)
            for _ in range(1000):
                pass
        except KeyboardInterrupt:
            pass
app.run = run
main()
"""
    done = run(["-c", program])
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "")


def test_who_ignores_it_goes_on_doing_so() -> None:
    """As nohup and a shell's background jobs have it."""
    previous = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        done = run(["-c", INTERRUPTED_BY.format(moment="typer", words=["estimate", "llama-3-8b", "-c", "16"])])
    finally:
        signal.signal(signal.SIGINT, previous)
    assert done.returncode == 0
    assert done.stdout.startswith("1 x h100-sxm: fits")
