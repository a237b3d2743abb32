"""What a scenario leaves to a search: the best of a few GPUs, or the smallest deployment that holds the weights."""

from __future__ import annotations

from dataclasses import asdict, replace
from typing import TYPE_CHECKING

from kvcalc.deployment import Deployment
from kvcalc.errors import KvcalcError
from kvcalc.memory import Fit
from kvcalc.note import note
from kvcalc.scenario import Workload
from kvcalc.verbs.searching.candidate import evaluate
from kvcalc.verbs.searching.capacity_search import usual
from kvcalc.verbs.searching.deployment_search import best_of, smallest

if TYPE_CHECKING:
    from kvcalc.scenario import GpuLimit, Scenario
    from kvcalc.verbs.searching.candidate import Candidate


def resolve(scenario: Scenario) -> Scenario:
    """The scenario with a deployment in place of its requests, and a note that says which; as it is without any.

    A `gpu_limit` becomes the best legal deployment of that many GPUs. With `spill`, a deployment that nobody gave
    becomes the smallest that holds the weights: on any larger one there may be nothing to spill.

    Raises:
        KvcalcError: the weights are not known; with `spill`, nothing holds them.
    """
    if scenario.gpu_limit is not None:
        return _with_best(scenario, scenario.gpu_limit)
    if scenario.spill and scenario.deployment is None:
        return _holding_the_weights(scenario)
    return scenario


def refuse_unknown_weights(scenario: Scenario) -> None:
    """Without weights no deployment is the best.

    Raises:
        KvcalcError: a best deployment is requested, and the weights are not known or the format fits no split.
    """
    if scenario.gpu_limit is not None:
        _alone(scenario, scenario.gpu_limit)


def _alone(scenario: Scenario, limit: GpuLimit) -> Candidate:
    single = evaluate(scenario, Deployment(dp=limit.dp))  # also refuses a format that no split can store
    if not single.weights_known:
        raise KvcalcError("--gpus: the best deployment depends on the weights: give --weights SIZE or --parameters N")
    return single


def _with_best(scenario: Scenario, limit: GpuLimit) -> Scenario:
    single = _alone(scenario, limit)
    best = best_of(scenario, limit.gpus, limit.dp) or single
    deployment = best.deployment
    text = f"--gpus {limit.gpus}: {deployment.gpus} in use, as {deployment}"
    if best.fit is Fit.NO:
        enough = smallest(scenario)
        text += "; they do not hold the workload"
        text += f", {enough.deployment.gpus:,} do ({enough.deployment})" if enough else ""
    taken = note("best-of-gpus", text, at_most=limit.gpus, gpus=deployment.gpus, **asdict(deployment))
    return replace(scenario, deployment=deployment, gpu_limit=None, notes=(*scenario.notes, taken))


def _holding_the_weights(scenario: Scenario) -> Scenario:
    """With the smallest deployment that holds one token: what is to be spilled finds no headroom on it."""
    if not evaluate(scenario, Deployment()).weights_known:
        raise KvcalcError(
            "--spill: what is left beside the weights is not known: give --weights SIZE or --parameters N"
        )
    found = smallest(replace(scenario, workload=Workload(1, 1), shared_prefix=0), figure=usual)
    if found is None:
        raise KvcalcError(
            "--spill: no legal deployment holds weights, temporary memory, overhead and reserves; cache alone can "
            "go to host memory"
        )
    taken = note(
        "smallest-deployment",
        f"spill: {found.deployment} is used, the smallest deployment that holds the weights (--tp N sets it)",
        holds="the weights",
        **asdict(found.deployment),
    )
    return replace(scenario, deployment=found.deployment, notes=(*scenario.notes, taken))
