"""What a token and a state take in SGLang, against its own pools allocated on the CPU (0.5.23).

The memory of a cache here is all of its pools, with a page and a slot of states for padding.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import kvcalc

RUN = json.loads((Path(__file__).parents[1] / "data" / "sglang" / "pools.json").read_text(encoding="utf-8"))
LAYERS = {"llama-2-7b": 32, "llama-3.1-8b": 32, "deepseek-v3": 61, "deepseek-v3.2": 61}
TOKEN_OF_HYBRIDS = {
    ("qwen3-next-80b-a3b", 1): 24576,
    ("qwen3-next-80b-a3b", 4): 12288,
    ("kimi-linear-48b-a3b", 1): 8064,
}
"""Bytes on a rank: 12 layers of 2 heads of 256 (one a rank with four), 7 of 576 numbers."""


def tokens(memory: int, model: str, options: dict[str, Any], **own: Any) -> int:
    found = kvcalc.capacity(
        model,
        engine="sglang@0.5.23",
        engine_option={"mem-fraction-static": "0.9", **options},
        gpu="h200",
        cache_memory=memory,
        **own,
    )
    assert found.tokens is not None
    return found.tokens


@pytest.mark.parametrize(
    "run", RUN["pools"], ids=lambda run: f"{run['model']}-{run['settings'].get('cache_dtype', 'auto')}"
)
def test_a_token_is_as_wide_as_in_the_pool(run: dict[str, Any]) -> None:
    size, page, layers = (run["pool"][name] for name in ("size", "page_size", "layer_num"))
    token = run["bytes"] * LAYERS[run["model"]] // (layers * (size + page))
    memory, options = token * (size + page), {"page-size": str(page)}
    assert tokens(memory, run["model"], options, **run["settings"]) == size
    assert tokens(memory - 1, run["model"], options, **run["settings"]) == size - page


@pytest.mark.parametrize("run", RUN["states"], ids=lambda run: f"{run['model']}-{run['tp']}")
def test_a_state_is_as_wide_as_in_the_pool(run: dict[str, Any]) -> None:
    slots, kept = 9, 4096
    memory = (slots + 1) * run["bytes"] + (kept + 1) * TOKEN_OF_HYBRIDS[run["model"], run["tp"]]
    options = {"max-mamba-cache-size": str(slots), "page-size": "1"}
    assert tokens(memory, run["model"], options, tp=run["tp"]) == kept
    assert tokens(memory - 1, run["model"], options, tp=run["tp"]) == kept - 1
