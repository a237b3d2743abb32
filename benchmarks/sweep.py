"""A sweep beside a bare Python loop that writes as many rows of as many columns: time, memory and the ratio.

Both run in processes of their own, one after the other, as often as asked; the least time of each counts. The loop
knows its figures and works nothing out.

    python benchmarks/sweep.py [--rows 1000000] [--times 3] [--models llama-3-70b,gemma-3-27b]
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

FEW = "cache_bytes,cache_bytes_per_rank,cache_bytes_per_token,memory_total_bytes,gpus_by_memory"

BARE = """
import csv, sys
rows, figures, target, models = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3], sys.argv[4].split(",")
with open(target, "w", newline="") as file:
    writer = csv.writer(file)
    made = 0
    for model in models:
        for batch in range(1, rows // (2500 * len(models)) + 1):
            for context in range(1024, 1024 * 626, 1024):
                for cache_dtype in ("bf16", "fp8"):
                    for tp in (4, 8):
                        size = batch * context * 163840
                        writer.writerow((model, batch, context, cache_dtype, tp, *([size] * figures)))
                        made += 1
assert made == rows
"""
"""Axes as below: models x batches x 625 contexts x 2 formats x 2 tp."""


class Run(NamedTuple):
    """What a process took.

    Attributes:
        seconds: of the processor.
        memory: the most that was resident, in bytes.
    """

    seconds: float
    memory: int


def run(words: list[str]) -> Run:
    """Runs a program, and says what it took."""
    process = subprocess.Popen(words)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(process.returncode)
    return Run(usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024)


def swept(models: str, rows: int, target: str, fields: str | None, times: int) -> tuple[Run, Run]:
    """The least of the bare loop, and of the sweep."""
    batches = rows // (2500 * len(models.split(",")))
    axes = ["--model", models, "--batch", f"1..{batches}+1", "--context", "1024..640000+1024"]
    axes += ["--cache-dtype", "bf16,fp8", "--tp", "4,8"]
    chosen = ["--fields", fields] if fields else []
    figures = len(fields.split(",")) if fields else 15
    bare = [sys.executable, "-c", BARE, str(rows), str(figures), target, models]
    sweep = [sys.executable, "-m", "kvcalc", "sweep", *axes, *chosen, "-o", target]
    pairs = [(run(bare), run(sweep)) for _ in range(times)]
    return min(bare for bare, _ in pairs), min(sweep for _, sweep in pairs)


def main() -> None:
    """Prints a line for few columns and one for all."""
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asked.add_argument("--rows", type=int, default=1_000_000)
    asked.add_argument("--times", type=int, default=3)
    asked.add_argument("--models", default="llama-3-70b,gemma-3-27b")
    given = asked.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        for name, fields, limit in (("ten columns", FEW, 3), ("all columns", None, 10)):
            bare, sweep = swept(given.models, given.rows, str(Path(folder, "rows.csv")), fields, given.times)
            ratio = sweep.seconds / bare.seconds
            print(
                f"{name}: bare loop {bare.seconds:.2f} s, sweep {sweep.seconds:.2f} s: {ratio:.2f} times "
                f"(at most {limit}), {sweep.memory / 1e6:.0f} MB (at most 300)"
            )


if __name__ == "__main__":
    main()
