"""Figures that functions of vLLM 0.33.0's planner and of its states gave for specifications that were made by hand.

A second way beside test_vllm_vectors.py, where vLLM makes the specifications itself of a model's config.json. Models
are of the catalogue, or dims. Those named `odd` were planned of a config.json too: heads, layers and windows that no
model has, uneven stages, and pools of a few blocks.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from vllm_vectors import DATA, figures_of_kvcalc

import kvcalc

FACTS: list[dict[str, Any]] = json.loads((DATA / "planner-facts.json").read_text(encoding="utf-8"))
WHOLE = 40 * 2**30


@pytest.mark.parametrize("fact", FACTS, ids=lambda fact: fact["id"])
def test_the_planner_and_kvcalc_agree(fact: dict[str, Any], tmp_path: Path) -> None:
    model = fact["model"]
    if isinstance(model, dict):
        path = tmp_path / ("model.json" if "architectures" in model else "model.yaml")
        path.write_text(json.dumps(model), encoding="utf-8")
        model = path
    found = figures_of_kvcalc(model, fact["version"], fact["settings"], fact.get("memory", WHOLE), {}, fact["gpu"])
    expected = dict(fact["expect"])
    state = expected.pop("state_bytes", None)
    if state is not None:
        expected["request_bytes"] = 2 * state  # that of a sequence, and the null block
    assert {name: found[name] for name in expected} == expected


def test_the_longest_context_that_fits() -> None:
    """_estimate_max_model_len_from_groups of what is left beside the null block."""
    llama = kvcalc.capacity("llama-3.1-8b", engine="vllm@0.33", cache_memory=10_737_418_240, context=8192)
    assert llama.max_context == 81_904
    gemma = kvcalc.capacity("gemma-3-27b", engine="vllm@0.33", cache_memory=16_106_127_360, context=8192)
    assert gemma.max_context == 92_048
