"""How many layers an accelerator holds, of an engine that can leave others in host memory."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from kvcalc.errors import KvcalcError
from kvcalc.memory import ranks_of
from kvcalc.verbs.capacity_search import largest

if TYPE_CHECKING:
    from kvcalc.deployment import Deployment
    from kvcalc.scenario import Scenario

OPTION = "n-gpu-layers"


def most_gpu_layers(scenario: Scenario, deployment: Deployment) -> int | None:
    """The most layers that fit on the accelerators with the scenario's workload; the output head counts as one.

    None of an engine that keeps all of them there.
    """
    if OPTION not in scenario.engine.options:
        return None

    every = scenario.model.num_layers + 1  # of these no matrix is copied to the card: it may need less

    def holds(layers: int) -> bool:
        given = {**dict(scenario.engine.given), OPTION: layers}
        engine = replace(scenario.engine, given=tuple(sorted(given.items())))
        try:
            ranks = ranks_of(replace(scenario, engine=engine), deployment)
        except KvcalcError:  # too few for one of the cards to have any
            return layers < every // 2
        sequences, context = deployment.sequences(scenario.workload.batch), scenario.workload.lengths
        return all(rank.headroom(sequences, context) >= 0 for rank in ranks)

    return every if holds(every) else largest(holds, every - 1, every // 2)
