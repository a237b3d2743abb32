"""llama.cpp itself, asked for two hundred shapes: caches and states to the print, compute buffers within a band."""

from __future__ import annotations

import json
import platform
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(
    (sys.platform, platform.machine()) != ("linux", "x86_64"),
    reason="the structures of llama.cpp's C interface are laid out as on Linux for x86-64",
)
DRAWN = Path(__file__).parents[1] / "live" / "llama_cpp_drawn.py"
NUMBER, SEED = 200, 7
PRINTED_TO = 0.0101
"""MiB: two figures of hundredths are added up at most."""


@cache
def differences() -> list[tuple[str, float, float, float]]:
    """Shape and run; caches, MiB; compute buffer, a share; what it is short of, MiB. In a process of its own."""
    run = subprocess.run([sys.executable, DRAWN, str(NUMBER), str(SEED)], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr[-2000:]
    found: list[tuple[str, float, float, float]] = json.loads(run.stdout)
    assert len(found) == NUMBER
    return found


def test_caches_and_states_are_as_printed() -> None:
    assert [each for each in differences() if abs(each[1]) > PRINTED_TO] == []


def test_compute_buffers_are_within_a_band() -> None:
    compute = sorted(abs(each[2]) for each in differences())
    assert compute[NUMBER // 2] < 0.01
    assert compute[9 * NUMBER // 10] < 0.1
