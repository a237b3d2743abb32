"""llama.cpp itself beside kvcalc, on shapes drawn by chance: caches to the print, compute buffers within a band.

    make test-live-llama-cpp

The ordinary tests do not collect this file: it needs llama.cpp with its C interface.
"""

from __future__ import annotations

import random
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from llama_cpp_shapes import FITTED, Run, Shape, dense, experts, latent
from llama_cpp_shapes import SHAPES as SHAPES_BY_NAME
from llama_cpp_sizes import LlamaCpp
from write_llama_cpp_vectors import made, sizes_of

import kvcalc
from kvcalc.engines import Load
from kvcalc.memory import Ranks

MIB = 2**20
SHAPES = 1000


def drawn() -> Iterator[tuple[Shape, Run]]:
    chance = random.Random(16)  # noqa: S311  # no secret
    for _ in range(SHAPES):
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


@cache
def library() -> LlamaCpp:
    """One for all: every other would add its cards to those that llama.cpp finds."""
    return LlamaCpp()


@cache
def differences() -> tuple[tuple[str, float, float, float], ...]:
    lib, found = library(), []
    for shape, run in drawn():
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
        found.append((f"{shape.arch} {shape.metadata} {run.name}", caches, compute, short))
    return tuple(found)


def test_caches_are_as_printed() -> None:
    assert [each for each in differences() if abs(each[1]) > 0.0101] == []


def test_layers_lie_on_the_cards_that_llama_cpp_puts_them_on() -> None:
    """In a process of its own: the library finds its cards once."""
    code = Path(__file__).with_name("llama_cpp_layers.py")
    run = subprocess.run([sys.executable, str(code)], capture_output=True, text=True, check=True)
    assert run.stdout.strip().endswith("all alike"), run.stdout


def test_towers_take_what_llama_cpp_reserves_for_them() -> None:
    """Likewise."""
    code = Path(__file__).with_name("llama_cpp_towers.py")
    run = subprocess.run([sys.executable, str(code)], capture_output=True, text=True, check=True)
    assert run.stdout.strip().endswith("all alike"), run.stdout


def test_as_many_layers_fit_as_llama_cpp_chooses_itself() -> None:
    """Likewise, once for each size of a card."""
    code = Path(__file__).with_name("llama_cpp_fit.py")
    for memory in sorted({each.gib for each in FITTED}):
        run = subprocess.run([sys.executable, str(code), str(memory)], capture_output=True, text=True, check=True)
        assert run.stdout.strip().endswith("all alike"), run.stdout


def test_the_context_of_layers_that_draft_is_as_printed() -> None:
    lib, shape = library(), SHAPES_BY_NAME["qwen3.6-27b"]
    metadata = {**shape.metadata, "block_count": shape.metadata["block_count"] + 1, "nextn_predict_layers": 1}
    model = lib.model(shape.arch, shape.vocab, metadata, load_mtp=1)
    drafting = replace(shape.model, mtp_layers=1)
    for context in (8192, 131072):
        asked = kvcalc.make_scenario(drafting, engine="llama-cpp", engine_option={"draft-n": "2"}, context=context)
        layout = Ranks(asked).settled(kvcalc.Deployment())
        (stage,), load = layout.stages, Load(1, context)
        own = lib.sizes(model, context, n_rs_seq=2)
        second = lib.sizes(model, context, ctx_type=1)
        assert abs(layout.held_bytes(stage, load) / MIB - sum(own.caches) - sum(second.caches)) < 0.02
        buffer = layout.temporary(stage, load)
        assert buffer is not None
        assert 0.9 < buffer.term.bytes / MIB / (own.compute[0] + second.compute[0]) < 1.25
    lib.free(model)


def test_compute_buffers_are_within_a_band() -> None:
    compute = sorted(abs(each[2]) for each in differences())
    assert compute[len(compute) // 2] < 0.01
    assert compute[9 * len(compute) // 10] < 0.1


def test_no_compute_buffer_is_short_of_half_of_what_is_left_free() -> None:
    """1 GiB of each card (common/common.h, fit_params_target)."""
    assert max(each[3] for each in differences()) < 512
