"""verify on a GPU: what only CUDA can show. Each case is a fresh process, since the allocator must be empty."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Any

import pytest
import torch

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU that torch can use")


def verify(*words: str, **environment: str) -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, "-m", "kvcalc", "verify", *words, "--device", "cuda", "--json"],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    printed: dict[str, Any] = json.loads(done.stdout)
    return printed


def checked(printed: dict[str, Any], name: str) -> list[tuple[int, int]]:
    return [(check["predicted"], check["measured"]) for check in printed["checks"] if check["name"] == name]


@pytest.mark.parametrize("expandable", ["False", "True"])
@pytest.mark.parametrize(
    ("words", "requested"),
    [
        (("llama-3-8b", "-c", "5121"), 671_219_712),
        (("deepseek-v3", "-c", "8192"), 575_668_224),
        (("falcon-7b", "-c", "511", "-b", "3"), 12_558_336),
        (("gemma-3-1b", "-c", "3000", "--cache-dtype", "q8_0"), 12_655_616),
    ],
    ids=["gqa", "mla", "mqa", "windows"],
)
def test_every_figure_of_the_allocator_is_as_predicted(words: tuple[str, ...], requested: int, expandable: str) -> None:
    printed = verify(*words, PYTORCH_CUDA_ALLOC_CONF=f"expandable_segments:{expandable}")
    assert checked(printed, "requested bytes") == [(requested, requested)]
    for name in ("allocated bytes", "reserved bytes"):
        [(predicted, measured)] = checked(printed, name)
        assert predicted == measured >= requested
    assert [rung["name"] for rung in printed["rungs"] if not rung["ran"]] == ["sharded"]


def test_ranks_take_turns_on_one_gpu() -> None:
    printed = verify("llama-3-8b", "-c", "1000", "--tp", "2")
    assert checked(printed, "requested bytes") == [(65_536_000, 65_536_000)] * 2
    assert len(checked(printed, "reserved bytes")) == 2


def test_a_setting_that_is_not_modelled_is_not_predicted() -> None:
    printed = verify("llama-3-8b", "-c", "100", PYTORCH_CUDA_ALLOC_CONF="max_split_size_mb:64")
    assert checked(printed, "requested bytes") == [(13_107_200, 13_107_200)]
    assert not checked(printed, "reserved bytes")
    allocator = next(rung for rung in printed["rungs"] if rung["name"] == "allocator")
    assert "max_split_size_mb" in allocator["about"]


def test_capacitys_limit_is_where_the_card_ends() -> None:
    # 0.92 x 40 GiB less 16,060,522,496 of weights, 1.5 GiB temporary and 0.8 GiB overhead: 20.97 GB, of 1 GiB each.
    printed = verify("llama-3-8b", "-c", "8192", "--boundary", "--gpu-memory", "40GiB")
    assert checked(printed, "boundary") == [(19, 19)]
    assert printed["workload"]["batch"] == 19


def test_small_sequences_at_the_limit_find_no_segment() -> None:
    """64 tensors whose segments are multiples of 2 MiB, and sequences of 16 MiB."""
    printed = verify("falcon-7b", "-c", "2048", "--boundary", "--gpu-memory", "40GiB")
    [(predicted, measured)] = checked(printed, "boundary")
    assert predicted == measured < printed["workload"]["batch"]
    (rung,) = (each for each in printed["rungs"] if each["name"] == "boundary")
    assert f"capacity says {printed['workload']['batch']:,}" in rung["about"]


def test_the_card_is_measured() -> None:
    measured = {one["name"]: one["measured"] for one in verify("llama-3-8b", "-c", "100")["measurements"]}
    assert measured["card memory"] == torch.cuda.mem_get_info()[1]
    assert measured["temporary memory"] > 0
