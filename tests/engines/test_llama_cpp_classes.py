"""Shapes with the dims of published models, read from keys of GGUF, beside what llama.cpp b11549 reserves for them.

tests/live/write_llama_cpp_classes.py writes its figures. Nothing of kvcalc is in them.
"""

from __future__ import annotations

import json
import statistics
from pathlib import Path
from typing import Any

import pytest
from llama_cpp_shapes import CLASS_RUNS

import kvcalc
from kvcalc.engines import Load
from kvcalc.importers.gguf.header import Header
from kvcalc.importers.gguf.read import model_of_header
from kvcalc.mechanisms import GQA, MHA
from kvcalc.memory import Ranks
from kvcalc.model.layers import LayerGroup

MIB = 2**20
PATH = Path(__file__).parents[1] / "data" / "llama_cpp" / "classes.json"
MODELS: dict[str, Any] = json.loads(PATH.read_text(encoding="utf-8"))["models"]
OF_RUN = {run.name: run for run in CLASS_RUNS}
FAR_OFF = {
    "falcon-h1-1.5b": 0.31,
    "falcon-h1-34b": 0.22,
    "nemotron-h-8b": 0.18,
    "plamo2-8b": 0.26,
}
"""Where a buffer is further off: attention and a state-space block side by side, for which there is a range; one that
one slot needs less for; and of 16 slots Mamba-1's, whose part is not counted."""


def model_of(keys: dict[str, Any]) -> kvcalc.Model:
    arch = keys["arch"]
    named = {f"{arch}.{name}": value for name, value in keys.items() if name not in {"arch", "vocab"}}
    values = {"general.architecture": arch, f"{arch}.vocab_size": keys["vocab"], **named}
    return model_of_header(Header(values, ()), arch, arch, {}).model


def differences(name: str) -> list[tuple[str, float, float]]:
    """Of each run that llama.cpp takes, how far the caches are off in MiB, and the buffer as a share."""
    model, found = model_of(MODELS[name]["keys"]), []
    keeps_k = any(tensor.name in {"k", "c_kv"} for tensor in model.cached_tensors)
    for run_name, printed in MODELS[name]["mib"].items():
        run = OF_RUN[run_name]
        asked = kvcalc.make_scenario(
            model,
            engine="llama-cpp",
            engine_option={"ubatch-size": str(run.ubatch)},
            cache_dtype=f"k={run.k},v={run.v}" if keeps_k else None,
            batch=run.slots,
            context=run.context,
        )
        if printed is None:
            with pytest.raises(kvcalc.KvcalcError, match="--cache-dtype"):
                Ranks(asked).settled(kvcalc.Deployment())
            continue
        layout = Ranks(asked).settled(kvcalc.Deployment())
        (stage,), load = layout.stages, Load(run.slots, run.context)
        buffer = layout.temporary(stage, load)
        assert buffer is not None
        off = layout.held_bytes(stage, load) / MIB - sum(printed[1:])
        found.append((run_name, off / len(printed), buffer.term.bytes / MIB / printed[0] - 1))
    return found


@pytest.mark.parametrize("name", MODELS)
def test_caches_are_as_printed_and_buffers_within_a_band(name: str) -> None:
    for run, cache, compute in differences(name):
        assert abs(cache) < 0.0051, run
        assert abs(compute) < FAR_OFF.get(name, 0.161), run


def test_most_buffers_are_exact() -> None:
    found = sorted(abs(compute) for name in MODELS for (_, _, compute) in differences(name))
    assert statistics.median(found) < 0.001
    assert found[9 * len(found) // 10] < 0.1


def settled(*kv_heads: int, flash: str) -> tuple[float, float]:
    """Caches and buffer in MiB of layers with 16 heads of 160, for which CUDA has no kernel."""
    kinds = [
        GQA(num_heads=16, num_kv_heads=each, head_dim=160) if each < 16 else MHA(num_heads=16, head_dim=160)
        for each in kv_heads
    ]
    layers = tuple(LayerGroup(count=1, attention=each) for each in kinds)
    model = kvcalc.Model(name="wide", dtype="bf16", hidden_size=2560, intermediate_size=6400, layers=layers)
    option = {"flash-attn": flash}
    asked = kvcalc.make_scenario(model, engine="llama-cpp", engine_option=option, context=8192)
    layout = Ranks(asked).settled(kvcalc.Deployment())
    (stage,), load = layout.stages, Load(1, 8192)
    buffer = layout.temporary(stage, load)
    assert buffer is not None
    return layout.held_bytes(stage, load) / MIB, buffer.term.bytes / MIB


def test_flash_attention_that_llama_cpp_turns_off_leaves_values_as_they_are_kept() -> None:
    """As b11549 prints them of such layers (deci): V as wide as the widest, or a copy of V that is transposed."""
    assert settled(16, 4, 4, 16, flash="off") == pytest.approx((260.0, 307.01), abs=0.02)
    assert settled(16, 4, 4, 16, flash="auto") == pytest.approx((200.0, 337.01), abs=0.02)


def test_states_alone_are_refused_as_llama_cpp_does() -> None:
    states = model_of(MODELS["rwkv7-2.9b"]["keys"])
    for flash, taken in (("auto", True), ("on", True), ("off", False)):
        asked: dict[str, Any] = {"engine": "llama-cpp", "engine_option": {"flash-attn": flash}, "cache_dtype": "q8_0"}
        scenario = kvcalc.make_scenario(states, context=8192, **asked)
        if taken:
            Ranks(scenario).settled(kvcalc.Deployment())
            continue
        with pytest.raises(kvcalc.KvcalcError, match="only with flash attention"):
            Ranks(scenario).settled(kvcalc.Deployment())


def test_a_class_that_attends_to_an_encoder_has_the_range_that_was_seen() -> None:
    """T5-large: 77.76 MiB were reserved at 512 cells, where its own layers hold 32.5."""
    keys = {"arch": "t5", "vocab": 32128, "block_count": 4, "embedding_length": 1024, "feed_forward_length": 4096}
    heads = {"head_count": 16, "head_count_kv": 16, "key_length": 64, "value_length": 64}
    model = model_of({**keys, **{f"attention.{name}": value for name, value in heads.items()}})
    layout = Ranks(kvcalc.make_scenario(model, engine="llama-cpp", context=512)).settled(kvcalc.Deployment())
    assert layout.temporary(layout.stages[0], Load(1, 512)) is None
