"""What vLLM 0.33's own model classes have on a rank, and what kvcalc says of the same.

The records were written by vLLM's code itself, which made the classes on the meta device: tests/live/vllm_weights.py,
and `make test-live` asks it again. What vLLM makes only after loading is not among them.
"""

from __future__ import annotations

import json
from typing import Any

import pytest
from vllm_vectors import DATA

import kvcalc
from kvcalc.memory import rank_memories

VERSION = "0.33"
RECORDS: list[dict[str, Any]] = json.loads((DATA / f"weights-{VERSION}.json").read_text(encoding="utf-8"))["records"]

AFTER_LOADING = ("rounding of PyTorch's allocator", "latent up-projections, not quantised")
"""Rows of what is not there yet when the classes are made."""

KNOWN = {
    # Tables of rotations in fp32, and a second one for the indexer, where kernels of FlashInfer rotate.
    "deepseek-ai/DeepSeek-V3.2": 4 * 163_840 * 64 * 4,
    # Tables of short contexts beside those of long ones.
    "microsoft/Phi-3.5-mini-instruct": 4_096 * 96 * 2,
    "microsoft/Phi-4-mini-instruct": 4_096 * 96 * 2,
    # Scales of blocks that a rank's share of an expert ends within.
    "MiniMaxAI/MiniMax-M2.5": 21 * 10**6,
    # Parameters of Mamba-2 in fp32: A, D and the bias of its steps.
    "nvidia/Nemotron-H-56B-Base-8K": 3 * 10**6,
}
"""Bytes that kvcalc leaves out."""

OF_TOWERS = 12 * 10**6
"""Of towers' position and patch embeddings, which no part of a list has apart, and every rank has whole."""
SMALL = 2**20
"""Matrices of few rows, such as gates of one column."""
UNLIKE_LAYERS = 0.0035
"""Of a stage's bytes, where layers without experts, or of states, have other matrices than others have."""


def counted(model: str, deployment: dict[str, int]) -> int:
    """Bytes of kvcalc, of the first rank of a stage."""
    options: dict[str, Any] = {name: value for name, value in deployment.items() if name != "stage"}
    scenario = kvcalc.make_scenario(model, context=4096, engine=f"vllm@{VERSION}", gpu="h100-sxm", **options)
    stages = rank_memories(scenario, scenario.deployment or kvcalc.Deployment())
    weights = stages[deployment.get("stage", 0) if len(stages) > 1 else 0].weights
    assert weights is not None
    return sum(part.bytes for part in getattr(weights, "parts", ()) if part.path not in AFTER_LOADING)


def test_there_are_many() -> None:
    assert len(RECORDS) >= 200
    assert len({each["model"] for each in RECORDS}) >= 40


@pytest.mark.parametrize("model", sorted({each["model"] for each in RECORDS}))
def test_kvcalc_says_what_the_classes_have(model: str) -> None:
    """To the bytes of vectors and scalars, norms and biases, of which ranks have more than a share."""
    wrong = []
    own = kvcalc.load_model(model)
    unlike = len(own.distinct()) > 1 or own.first_with_experts > 0
    for record in RECORDS:
        if record["model"] != model:
            continue
        deployment, said = record["deployment"], record["says"]
        lacking = said["bytes"] - counted(model, deployment)
        spread = SMALL + int(UNLIKE_LAYERS * said["bytes"] if "pp" in deployment and unlike else 5e-6 * said["bytes"])
        more = said["vectors"] + (OF_TOWERS if own.has_towers else 0) + KNOWN.get(model, 0)
        if not -spread <= lacking <= more + spread:
            wrong.append(f"{deployment}: {lacking:,} of {said['bytes']:,} lack, {said['vectors']:,} are vectors")
    assert not wrong, "\n".join(wrong)
