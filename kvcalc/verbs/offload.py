"""How many layers an accelerator holds, of an engine that can leave others in the host's memory."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from kvcalc.memory import ranks_of
from kvcalc.verbs.capacity_search import largest

if TYPE_CHECKING:
    from kvcalc.deployment import Deployment
    from kvcalc.scenario import Scenario

OPTION = "n-gpu-layers"


def most_gpu_layers(scenario: Scenario, deployment: Deployment) -> int | None:
    """The most layers that fit on one accelerator with the scenario's workload; the output head counts as one.

    None of an engine that keeps all of them there, and of several accelerators.
    """
    if OPTION not in scenario.engine.options or deployment.ranks > 1:
        return None

    def holds(layers: int) -> bool:
        given = {**dict(scenario.engine.given), OPTION: layers}
        engine = replace(scenario.engine, given=tuple(sorted(given.items())))
        (rank,) = ranks_of(replace(scenario, engine=engine), deployment)
        return rank.headroom(deployment.sequences(scenario.workload.batch), scenario.workload.context) >= 0

    every = scenario.model.num_layers + 1  # of these no matrix is copied to the card: it may need less
    return every if holds(every) else largest(holds, every - 1, every // 2)
