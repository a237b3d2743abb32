"""Verify caches that fill most of a GPU, and write what came out as Markdown.

    python benchmarks/verification_report.py REPORT.md [--device cuda] [--fill SIZE]

Six mechanisms, each in a fresh process, once with PyTorch's default allocator and once with expandable segments. The
batch is the largest whose cache stays within SIZE: by default 88 % of what is free. Where the weights fit one GPU too,
the edge is tried: the cache at the limit of `kvcalc capacity` allocates beside them, and one sequence more does not.
Exits 1 if a check fails.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import kvcalc
from kvcalc.units import parse_size


class Model(NamedTuple):
    """A model of the catalogue and the context that its cache is filled at.

    Attributes:
        fits_one_gpu: whether its weights do.
    """

    name: str
    mechanism: str
    context: int
    fits_one_gpu: bool = False


MODELS = (
    Model("llama-2-7b", "multi-head", 4096, fits_one_gpu=True),
    Model("falcon-7b", "multi-query", 2048, fits_one_gpu=True),
    Model("llama-3-70b", "grouped-query", 8192),
    Model("deepseek-v3", "multi-head latent", 131_072),
    Model("deepseek-v3.2", "latent with a sparse indexer", 131_072),
    Model("qwen3-next-80b-a3b", "gated delta network and grouped-query", 8192),
)

ALLOCATORS = {"default": {}, "expandable segments": {"PYTORCH_CUDA_ALLOC_CONF": "expandable_segments:True"}}


def main() -> int:
    """Write the report."""
    arguments = _arguments()
    fill = parse_size(arguments.fill, "--fill") if arguments.fill else _free_bytes() * 88 // 100
    parts, failed = [], 0
    for model, extent in _runs(fill, arguments.device):
        for allocator, setting in ALLOCATORS.items():
            command = ["verify", model.name, *extent, "-c", str(model.context), "--device", arguments.device]
            print(f"{model.name}, {allocator}: {' '.join(extent)} x {model.context}", flush=True)
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


def _runs(fill: int, device: str) -> Iterator[tuple[Model, list[str]]]:
    """Each model with as many sequences as fill the memory, and with as many as find room beside the weights."""
    for model in MODELS:
        one = kvcalc.estimate(model.name, context=model.context).cache.bytes
        yield model, ["-b", str(max(1, fill // one))]
        if model.fits_one_gpu and device == "cuda":
            yield model, ["--boundary"]


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
