"""How much CPU calls from Python take, as ratios to a fixed amount of plain Python in the same process.

    python benchmarks/api_calls.py

The plain Python is one loop of additions, timed just before and after each call; the least of several runs counts. On a
machine where the loop takes 10 ms, a ratio of 0.1 is a millisecond. Exits 1 where a limit is passed.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import kvcalc
from kvcalc.catalogue import model_names

TURNS = 200_000


class Case(NamedTuple):
    """A call, how often it is made in a run, how many runs there are, and how many loops it may take."""

    name: str
    call: Callable[[], object]
    limit: float
    calls: int = 20
    runs: int = 15


def loop() -> int:
    """The fixed amount of plain Python."""
    value = 0
    for turn in range(TURNS):
        value = (value * 31 + turn) % 1_000_003
    return value


def seconds(call: Callable[[], object], calls: int = 1) -> float:
    """CPU time of one of several calls."""
    start = time.process_time()
    for _ in range(calls):
        call()
    return (time.process_time() - start) / calls


def alternating(folder: Path) -> Path:
    """A file of 10,000 layers of two kinds in turn."""
    attention = "attention: {kind: gqa, num_heads: 64, num_kv_heads: 8, head_dim: 128}"
    text = (
        "name: alternating\nhidden_size: 8192\nvocab_size: 128256\ntie_word_embeddings: false\n"
        "parameters: 1000000000000\nlayers:\n  - repeat: 5000\n    of:\n"
        f"      - {{count: 1, {attention}, window: 1024}}\n      - {{count: 1, {attention}}}\n"
    )
    path = folder / "alternating.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def cases(deep: Path) -> tuple[Case, ...]:
    """What is measured. Limits are those of a machine on which the loop takes 10 ms: 0.1 is a millisecond."""
    return (
        Case('estimate("llama-3-70b")', lambda: kvcalc.estimate("llama-3-70b"), 0.1),
        Case('estimate("deepseek-v3")', lambda: kvcalc.estimate("deepseek-v3"), 0.2),
        Case('estimate("llama-3-70b", gpu="h100")', lambda: kvcalc.estimate("llama-3-70b", gpu="h100"), 0.1),
        Case(
            'compare("llama-3.1-405b", batch=500, context=131072)',
            lambda: kvcalc.compare("llama-3.1-405b", batch=500, context=131_072),
            50,
            calls=1,
            runs=3,
        ),
        Case("estimate(10,000 layers, tp=8, pp=8)", lambda: kvcalc.estimate(deep, tp=8, pp=8), 100, calls=1, runs=3),
    )


PLAN_LIMIT = 30
"""Loops that a plan over every accelerator, of up to 1,024 of them, may take."""


def planned(name: str) -> float:
    """CPU time of such a plan of a model."""
    return seconds(lambda: kvcalc.plan(name, gpu="all", max_gpus=1024))


def main() -> int:
    """Measure, print, and say whether all stay within their limits."""
    passed = True
    with tempfile.TemporaryDirectory() as folder:
        for case in cases(alternating(Path(folder))):
            case.call()  # once to read files
            ours, theirs = [], []
            for _ in range(case.runs):
                theirs.append(seconds(loop))
                ours.append(seconds(case.call, case.calls))
            ratio = min(ours) / min(theirs)
            passed &= ratio <= case.limit
            print(
                f"{case.name}: {min(ours) * 1000:.2f} ms / {min(theirs) * 1000:.2f} ms = {ratio:.3f} "
                f"(limit {case.limit})"
            )
    known = [name for name in model_names() if kvcalc.load_model(name).parameters is not None]  # others have no plan
    _, slowest = max((planned(name), name) for name in known)
    ours = [planned(slowest) for _ in range(3)]
    theirs = [seconds(loop) for _ in range(15)]
    ratio = min(ours) / min(theirs)
    passed &= ratio <= PLAN_LIMIT
    print(
        f'plan("{slowest}", gpu="all", max_gpus=1024), the slowest of all: {min(ours) * 1000:.0f} ms / '
        f"{min(theirs) * 1000:.2f} ms = {ratio:.1f} (limit {PLAN_LIMIT})"
    )
    return 0 if passed else 1


if __name__ == "__main__":
    sys.exit(main())
