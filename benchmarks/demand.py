"""How long `kvcalc demand` takes for a trace, beside a bare loop of Python over the same events.

`python benchmarks/demand.py`: the loop reads the file, puts the beginning and the end of every request into order, and
adds up what they hold. It knows no percentile between two events and no engine. Both are timed in one run, since
machines differ.
"""

from __future__ import annotations

import argparse
import math
import random
import sys
import tempfile
import time
from pathlib import Path

import kvcalc

SPEED = 40


def written(path: Path, number: int) -> Path:
    """A trace as Azure writes it: exponential gaps, log-normal lengths."""
    draw, seconds = random.Random(3), 0.0  # noqa: S311  # no secret
    with path.open("w", encoding="utf-8") as file:
        file.write("TIMESTAMP,ContextTokens,GeneratedTokens\n")
        for _ in range(number):
            seconds -= math.log(1 - draw.random()) / 20
            day, rest = divmod(int(seconds), 86_400)
            clock = f"{rest // 3600:02}:{rest // 60 % 60:02}:{rest % 60:02}.{int(seconds % 1 * 10**7):07}"
            prompt, output = (max(1, round(median * math.exp(draw.gauss(0, 0.9)))) for median in (900, 150))
            file.write(f"2026-01-{day + 1:02} {clock},{prompt},{output}\n")
    return path


def bare(path: Path) -> int:
    """The mean of the tokens that are held, times the time."""
    events, total, held, running, now = [], 0.0, 0.0, 0, 0.0
    with path.open(encoding="utf-8") as file:
        next(file)
        for line in file:
            moment, prompt, output = line.split(",")
            day, clock = moment.split(" ")
            hours, minutes, seconds = clock.split(":")
            start = 86_400 * int(day[-2:]) + 3600 * int(hours) + 60 * int(minutes) + float(seconds)
            events.append((start, int(prompt), 1))
            events.append((start + int(output) / SPEED, -int(prompt) - int(output), -1))
    events.sort()
    now = events[0][0]
    for at, tokens, begins in events:
        total += (at - now) * (held + running * SPEED * (at - now) / 2)
        held += running * SPEED * (at - now) + tokens
        running, now = running + begins, at
    return round(total)


def main() -> int:
    """Prints seconds and the ratio for each engine."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--requests", type=int, default=1_000_000)
    parser.add_argument("--engine", nargs="*", default=["exact", "vllm"])
    parser.add_argument("--model", nargs="*", default=["llama-3.1-8b", "gemma-3-27b", "deepseek-v4-pro"])
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = written(Path(folder) / "trace.csv", asked.requests)
        begin = time.perf_counter()
        bare(path)
        loop = time.perf_counter() - begin
        print(f"{asked.requests:,} requests; a bare loop: {loop:.2f} s")
        for model in asked.model:
            for engine in asked.engine:
                begin = time.perf_counter()
                found = kvcalc.demand(model, trace=path, tokens_per_second=SPEED, engine=engine)
                took = time.perf_counter() - begin
                print(f"{model}, {engine}: {took:.2f} s, {took / loop:.1f} times; p95 {found.cache.p95_bytes:,} bytes")
    return 0


if __name__ == "__main__":
    sys.exit(main())
