"""Why a smaller deployment than those of a plan does not hold the workload."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from kvcalc.deployment import Deployment
from kvcalc.legality import why_tp_is_illegal
from kvcalc.noun import noun
from kvcalc.record import Record

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kvcalc.scenario import Scenario
    from kvcalc.verbs.planning.search import Search


MOST_ILLEGAL = 128
"""Illegal sizes up to this one are listed; nodes of more GPUs are not known."""

NOT_SERVED = "not served: "
"""Begins the reason of a size that is legal, and that the engine refuses."""


@noun
class Rejected(Record):
    """A way to spread a replica that is smaller than the smallest deployment found.

    Attributes:
        pp: the most pipeline stages that the reason is of.
        legal: whether the model and the format of the cache can be split so.
    """

    gpu: str
    tp: int
    pp: int
    legal: bool
    reason: str


class Miss(NamedTuple):
    """What comes nearest where nothing holds the workload.

    Attributes:
        sequences: that all its replicas hold.
        lacks_bytes: of a replica's fullest rank, for one sequence more.
    """

    gpu: str
    deployment: Deployment
    sequences: int
    lacks_bytes: int


def rejected(search: Search, scenario: Scenario, fewest: int | None) -> Iterator[Rejected]:
    """Every tp of a node below `fewest` GPUs (or of all that may be used), and the most stages of each."""
    limits, gpu, cards = search.limits, scenario.gpu.name, scenario.gpu.number_together
    if cards is not None:
        yield from _together(search, scenario, cards) if fewest is None else ()
        return
    most = limits.max_gpus if fewest is None else _fewer(search, scenario, fewest) // (1 + limits.spare)
    kinds = [layer.attention for layer in scenario.model.distinct()]
    tps, asked = search.tps(scenario), limits.tps
    all_tps = {*tps, *range(1, min(scenario.gpu.node_size, MOST_ILLEGAL) + 1)}
    for tp in sorted(tp for tp in all_tps if tp <= most) if asked is None else asked:
        if tp not in tps:
            yield _not_tried(search, scenario, tp, why_tp_is_illegal(kinds, tp))
            continue
        if tp <= most and (limits.pps is None or 1 in limits.pps):
            yield Rejected(gpu, tp, 1, legal=True, reason=_reason(search, scenario, tp, 1))
        stages = search.stages_served(scenario, tp, most)
        if stages and search.tries_stages(scenario):
            yield Rejected(gpu, tp, stages[-1], legal=True, reason=_reason(search, scenario, tp, *stages))


def _fewer(search: Search, scenario: Scenario, fewest: int) -> int:
    """The most GPUs that are fewer: by whole nodes where those are asked for."""
    return fewest - (search.nodes(scenario).size if search.limits.whole_nodes else 1)


def _together(search: Search, scenario: Scenario, cards: int) -> Iterator[Rejected]:
    """Why the deployment over all of so many unlike cards does not hold the batch."""
    alone, limits = Deployment(pp=cards), search.limits
    if cards > limits.max_gpus or limits.spare:
        words = f"all {cards} cards make one deployment, and it has no spares"
    else:
        refused = search.ranks(scenario).why_not_served(alone)
        words = _reason(search, scenario, 1, cards) if refused is None else f"{NOT_SERVED}{refused}"
    yield Rejected(scenario.gpu.name, 1, cards, legal=True, reason=words)


def _not_tried(search: Search, scenario: Scenario, tp: int, illegal: str | None) -> Rejected:
    """A size that the model, the format of the cache or else the engine rules out."""
    if illegal is None and scenario.engine.plain:
        illegal = "the format of the cache cannot store a rank's share of a row"
    if illegal is not None:
        return Rejected(scenario.gpu.name, tp, 1, legal=False, reason=f"illegal: {illegal}")
    words = search.ranks(scenario).why_not_served(Deployment(tp)) or "not in this node"
    return Rejected(scenario.gpu.name, tp, 1, legal=True, reason=f"{NOT_SERVED}{words.removeprefix('--tp: ')}")


def nearest_miss(search: Search, scenario: Scenario) -> Miss | None:
    """What holds most of the batch, or lacks least for one sequence; None where not one replica may be used."""
    misses = [_miss(search, scenario, deployment) for deployment in search.widest(scenario)]
    return max(misses, key=lambda miss: (miss.sequences, -miss.lacks_bytes, -miss.deployment.gpus), default=None)


def _miss(search: Search, scenario: Scenario, deployment: Deployment) -> Miss:
    single = deployment if deployment.dp_attention else replace(deployment, dp=1)
    sequences = search.sequences(scenario, single)
    lacks = search.replica(scenario, single).lacks(sequences + 1, scenario.workload.lengths)
    shown = deployment if sequences else single
    return Miss(scenario.gpu.name, shown, sequences * shown.dp, lacks)


def _reason(search: Search, scenario: Scenario, tp: int, *stages: int) -> str:
    """Why replicas of tp x the most of these stages, which share tokens where they can, do not hold the batch."""
    workload, spare = scenario.workload, search.limits.spare
    deployment = Deployment(tp, stages[-1], dcp=search.dcps(scenario, tp, stages[-1])[-1])
    told = [f"pp {stages[-1]}"] if len(stages) > 1 else []
    told += [f"dcp {deployment.dcp}"] if deployment.dcp > 1 else []
    words = f"pp {stages[0]} to {stages[-1]}: none; " if len(stages) > 1 else ""
    words += f"with {' and '.join(told)} " if told else ""
    sequences = search.sequences(scenario, deployment)
    if sequences == 0:
        lacks = search.replica(scenario, deployment).lacks(1, workload.lengths)
        return f"{words}a GPU lacks {lacks:,} bytes for one sequence"
    needed = -(-workload.batch // sequences)
    gpus = search.nodes(scenario).gpus(tp, deployment.pp * (needed + spare))
    if needed == 1:
        beside = f"{spare:,} spare" if spare else "whole nodes"
        return f"{words}{'and' if told else 'with'} {beside} it is {gpus:,} GPUs"
    held = "1 sequence" if sequences == 1 else f"{sequences:,} sequences"
    spares = f" and {spare:,} spare" if spare else ""
    return f"{words}a replica holds {held}, so {workload.batch:,} need {needed:,} replicas{spares}: {gpus:,} GPUs"
