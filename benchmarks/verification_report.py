"""Verify caches that fill most of a GPU, in a bounded time, and write what came out as Markdown.

    python benchmarks/verification_report.py REPORT.md [--device cuda] [--fill SIZE] [--minutes N]

First multi-head, multi-query, grouped-query and latent attention, filled and decoded from; then the edge of the card,
where the cache at the limit of `kvcalc capacity` allocates beside the weights, and one sequence more does not; then the
four again with expandable segments; then sparse latent attention and states. Each is a fresh process. The batch is the
largest whose cache stays within SIZE: by default 88 % of what is free, and 16 GiB at most.

What there is no time for is left out, from the end, and the report says so. Exits 1 if a check fails, 3 if one of the
four or the edge was left out.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import kvcalc
from kvcalc.units import parse_size


class Model(NamedTuple):
    """A model of the catalogue and the context that its cache is filled at."""

    name: str
    mechanism: str
    context: int


class Run(NamedTuple):
    """One verification.

    Attributes:
        extent: how many sequences, or that the most are found.
        setting: of PyTorch's allocator, as environment variables.
        needed: whether a report without it is no report.
    """

    model: Model
    extent: tuple[str, ...]
    setting: Mapping[str, str]
    needed: bool

    def command(self, device: str) -> list[str]:
        """The words after `kvcalc`."""
        return ["verify", self.model.name, *self.extent, "-c", str(self.model.context), "--device", device]


class Ended(NamedTuple):
    """What a run came to.

    Attributes:
        verdict: in a word or two.
        text: what it printed, or why it did not run.
    """

    run: Run
    verdict: str
    seconds: float
    text: str


FOUR = (
    Model("llama-2-7b", "multi-head", 4096),
    Model("falcon-7b", "multi-query", 2048),
    Model("llama-3-70b", "grouped-query", 8192),
    Model("deepseek-v3", "multi-head latent", 32_768),
)
EDGE = Model("llama-3-8b", "grouped-query", 8192)
"""Its weights fit one GPU, so that a cache fits beside them."""
OTHERS = (
    Model("deepseek-v3.2", "latent with a sparse indexer", 32_768),
    Model("qwen3-next-80b-a3b", "gated delta network and grouped-query", 8192),
)

EXPANDABLE = {"PYTORCH_CUDA_ALLOC_CONF": "expandable_segments:True"}
VERIFIED, FAILED, LEFT_OUT, NOT_FINISHED = "verified", "FAILED", "left out", "not finished"


def main(words: list[str] | None = None) -> int:
    """Write the report."""
    arguments = _arguments(words)
    deadline = time.monotonic() + 60 * arguments.minutes
    fill = parse_size(arguments.fill, "--fill") if arguments.fill else min(_free_bytes() * 88 // 100, 16 * 2**30)
    ended: list[Ended] = []
    for run in plan(fill, edge=arguments.device == "cuda"):
        longest = max((each.seconds for each in ended), default=0)
        ended.append(_end(run, arguments.device, deadline - time.monotonic(), longest))
        print(f"{_title(run)}: {ended[-1].verdict}, {ended[-1].seconds:.0f} s", flush=True)
    Path(arguments.report).write_text(_report(ended, arguments.device), encoding="utf-8")
    if any(each.verdict == FAILED for each in ended):
        return 1
    return 3 if any(each.run.needed and each.verdict != VERIFIED for each in ended) else 0


def plan(fill: int, *, edge: bool) -> list[Run]:
    """What is to be verified, the most important first."""
    four = [Run(model, _filling(model, fill), {}, needed=True) for model in FOUR]
    at_the_edge = [Run(EDGE, ("--boundary",), setting, not setting) for setting in ({}, EXPANDABLE)] if edge else []
    again = [run._replace(setting=EXPANDABLE, needed=False) for run in four] if edge else []
    others = [Run(model, _filling(model, fill), {}, needed=False) for model in OTHERS]
    return [*four, *at_the_edge[:1], *again, *at_the_edge[1:], *others]


def _filling(model: Model, fill: int) -> tuple[str, ...]:
    one = kvcalc.estimate(model.name, context=model.context).cache.bytes
    return ("-b", str(max(1, fill // one)))


def _end(run: Run, device: str, left: float, longest: float) -> Ended:
    """Do it, unless so long a run as the longest so far has no time left."""
    if left <= longest:
        return Ended(run, LEFT_OUT, 0, f"{left:.0f} s were left, and the longest run took {longest:.0f} s.\n")
    start = time.monotonic()
    try:
        done = subprocess.run(
            [sys.executable, "-m", "kvcalc", *run.command(device), "--format", "markdown"],
            env={**os.environ, **run.setting},
            capture_output=True,
            text=True,
            check=False,
            timeout=left,
        )
    except subprocess.TimeoutExpired:
        return Ended(run, NOT_FINISHED, time.monotonic() - start, f"It was ended after {left:.0f} s.\n")
    verdict = VERIFIED if done.returncode == 0 else FAILED
    return Ended(run, verdict, time.monotonic() - start, f"Exits {done.returncode}.\n\n{done.stdout or done.stderr}")


def _report(ended: list[Ended], device: str) -> str:
    rows = [f"| {_title(each.run)} | {each.verdict} | {each.seconds:.0f} |" for each in ended]
    summary = "\n".join(["| run | verdict | seconds |", "| --- | --- | --- |", *rows])
    parts = (f"## {_title(each.run)}\n\n`{_shown(each.run, device)}`\n\n{each.text}" for each in ended)
    return f"# Verified on {device}\n\nkvcalc {kvcalc.__version__}\n\n{summary}\n\n" + "\n".join(parts)


def _title(run: Run) -> str:
    allocator = "expandable segments" if run.setting else "default allocator"
    return f"{run.model.name} ({run.model.mechanism}), {' '.join(run.extent)}, {allocator}"


def _shown(run: Run, device: str) -> str:
    return " ".join([*(f"{name}={value}" for name, value in run.setting.items()), "kvcalc", *run.command(device)])


def _arguments(words: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("report", help="the file to write")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--fill", help="bytes that a cache may take, as 64GiB")
    parser.add_argument("--minutes", type=float, default=8, help="how long it may take (8)")
    return parser.parse_args(words)


def _free_bytes() -> int:
    """Asked of a process that ends, so that this one holds no memory of the GPU."""
    code = "import torch; print(torch.cuda.mem_get_info()[0])"
    return int(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout)


if __name__ == "__main__":
    sys.exit(main())
