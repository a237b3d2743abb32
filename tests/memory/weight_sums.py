"""Weights of a model and of its stages, as an estimate says them, and models that list their parts."""

from __future__ import annotations

from typing import Any

import kvcalc
from kvcalc.mechanisms import MHA
from kvcalc.memory import rank_memories
from kvcalc.model.layers import LayerGroup
from kvcalc.model.model import WeightPart

TWO_HEADS = MHA(num_heads=2, head_dim=1)


def weights_of_stages(model: kvcalc.Model | str, **options: Any) -> list[int]:
    """Weights of one rank of each pipeline stage."""
    scenario = kvcalc.make_scenario(model, context=1, **options)
    stages = rank_memories(scenario, scenario.deployment or kvcalc.Deployment())
    return [memory.weights.bytes for memory in stages if memory.weights is not None]


def weights(model: kvcalc.Model | str, **options: Any) -> tuple[int | None, int | None]:
    """Of one replica, and of its fullest rank."""
    memory = kvcalc.estimate(model, context=1, **options).memory
    return memory.weights_bytes, memory.per_rank.weights_bytes


def listed(*parts: WeightPart, **dims: Any) -> kvcalc.Model:
    return kvcalc.Model(name="m", weights=parts, layers=(LayerGroup(count=3, attention=TWO_HEADS),), **dims)
