"""Tokens that public start-up logs of SGLang print, given the memory of the pools that they print.

Memory is printed in GiB with two decimals, of keys, values and states each, so the printed tokens must lie between
those of the least and of the most memory that is printed so.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import kvcalc

LOGS: list[dict[str, Any]] = json.loads(
    (Path(__file__).parents[1] / "data" / "sglang" / "printed-pools.json").read_text(encoding="utf-8")
)
OF_KVCALC = ("tp", "cache_dtype")


def of_pool(log: dict[str, Any], gib: float) -> int:
    settings = dict(log["settings"])
    own = {name: settings.pop(name) for name in OF_KVCALC if name in settings}
    found = kvcalc.capacity(
        log["model"],
        engine=f"sglang@{log['version']}",
        engine_option={"mem-fraction-static": "0.9", **settings},
        gpu=log["gpu"],
        cache_memory=round(gib * 2**30),
        **own,
    )
    assert found.tokens is not None
    return found.tokens


@pytest.mark.parametrize("log", LOGS, ids=lambda log: log["model"])
def test_tokens_are_as_printed(log: dict[str, Any]) -> None:
    least, most = of_pool(log, log["pool_gib"] - 0.01), of_pool(log, log["pool_gib"] + 0.01)
    assert least <= log["tokens"] <= most
    assert most - least <= 0.003 * log["tokens"]


def test_each_log_has_its_source() -> None:
    assert all(log["source"] for log in LOGS)
