"""Weights in another format than their checkpoint's: what servers make of them themselves."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvcalc.errors import KvcalcError
from kvcalc.scenario import checkpoint_format

if TYPE_CHECKING:
    from kvcalc.scenario import Scenario

LEAST_FOR_FP8 = (8, 0)
"""Of Marlin's kernels (get_min_capability of vllm/model_executor/layers/quantization/fp8.py; likewise SGLang)."""


def quantization(scenario: Scenario, engine: str) -> str | None:
    """The value of --quantization; None where weights stay as their checkpoint has them.

    Raises:
        KvcalcError: the server makes no such weights of this checkpoint.
    """
    asked, model = scenario.weight_format, scenario.model
    if asked is None:
        return None
    own = checkpoint_format(model)
    if asked.name == own.name and not model.weights:
        return None
    plain = not model.weights and own.name in {"bf16", "fp16", "fp32"}
    if asked.name != "fp8" or not plain:
        of_it = "and makes fp8 of weights in bf16 or fp16" if plain else "which is quantised already"
        raise KvcalcError(
            f"--weight-dtype: {engine} loads weights in the format of their checkpoint, {of_it}; name a checkpoint in "
            f"{asked.name} as MODEL, or leave --weight-dtype out"
        )
    capability = scenario.gpu.compute_capability
    if capability is not None and capability < LEAST_FOR_FP8:
        raise KvcalcError(
            f"--weight-dtype: {engine} has no weights in fp8 on {scenario.gpu.name}, of compute capability "
            f"{capability[0]}.{capability[1]}; from 8.0 on it has"
        )
    return "fp8"
