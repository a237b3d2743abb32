"""Why a smaller deployment than those of a plan does not hold the workload."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from kvcalc.deployment import Deployment
from kvcalc.legality import why_tp_is_illegal
from kvcalc.units import format_size

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kvcalc.scenario import Scenario
    from kvcalc.verbs.plan_search import Search


class Rejected(NamedTuple):
    """A way to spread a replica that is smaller than the smallest deployment found.

    Attributes:
        pp: the most pipeline stages that the reason is of.
    """

    gpu: str
    tp: int
    pp: int
    reason: str


class Miss(NamedTuple):
    """What comes nearest where nothing holds the workload.

    Attributes:
        sequences: that the replica holds.
        lacks_bytes: of its fullest rank, for one sequence more.
    """

    gpu: str
    deployment: Deployment
    sequences: int
    lacks_bytes: int


def rejected(search: Search, scenario: Scenario, fewest: int | None) -> Iterator[Rejected]:
    """Every tp of a node below `fewest` GPUs (or of all that may be used), and the most stages of each."""
    most = search.limits.max_gpus if fewest is None else fewest - 1
    kinds = [layer.attention for layer in scenario.model.distinct()]
    tps = search.tps(scenario)
    gpu = scenario.gpu.name
    asked = search.limits.tp
    for tp in range(1, min(most, scenario.gpu.node_size) + 1) if asked is None else [asked]:
        if tp not in tps:
            reason = why_tp_is_illegal(kinds, tp) or "the format of the cache cannot store a rank's share of a row"
            yield Rejected(gpu, tp, 1, f"illegal: {reason}")
            continue
        if tp <= most and search.limits.pp in (None, 1):
            yield Rejected(gpu, tp, 1, _reason(search, scenario, Deployment(tp)))
        stages = [pp for pp in search.stage_counts(tp) if tp * pp <= most]
        if stages and search.limits.pp != 1 and search.tries_stages(scenario):
            words = f"pp {stages[0]} to {stages[-1]}: at most, " if len(stages) > 1 else ""
            yield Rejected(gpu, tp, stages[-1], words + _reason(search, scenario, Deployment(tp, stages[-1])))


def nearest_miss(search: Search, scenario: Scenario) -> Miss | None:
    """The replica that holds most, or lacks least for one sequence; None where none is small enough."""
    misses = []
    try_stages = search.limits.pp != 1 and search.tries_stages(scenario)
    for tp in search.tps(scenario):
        stages = [1, *(search.stage_counts(tp) if try_stages else ())][-1]
        if tp * stages <= search.limits.max_gpus:
            deployment = Deployment(tp, stages)
            sequences = search.sequences(scenario, deployment)
            lacks = search.replica(scenario, deployment).lacks(sequences + 1, scenario.workload.context)
            misses.append(Miss(scenario.gpu.name, deployment, sequences, lacks))
    return max(misses, key=lambda miss: (miss.sequences, -miss.lacks_bytes), default=None)


def _reason(search: Search, scenario: Scenario, deployment: Deployment) -> str:
    workload = scenario.workload
    sequences = search.sequences(scenario, deployment)
    if sequences == 0:
        lacks = format_size(search.replica(scenario, deployment).lacks(1, workload.context), "GiB")
        return f"a GPU lacks {lacks} GiB for one sequence"
    needed = -(-workload.batch // sequences)
    gpus = search.gpus(Deployment(deployment.tp, deployment.pp, needed))
    held = "1 sequence" if sequences == 1 else f"{sequences:,} sequences"
    if needed == 1:
        return f"with {search.limits.spare} spare it is {gpus:,} GPUs"
    return f"a replica holds {held}, so {workload.batch:,} need {needed:,} replicas: {gpus:,} GPUs"
