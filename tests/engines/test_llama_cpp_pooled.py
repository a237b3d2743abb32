"""Indexers that pool their keys in llama.cpp, whose own printed sizes of b11549 are compared."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from pooled_index_files import glm, qwen

import kvcalc
from kvcalc.engines import Load
from kvcalc.errors import KvcalcError
from kvcalc.memory import Ranks

MIB = 2**20
QWEN, GLM = "Qwen3.8-Flash-Next", "GLM-5.3-Flash"
PRINTED: list[tuple[str, int, int, str | None, dict[str, str], list[float], float]] = [
    # model, context, slots, cache-dtype, options; MiB of keys and values, states, rows of indexers; compute buffer
    (QWEN, 4096, 1, None, {}, [96.0, 112.57, 24.0], 161.11),
    (QWEN, 65_536, 1, None, {}, [1536.0, 112.57, 384.0], 351.60),
    (QWEN, 262_144, 1, None, {}, [6144.0, 112.57, 1536.0], 1095.19),
    (QWEN, 262_144, 1, "q8_0", {}, [3264.0, 112.57, 816.0], 1631.46),
    (QWEN, 1_048_576, 1, None, {}, [24576.0, 112.57, 6144.0], 3517.29),
    (QWEN, 2048, 4, None, {}, [192.0, 450.28, 48.0], 160.29),
    (QWEN, 4096, 1, None, {"ubatch-size": "2048"}, [96.0, 112.57, 24.0], 643.16),
    (GLM, 4096, 1, None, {}, [44.0, 145.56, 33.0], 316.27),
    (GLM, 65_536, 1, None, {}, [704.0, 145.56, 528.0], 997.55),
    (GLM, 262_144, 1, None, {}, [2816.0, 145.56, 2112.0], 3521.23),
    (GLM, 262_144, 1, "q8_0", {}, [1496.0, 145.56, 1122.0], 3521.23),
    (GLM, 1_048_576, 1, None, {}, [11264.0, 145.56, 8448.0], 13751.98),
    (GLM, 2048, 4, None, {}, [88.0, 582.25, 66.0], 295.43),
    (GLM, 65_536, 1, None, {"ubatch-size": "1024"}, [704.0, 145.56, 528.0], 1990.45),
]
"""As a run of b11549 printed them, of metadata with these sizes (tests/live/llama_cpp_sizes.py, LlamaCpp)."""


@pytest.fixture
def files(tmp_path: Path) -> dict[str, str]:
    """Of both models."""
    found = {}
    for name, values in ((QWEN, qwen()), (GLM, glm())):
        path = tmp_path / f"{name}.json"
        path.write_text(json.dumps(values), encoding="utf-8")
        found[name] = str(path)
    return found


@pytest.mark.parametrize(("name", "context", "slots", "dtype", "options", "parts", "compute"), PRINTED)
def test_rows_are_as_printed_and_buffers_within_the_range(
    files: dict[str, str],
    name: str,
    context: int,
    slots: int,
    dtype: str | None,
    options: dict[str, str],
    parts: list[float],
    compute: float,
) -> None:
    asked = kvcalc.make_scenario(
        files[name], engine="llama-cpp", engine_option=options, cache_dtype=dtype, batch=slots, context=context
    )
    settled: Any = Ranks(asked).settled(kvcalc.Deployment())
    (stage,), load = settled.stages, Load(slots, context)
    assert abs(settled.held_bytes(stage, load) / MIB - sum(parts)) < 0.005 * len(parts)
    found = settled.temporary(stage, load)
    assert found is not None
    assert found.low <= compute * MIB <= found.high


@pytest.mark.parametrize(
    ("name", "parts"), [(QWEN, [6144.0, 337.71, 1536.0, 512.0, 128.0]), (GLM, [2816.0, 436.69, 2112.0, 256.0, 192.0])]
)
def test_layers_that_draft_have_rows_of_their_own(files: dict[str, str], name: str, parts: list[float]) -> None:
    """With n_rs_seq 2, and of ctx_type 1 of a file with a layer more, nextn_predict_layers."""
    found = kvcalc.estimate(files[name], engine="llama-cpp", mtp=2, context=262_144, weights=2**30)
    assert abs(found.cache.bytes_per_rank / MIB - sum(parts)) < 0.01 * len(parts)


def test_another_build_is_refused(files: dict[str, str]) -> None:
    with pytest.raises(kvcalc.KvcalcError, match="--engine llama-cpp@b11549"):
        kvcalc.estimate(files[QWEN], engine="llama-cpp@b11063", context=4096)


@pytest.mark.parametrize(
    ("model", "build", "first"),
    [
        ("deepseek-v3.2", "b10068", None),
        ("deepseek-v3.2", "b9538", "b10068"),
        ("glm-5", "b10229", None),
        ("glm-5", "b10068", "b10229"),
        ("glm-5.2", "b10566", None),
        ("glm-5.2", "b10229", "b10566"),
    ],
)
def test_builds_that_keep_other_keys_of_indexers_are_refused(model: str, build: str, first: str | None) -> None:
    """GLM-5.2 with 524,288 tokens has 9,984 MiB of them in b10229, in layers that read none; 2,688 in b10566."""
    asked: dict[str, Any] = {"engine": f"llama-cpp@{build}", "context": 2**19, "gpu": "h200-sxm"}
    if first is not None:
        with pytest.raises(KvcalcError, match=f"--engine llama-cpp@{first}"):
            kvcalc.estimate(model, **asked)
        return
    layers = {"deepseek-v3.2": (61, 61), "glm-5": (78, 78), "glm-5.2": (78, 21)}[model]
    assert kvcalc.estimate(model, **asked).cache.bytes == 2**19 * 2 * (layers[0] * 576 + layers[1] * 128)
