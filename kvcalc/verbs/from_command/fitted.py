"""`vllm serve --max-model-len -1`: the server serves the model's longest context, or the longest that fits if less.

vllm/v1/core/kv_cache_planning.py, _auto_fit_max_model_len; kv_cache_utils.py before 0.33. Memory is measured before the
length is cut, so the blocks are those of the model's own length.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from kvcalc.engines import version_number
from kvcalc.errors import KvcalcError
from kvcalc.logs.launchers import OPTION
from kvcalc.note import note
from kvcalc.verbs.capacity import capacity

if TYPE_CHECKING:
    from kvcalc.scenario import Scenario
    from kvcalc.verbs.capacity_result import Capacity

SINCE = (0, 14)
"""vllm/config/model.py, ModelConfig.max_model_len: at least -1, or auto; above 0 in 0.13."""
NULL_BLOCK_SINCE = (0, 29)
"""The check leaves a block to BlockPool's null block (get_kv_cache_configs, check_memory); not in 0.28.

Before, the length that is found may be one that no request can reach.
"""


def fitted(scenario: Scenario, cache_memory: int | None) -> Capacity:
    """What the server holds, at the length that it finds.

    Args:
        scenario: of vLLM, with the model's own longest context.
        cache_memory: bytes for the cache of a rank, where they are given.

    Raises:
        KvcalcError: this version finds no length, or one that kvcalc does not follow.
    """
    version = scenario.engine.asked_version or scenario.engine.version or ""
    number = version_number(version) or ()
    if number < SINCE:
        raise KvcalcError(f"{OPTION}: vllm {version} takes no --max-model-len below 1; write a length, or leave it out")
    whole = capacity(scenario, cache_memory=cache_memory)
    length = whole.max_context
    if whole.sequences != 0 or not length:
        return whole
    told = f"{OPTION}: of the model's {scenario.workload.context:,} tokens not one sequence fits"
    step = f"write --max-model-len {length}, the longest that a request can reach"
    if number < NULL_BLOCK_SINCE:
        raise KvcalcError(f"{told}, and vllm {version} finds a length by rules that kvcalc does not follow; {step}")
    found = note(
        "context-fitted",
        f"--max-model-len is left to vllm {version}, which lowers it from {scenario.workload.context:,} to {length:,}: "
        "so much fits (--context N sets it)",
        model=scenario.workload.context,
        fitted=length,
    )
    shorter = replace(scenario, workload=replace(scenario.workload, context=length), notes=(*scenario.notes, found))
    result = capacity(shorter, cache_memory=cache_memory)
    if not result.sequences or (result.blocks, result.max_context) != (whole.blocks, length):
        raise KvcalcError(f"{told}, and at a shorter length memory divides otherwise; {step}")
    return result
