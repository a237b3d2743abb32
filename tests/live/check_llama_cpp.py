"""llama.cpp itself beside kvcalc, on shapes drawn by chance: caches to the print, compute buffers within a band.

    make test-live-llama-cpp

The ordinary tests ask less of it (tests/engines/test_llama_cpp_itself.py).
"""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from functools import cache
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from llama_cpp_drawn import Difference, differences
from llama_cpp_shapes import FITTED
from llama_cpp_shapes import SHAPES as SHAPES_BY_NAME
from llama_cpp_sizes import LlamaCpp

import kvcalc
from kvcalc.engines import Load
from kvcalc.memory import Ranks

MIB = 2**20
SHAPES, SEED = 1000, 16


@cache
def library() -> LlamaCpp:
    """One for all: every other would add its cards to those that llama.cpp finds."""
    return LlamaCpp()


@cache
def of_drawn() -> tuple[Difference, ...]:
    return tuple(differences(library(), SHAPES, SEED))


def test_caches_are_as_printed() -> None:
    assert [each for each in of_drawn() if abs(each.caches) > 0.0101] == []


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
    compute = sorted(abs(each.compute) for each in of_drawn())
    assert compute[len(compute) // 2] < 0.01
    assert compute[9 * len(compute) // 10] < 0.1


def test_no_compute_buffer_is_short_of_half_of_what_is_left_free() -> None:
    """1 GiB of each card (common/common.h, fit_params_target)."""
    assert max(each.short for each in of_drawn()) < 512
