"""Tokens that public start-up logs of vLLM print, given the memory for the cache that they print.

Memory is printed in GiB with two decimals, so the printed tokens must lie between those of the least and of the most
memory that is printed so. Logs of several pipeline stages are not here: they print the memory of one stage, and the
smallest decides.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import kvcalc

LOGS: list[dict[str, Any]] = json.loads(
    (Path(__file__).parents[1] / "data" / "vllm" / "printed-pools.json").read_text(encoding="utf-8")
)

DEPLOYMENT = ("tp", "dtype", "cache_dtype")
MODELS_NOT_YET_THERE = {"Qwen/Qwen3.5-9B", "nvidia/Nemotron-Cascade-2-30B-A3B"}
"""Models of logs that the catalogue lacks."""


def of_pool(log: dict[str, Any], gib: float) -> kvcalc.Capacity:
    settings = dict(log["settings"])
    own = {name: settings.pop(name) for name in DEPLOYMENT if name in settings}
    context = settings.pop("max_model_len")
    option = {name.replace("_", "-"): str(value).lower() for name, value in settings.items()}
    return kvcalc.capacity(
        log["model"],
        engine=f"vllm@{log['version']}",
        engine_option=option,
        gpu=log["gpu"],
        context=context,
        cache_memory=round(gib * 2**30),
        **own,
    )


@pytest.mark.parametrize(
    "log",
    [each for each in LOGS if each["model"] not in MODELS_NOT_YET_THERE],
    ids=lambda log: f"{log['model']}-{log['version']}-{log['pool_gib']}",
)
def test_tokens_are_as_printed(log: dict[str, Any]) -> None:
    least, most = of_pool(log, log["pool_gib"] - 0.005), of_pool(log, log["pool_gib"] + 0.005)
    assert least.tokens is not None
    assert most.tokens is not None
    assert least.tokens <= log["tokens"] <= most.tokens
    if "concurrency" in log:
        assert least.concurrency is not None
        assert most.concurrency is not None
        assert least.concurrency - 0.005 <= log["concurrency"] <= most.concurrency + 0.005


def test_each_log_has_its_source() -> None:
    assert all(log["source"] for log in LOGS)
    assert {log["model"] for log in LOGS} >= MODELS_NOT_YET_THERE
