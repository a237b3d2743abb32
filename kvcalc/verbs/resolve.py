"""Deployments that are chosen for a scenario: the best of a few GPUs, the smallest that holds the weights."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from kvcalc.deployment import Deployment
from kvcalc.errors import KvcalcError
from kvcalc.memory import Fit
from kvcalc.scenario import Workload
from kvcalc.verbs.deployment_search import best_of, evaluate, smallest

if TYPE_CHECKING:
    from kvcalc.scenario import Scenario


def with_gpus(asked: Scenario, gpus: int, dp: int) -> Scenario:
    """With the best legal deployment of at most so many GPUs, in so many replicas."""
    if gpus < dp:
        raise KvcalcError(f"--gpus: {gpus} are fewer than the {dp} replicas of --dp")
    single = evaluate(asked, Deployment(dp=dp))  # also refuses a format that no split can store
    if single.fullest.weights is None:
        raise KvcalcError("--gpus: the best deployment depends on the weights: give --weights SIZE or --parameters N")
    best = best_of(asked, gpus, dp) or single
    deployment = best.deployment
    remark = f"--gpus {gpus}: {deployment.gpus} in use, as {deployment}"
    if best.fit is Fit.NO:
        enough = smallest(asked)
        remark += "; they do not hold the workload"
        remark += f", {enough.deployment.gpus:,} do ({enough.deployment})" if enough else ""
    return replace(asked, deployment=deployment, at_most_gpus=gpus, remarks=(*asked.remarks, remark))


def holding_the_weights(asked: Scenario) -> Scenario:
    """With the smallest deployment that holds one token: what is to be spilled finds no room on it."""
    single = evaluate(asked, Deployment()).fullest
    if single.weights is None:
        raise KvcalcError("--spill: the room beside the weights is not known: give --weights SIZE or --parameters N")
    usual = replace(asked.replacements, temporary=single.temporary.term.bytes)
    found = smallest(replace(asked, workload=Workload(1, 1), shared_prefix=0, replacements=usual))
    if found is None:
        raise KvcalcError(
            "--spill: no legal deployment holds weights, temporary memory, overhead and reserves; cache alone can "
            "go to the host's memory"
        )
    remark = f"spill: {found.deployment} is taken, the smallest deployment that holds the weights (--tp N sets it)"
    return replace(asked, deployment=found.deployment, remarks=(*asked.remarks, remark))
