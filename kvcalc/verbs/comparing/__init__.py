"""The verb `compare`: one model under each attention mechanism; models, formats or engines side by side."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvcalc.errors import KvcalcError
from kvcalc.verbs.comparing.mechanisms import under_each_mechanism
from kvcalc.verbs.comparing.side_by_side import side_by_side
from kvcalc.verbs.searching.resolve import refuse_unknown_weights, resolve

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kvcalc.scenario import Scenario
    from kvcalc.verbs.comparing.result import Comparison


OF_MEDIA = ("image-tokens", "audio-tokens")
"""Codes of notes that tell of tokens in the context."""


def compare(scenarios: Sequence[Scenario]) -> Comparison:
    """One scenario under each mechanism, or several side by side.

    Raises:
        KvcalcError: no scenario, or several of different workloads or accelerators; a format that the model's own
            cache cannot have; a deployment that no row can have.
    """
    if not scenarios:
        raise KvcalcError("MODEL: missing; name a model (kvcalc models list)")
    for each in scenarios:
        refuse_unknown_weights(each)  # a row has its own best of a few GPUs
    scenarios = [each if each.gpu_limit else resolve(each) for each in scenarios]
    first = scenarios[0]
    if any(each.workload != first.workload for each in scenarios):
        if any(each.code in OF_MEDIA for scenario in scenarios for each in scenario.notes):
            raise KvcalcError(
                "--images, --audio: the models make different numbers of tokens of them, and are compared at one "
                "workload; ask kvcalc estimate of each MODEL"
            )
        told = ", ".join(dict.fromkeys(f"{each.workload.batch:,} x {each.workload.context:,}" for each in scenarios))
        raise KvcalcError(f"--context: models are compared at one workload, and theirs are {told}: give one (-c N)")
    if any(each.gpu != first.gpu for each in scenarios):
        raise KvcalcError("--gpu: models are compared on one accelerator, and these scenarios' differ")
    if first.gpu.number_together is not None:
        raise KvcalcError(
            f"--gpu: rows are compared on one kind of accelerator, and {first.gpu.name} are "
            f"{first.gpu.number_together} cards together; name one, or ask kvcalc estimate or capacity of each MODEL"
        )
    shares = {each.engine: each.utilization for each in scenarios}
    if any(each.utilization != shares[each.engine] for each in scenarios):
        raise KvcalcError("--utilization: models are compared at one share of the memory, and these scenarios' differ")
    return under_each_mechanism(first) if len(scenarios) == 1 else side_by_side(scenarios)
