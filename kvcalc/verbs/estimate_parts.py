"""The figures of an estimate that sweeps and other verbs ask for one by one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvcalc.deployment import Deployment
from kvcalc.legality import check_legal
from kvcalc.memory import Ranks, replica_weights
from kvcalc.named_tuple import NamedTuple
from kvcalc.verbs.estimate_result import MemoryResult, RankResult
from kvcalc.verbs.searching.candidate import Candidate, evaluate, refuse_more_than_held
from kvcalc.verbs.searching.capacity_search import replica_of, usual
from kvcalc.verbs.searching.replica import on_all_ranks

if TYPE_CHECKING:
    from collections.abc import Callable

    from kvcalc.engines import Temporary
    from kvcalc.scenario import Scenario


class LookedAt(NamedTuple):
    """What a scenario is answered from.

    Attributes:
        asked: the deployment asked for, or one rank.
        found: the smallest that holds the workload; None where nothing does, and where the weights are not known.
        shown: what is said first: the one asked for, else the smallest.
    """

    asked: Candidate
    found: Candidate | None
    shown: Candidate


def looked_at(scenario: Scenario, ranks: Ranks, find: Callable[[Scenario, Ranks], Candidate | None]) -> LookedAt:
    """The deployments that a scenario, once resolved, is answered from.

    Args:
        scenario: what is asked.
        ranks: of its deployments.
        find: the smallest that holds the workload.

    Raises:
        KvcalcError: as `estimate` does.
    """
    deployment = scenario.deployment or Deployment()
    check_legal(deployment, scenario.model)
    asked = evaluate(scenario, deployment, ranks)
    found = find(scenario, ranks) if asked.weights_known else None
    if scenario.deployment is not None or found is None:
        refuse_more_than_held(scenario, deployment, ranks)
    return LookedAt(asked, found, asked if scenario.deployment is not None or found is None else found)


def sequences_held(scenario: Scenario, shown: Candidate, ranks: Ranks) -> int | None:
    """The most at the scenario's context, of all replicas; None where unbounded, and where weights are not known."""
    if not shown.weights_known:
        return None
    most = replica_of(scenario, shown.deployment, usual, ranks).most_sequences(scenario.workload.lengths)
    return None if most is None else shown.deployment.dp * most


def rank_of(candidate: Candidate) -> RankResult:
    """The memory of the rank that results are of."""
    memory, total = candidate.fullest, candidate.total_bytes
    fullest = candidate.fullest_rank
    return RankResult(
        weights_bytes=candidate.fullest_rank.weights_bytes,
        cache_bytes=memory.cache.bytes,
        temporary_bytes=memory.temporary.term.bytes,
        overhead_bytes=memory.overhead.bytes,
        reserve_bytes=memory.reserve.bytes,
        total_bytes=total,
        headroom_bytes=None if total is None else fullest.headroom(candidate.sequences, candidate.context),
        least_headroom_bytes=None if total is None else candidate.least_headroom,
        tree=memory.tree,
    )


class BesideCache(NamedTuple):
    """What a replica holds beside its cache.

    Attributes:
        weights_bytes: None where they are not known.
        temporary_bytes: with the usual figures.
    """

    weights_bytes: int | None
    temporary_bytes: int
    temporary_low_bytes: int
    temporary_high_bytes: int
    overhead_bytes: int
    reserve_bytes: int

    def total_with(self, cache: int) -> int | None:
        """All of it, with so many bytes of cache."""
        if self.weights_bytes is None:
            return None
        return self.weights_bytes + cache + self.temporary_bytes + self.overhead_bytes + self.reserve_bytes


def beside_cache(scenario: Scenario, asked: Candidate, ranks: Ranks) -> BesideCache:
    """What a replica of the deployment asked for holds beside its cache, without terms.

    Args:
        scenario: what is asked.
        asked: that deployment.
        ranks: of the scenario.
    """
    tp, held = asked.deployment.tp, (asked.sequences, asked.context)
    figures = [(tp * rank.stages_alike, rank.temporary_with(*held)) for rank in asked.ranks]
    (weights,) = ranks.once(_weights_of_a_replica, asked.deployment)
    if weights is not None:
        placed = scenario.engine.places_weights or any(rank.own_weights.host_bytes for rank in asked.ranks)
        of_ranks = (
            (rank.weights_bytes or 0) if placed else sum(term.bytes for term in rank.own_weights.excess)
            for rank in asked.ranks
        )
        weights = (0 if placed else weights) + on_all_ranks(asked.deployment, zip(asked.ranks, of_ranks, strict=True))
    return BesideCache(
        weights_bytes=weights,
        temporary_bytes=sum(number * figure.term.bytes for number, figure in figures),
        temporary_low_bytes=sum(number * figure.low for number, figure in figures),
        temporary_high_bytes=sum(number * figure.high for number, figure in figures),
        overhead_bytes=on_all_ranks(asked.deployment, ((rank, rank.overhead.bytes) for rank in asked.ranks)),
        reserve_bytes=asked.ranks[0].reserve.bytes * asked.deployment.ranks,
    )


def _weights_of_a_replica(scenario: Scenario, deployment: Deployment) -> tuple[int | None]:
    weights = replica_weights(scenario, deployment)
    return (None if weights is None else weights.bytes,)


def memory_of(beside: BesideCache, cache: int, per_rank: RankResult) -> MemoryResult:
    """The memory of a replica with so many bytes of cache."""
    return MemoryResult(
        weights_bytes=beside.weights_bytes,
        cache_bytes=cache,
        temporary_bytes=beside.temporary_bytes,
        overhead_bytes=beside.overhead_bytes,
        reserve_bytes=beside.reserve_bytes,
        total_bytes=beside.total_with(cache),
        temporary_low_bytes=beside.temporary_low_bytes,
        temporary_high_bytes=beside.temporary_high_bytes,
        per_rank=per_rank,
    )


def seen_range(figure: Temporary) -> tuple[int, int] | None:
    """The least and the most that was observed; None of a figure that is given."""
    return (figure.low, figure.high) if figure.is_range else None


def gpus_by_memory(total_bytes: int, usable_bytes: int) -> int:
    """The articles' formula: ceil(total / usable). A count by bytes alone is not a deployment."""
    return -(-total_bytes // usable_bytes)


def unsplit_rank(scenario: Scenario, ranks: Ranks) -> Candidate | None:
    """One rank without any splitting; None where the engine does not serve that."""
    return evaluate(scenario, Deployment(), ranks) if ranks.serves(Deployment()) else None
