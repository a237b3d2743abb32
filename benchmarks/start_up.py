"""How long kvcalc takes to start, as a ratio to importing its libraries in the same environment.

    python benchmarks/start_up.py [RUNS]

Each command and its baseline run in turn, in fresh processes; medians are compared. Byte code is compiled first, as an
installer does, so that a checkout without it does not measure the compiler.
"""

from __future__ import annotations

import compileall
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

import kvcalc


class Comparison(NamedTuple):
    """A command, what it is compared with, and how many times as long it may take."""

    name: str
    command: list[str]
    baseline: list[str]
    limit: float


PYTHON = sys.executable
KVCALC = str(Path(PYTHON).with_name("kvcalc"))

COMPARISONS = (
    Comparison(
        "estimate llama-3-70b --json / import typer, pydantic, yaml",
        [KVCALC, "estimate", "llama-3-70b", "--json"],
        [PYTHON, "-c", "import typer, pydantic, yaml"],
        1.4,
    ),
    Comparison("--version / python -c pass", [KVCALC, "--version"], [PYTHON, "-c", "pass"], 2.5),
)


def seconds(command: list[str]) -> float:
    """Wall time of one run in a fresh process."""
    start = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return time.perf_counter() - start


def main() -> int:
    """Compare, print, and exit 1 where a limit is passed."""
    runs = int(sys.argv[1]) if len(sys.argv) > 1 else 15
    compileall.compile_dir(str(Path(kvcalc.__file__).parent), quiet=2)
    passed = True
    for comparison in COMPARISONS:
        seconds(comparison.command), seconds(comparison.baseline)  # once to warm the disk's cache
        pairs = [(seconds(comparison.command), seconds(comparison.baseline)) for _ in range(runs)]
        ours, theirs = (statistics.median(column) for column in zip(*pairs, strict=True))
        passed &= ours / theirs <= comparison.limit
        print(
            f"{comparison.name}: {ours * 1000:.0f} ms / {theirs * 1000:.0f} ms = {ours / theirs:.2f} "
            f"(limit {comparison.limit}, median of {runs})"
        )
    return 0 if passed else 1


if __name__ == "__main__":
    sys.exit(main())
