"""Shapes drawn by chance: what llama.cpp itself plans for them, beside kvcalc.

    python tests/live/llama_cpp_drawn.py NUMBER SEED

prints the differences as JSON.
"""

from __future__ import annotations

import json
import random
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

sys.path.insert(0, str(Path(__file__).parents[1]))

from llama_cpp_shapes import Run, Shape, dense, experts, latent
from llama_cpp_sizes import LlamaCpp
from write_llama_cpp_vectors import made, sizes_of

import kvcalc
from kvcalc.engines import Load
from kvcalc.memory import Ranks

MIB = 2**20


class Difference(NamedTuple):
    """Of one shape in one run.

    Attributes:
        name: the shape and the run.
        caches: MiB that kvcalc counts beyond what llama.cpp prints, of caches and states.
        compute: the compute buffer by kvcalc, as a share of llama.cpp's, less 1.
        short: MiB of llama.cpp's compute buffer beyond the most that kvcalc says.
    """

    name: str
    caches: float
    compute: float
    short: float


def drawn(number: int, seed: int) -> Iterator[tuple[Shape, Run]]:
    """Dense models, with windows or without, models with experts and with latents, each in a run of its own."""
    chance = random.Random(seed)  # noqa: S311  # no secret
    for _ in range(number):
        kv_heads, head_dim = chance.choice([1, 2, 4, 8]), chance.choice([64, 128, 256])
        heads, hidden = kv_heads * chance.choice([2, 4, 8]), 256 * chance.randint(4, 32)
        kind = chance.random()
        if kind < 0.2:
            heads, used = chance.choice([16, 20, 32, 64, 128]), chance.choice([2, 4, 6, 8])
            shape = latent(hidden, heads, 2 * hidden, used, 512 * chance.randint(1, 4), 1536)
        elif kind < 0.5:
            width = 128 * chance.randint(4, 20)
            shape = experts(
                "qwen3moe", hidden, heads, kv_heads, head_dim, number=64, used=chance.choice([1, 2, 4, 8]), width=width
            )
        else:
            arch, window = chance.choice([("llama", 0), ("qwen3", 0), ("gemma3", 512), ("gemma3", 1024)])
            feed_forward = 256 * chance.randint(hidden // 100, hidden // 50)
            layers = 6 if window else 3
            shape = dense(arch, hidden, feed_forward, heads, kv_heads, head_dim, layers=layers, window=window)
        k = chance.choice(["f16", "q8_0", "q4_0", "bf16"])
        run = Run(
            256 * chance.randint(4, 256),
            chance.choice([1, 1, 2, 4]),
            chance.choice([256, 512, 1024, 2048]),
            k,
            k,
            unified=chance.random() < 0.3,
            swa_full=chance.random() < 0.2,
        )
        yield shape, run


def differences(lib: LlamaCpp, number: int, seed: int) -> Iterator[Difference]:
    """Of so many shapes."""
    for shape, run in drawn(number, seed):
        model = made(lib, shape)
        printed = sizes_of(lib, model, run)
        lib.free(model)
        options = {"ubatch-size": str(run.ubatch), "kv-unified": str(int(run.unified))}
        asked = kvcalc.make_scenario(
            shape.model,
            engine="llama-cpp",
            engine_option={**options, "swa-full": str(int(run.swa_full))},
            cache_dtype=f"k={run.k},v={run.v}",
            batch=run.slots,
            context=run.context,
        )
        layout = Ranks(asked).settled(kvcalc.Deployment())
        (stage,) = layout.stages
        load = Load(run.slots, run.context)
        buffer = layout.temporary(stage, load)
        assert buffer is not None
        caches = layout.held_bytes(stage, load) / MIB - sum(printed.caches)
        compute = buffer.term.bytes / MIB / printed.compute[0] - 1
        short = printed.compute[0] - buffer.high / MIB
        yield Difference(f"{shape.arch} {shape.metadata} {run.name}", caches, compute, short)


if __name__ == "__main__":
    sys.stdout.write(json.dumps([*differences(LlamaCpp(), *map(int, sys.argv[1:3]))]))
