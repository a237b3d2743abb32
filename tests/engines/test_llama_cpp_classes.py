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
from kvcalc.memory import Ranks

MIB = 2**20
PATH = Path(__file__).parents[1] / "data" / "llama_cpp" / "classes.json"
MODELS: dict[str, Any] = json.loads(PATH.read_text(encoding="utf-8"))["models"]
OF_RUN = {run.name: run for run in CLASS_RUNS}
FAR_OFF = {"falcon-h1-1.5b": 0.31, "falcon-h1-34b": 0.22, "minicpm3-4b": 0.56, "cogvlm-17b": 0.19, "rwkv7-2.9b": 0.18}
"""Where a buffer is further off: parts side by side, attention that the host computes, two sets of weights, RWKV-7."""


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
