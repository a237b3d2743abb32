"""The search over legal deployments: the smallest that holds a workload, the best of a few GPUs, the most sequences."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from kvcalc.deployment import MAX_RANKS, Deployment
from kvcalc.engines import RankLoad
from kvcalc.errors import KvcalcError
from kvcalc.legality import legal_tps
from kvcalc.memory import Fit, RankMemory, Ranks, fit, fullest, overhead, rank_memories
from kvcalc.units import MAX_BATCH
from kvcalc.verbs.room import least, replica_of, usual

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from kvcalc.layers import Layer
    from kvcalc.memory.temporary import Temporary
    from kvcalc.scenario import Scenario


SEARCH_EFFORT = 50_000
"""Layers looked at: enough to try every number of pipeline stages of a model of 200 layers. The search must end soon on
any file."""


class Candidate(NamedTuple):
    """A deployment, what its ranks hold, and whether they fit."""

    deployment: Deployment
    memories: tuple[RankMemory, ...]
    fit: Fit

    @property
    def fullest(self) -> RankMemory:
        return fullest(self.memories)


def evaluate(scenario: Scenario, deployment: Deployment) -> Candidate:
    """What the deployment's ranks would hold of the scenario's workload."""
    memories = rank_memories(scenario, deployment)
    return Candidate(deployment, memories, fit(memories, scenario.usable_bytes))


def legal_tps_of_a_node(scenario: Scenario) -> list[int]:
    """Tensor-parallel sizes that are legal, stay within one node and leave rows that the format can store."""
    layers = scenario.model.distinct()
    legal = legal_tps(scenario.model, scenario.gpu.node_size)
    return [tp for tp in legal if _rows_can_be_stored(scenario, layers, tp)]


def _rows_can_be_stored(scenario: Scenario, layers: dict[Layer, int], tp: int) -> bool:
    try:
        scenario.engine.rank_cache(RankLoad(layers, tp, 1, 1, scenario.cache_format))
    except KvcalcError:
        return False
    return True


def smallest(scenario: Scenario) -> Candidate | None:
    """The fewest GPUs that hold the workload, fitting or tight; on ties the larger tp. None if nothing legal does it.

    One replica within a node comes first; pipeline stages where the largest tp is not enough or where they are allowed;
    more replicas only where no single one holds the batch.
    """
    tps = legal_tps_of_a_node(scenario)
    best = None
    if not scenario.allow_pp:
        best = _first_that_holds(scenario, (Deployment(tp) for tp in tps))
    return best or _smallest_pipeline(scenario, tps) or _smallest_with_replicas(scenario, tps)


def best_of(scenario: Scenario, gpus: int, dp: int = 1) -> Candidate | None:
    """The legal deployment of at most `gpus` GPUs with the most room to spare; None if `dp` replicas need more.

    Pipeline stages are used only where no tensor-parallel size alone holds the workload, or where they are allowed.
    """
    each = gpus // dp
    tps = [tp for tp in legal_tps_of_a_node(scenario) if tp <= each]
    if not tps:
        return None
    flat = [evaluate(scenario, Deployment(tp, 1, dp)) for tp in tps]
    if scenario.allow_pp or all(candidate.fit is Fit.NO for candidate in flat):
        layers = scenario.model.num_layers
        counts = {tp: [pp for pp in _stage_counts(layers, 2) if pp <= each // tp] for tp in tps}
        flat += [evaluate(scenario, Deployment(tp, pp, dp)) for tp in tps for pp in counts[tp]]
    return max(flat, key=_room_order)


def most_sequences(scenario: Scenario, deployment: Deployment) -> int:
    """The most sequences at the scenario's context that one replica holds, with the usual temporary figure."""
    return _most(scenario, deployment, usual)


def _most(scenario: Scenario, deployment: Deployment, temporary: Callable[[Temporary], int]) -> int:
    most = replica_of(scenario, deployment, temporary).most_sequences(scenario.workload.context)
    return MAX_BATCH if most is None else min(most, MAX_BATCH)


def _first_that_holds(scenario: Scenario, deployments: Iterator[Deployment]) -> Candidate | None:
    for deployment in deployments:
        candidate = evaluate(scenario, deployment)
        if candidate.fit is not Fit.NO:
            return candidate
    return None


def _smallest_pipeline(scenario: Scenario, tps: list[int]) -> Candidate | None:
    best: Candidate | None = None
    for tp in reversed(tps):
        for pp in _stage_counts(scenario.model.num_layers, _least_stages(scenario, tp)):
            deployment = Deployment(tp, pp)
            if best is not None and deployment.gpus >= best.deployment.gpus:
                break
            candidate = evaluate(scenario, deployment)
            if candidate.fit is not Fit.NO:
                best = candidate
                break
    return best


def _stage_counts(layers: int, least: int) -> Iterator[int]:
    """Numbers of stages to try, ascending: all, or in a very deep model, after many, those that shorten a stage."""
    dense = max(8, SEARCH_EFFORT // layers)
    for pp in range(least, layers + 1):
        if pp < least + dense or -(-layers // pp) < -(-layers // (pp - 1)):
            yield pp


def _least_stages(scenario: Scenario, tp: int) -> int:
    """A number of stages below which nothing can fit; beyond every legal one where none can.

    The stages together hold at least the weights and the cache of tp ranks, no stage holds less than one layer, and
    overhead does not shrink as ranks are added.
    """
    layers = scenario.model.num_layers
    whole = evaluate(scenario, Deployment(tp)).memories[0]
    divided = (whole.weights.bytes if whole.weights else 0) + whole.cache.bytes
    fixed = whole.total_with(whole.temporary.low) - divided - whole.overhead.bytes
    least = 1
    while least <= layers:
        overhead_bytes = overhead(tp * least, scenario.replacements.overhead).bytes
        room = scenario.usable_bytes - fixed - overhead_bytes
        bound = -(-divided // room) if room > 0 else layers + 1
        if bound <= least:
            break
        least = bound
    if least > layers:
        return least
    at_least = replace(scenario.replacements, overhead=overhead(tp * least, scenario.replacements.overhead).bytes)
    single = evaluate(replace(scenario, replacements=at_least), Deployment(tp, layers))
    return layers + 1 if single.fit is Fit.NO else least


def _smallest_with_replicas(scenario: Scenario, tps: list[int]) -> Candidate | None:
    """For each tp and number of stages the fewest replicas that hold the batch; the fewest GPUs of all of them."""
    batch, context, layers = scenario.workload.batch, scenario.workload.context, scenario.model.num_layers
    ranks, best, fewest = Ranks(scenario), None, tps[-1] * layers * MAX_RANKS
    for tp in reversed(tps):
        for pp in _stage_counts(layers, 1):
            most = min(MAX_RANKS, (fewest - 1) // (tp * pp))
            if most < 1:
                break
            replica = replica_of(scenario, Deployment(tp, pp), least, ranks)
            if replica.holds(-(-batch // most), context):
                best = Deployment(tp, pp, -(-batch // (replica.most_sequences(context) or batch)))
                fewest = best.gpus
    return None if best is None else evaluate(scenario, best)


def _room_order(candidate: Candidate) -> tuple[int, int, int]:
    """Greater is better: what fits before what is tight, then the most to spare, then the larger tp."""
    fits = [Fit.NO, Fit.TIGHT, Fit.FITS].index(candidate.fit)
    fullest_total = max(memory.tree.bytes for memory in candidate.memories)
    return fits, -fullest_total, candidate.deployment.tp
