"""Verify caches that fill most of a GPU, and write what came out as Markdown.

    python benchmarks/verification_report.py REPORT.md [--device cuda] [--fill SIZE]

Four mechanisms, each in a fresh process, once with PyTorch's default allocator and once with expandable segments. The
batch is the largest whose cache stays within SIZE: by default 88 % of what is free. Exits 1 if a check fails.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import kvcalc
from kvcalc.units import parse_size


class Model(NamedTuple):
    """A model of the catalogue and the context that its cache is filled at."""

    name: str
    mechanism: str
    context: int


MODELS = (
    Model("llama-2-7b", "multi-head", 4096),
    Model("falcon-7b", "multi-query", 2048),
    Model("llama-3-70b", "grouped-query", 8192),
    Model("deepseek-v3", "multi-head latent", 131_072),
)

ALLOCATORS = {"default": {}, "expandable segments": {"PYTORCH_CUDA_ALLOC_CONF": "expandable_segments:True"}}


def main() -> int:
    """Write the report."""
    arguments = _arguments()
    fill = parse_size(arguments.fill, "--fill") if arguments.fill else _free_bytes() * 88 // 100
    parts, failed = [], 0
    for model in MODELS:
        one = kvcalc.estimate(model.name, context=model.context).cache.bytes
        batch = max(1, fill // one)
        for allocator, setting in ALLOCATORS.items():
            command = ["verify", model.name, "-b", str(batch), "-c", str(model.context), "--device", arguments.device]
            print(f"{model.name}, {allocator}: {batch} x {model.context}", flush=True)
            done = subprocess.run(
                [sys.executable, "-m", "kvcalc", *command, "--format", "markdown"],
                env={**os.environ, **setting},
                capture_output=True,
                text=True,
                check=False,
            )
            failed += done.returncode != 0
            shown = " ".join([*(f"{name}={value}" for name, value in setting.items()), "kvcalc", *command])
            parts.append(
                f"## {model.name} ({model.mechanism}), allocator {allocator}\n\n`{shown}` exits {done.returncode}\n\n"
                f"{done.stdout or done.stderr}"
            )
    Path(arguments.report).write_text("# Verified on a GPU\n\n" + "\n".join(parts), encoding="utf-8")
    print(f"{len(parts) - failed} of {len(parts)} verified; {arguments.report}")
    return 1 if failed else 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("report", help="the file to write")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--fill", help="bytes that a cache may take, as 64GiB")
    return parser.parse_args()


def _free_bytes() -> int:
    """Asked of a process that ends, so that this one holds no memory of the GPU."""
    code = "import torch; print(torch.cuda.mem_get_info()[0])"
    return int(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout)


if __name__ == "__main__":
    sys.exit(main())
