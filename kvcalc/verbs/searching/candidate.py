"""A deployment that a search looks at: what its ranks hold of a workload, and whether they fit."""

from __future__ import annotations

from dataclasses import field
from functools import cached_property
from typing import TYPE_CHECKING

from kvcalc.deployment import MAX_RANKS, Deployment
from kvcalc.errors import KvcalcError
from kvcalc.memory import Fit, Rank, RankMemory, Ranks, memories_of
from kvcalc.noun import Noun, noun
from kvcalc.verbs.searching.capacity_search import least

if TYPE_CHECKING:
    from collections.abc import Callable

    from kvcalc.engines import Temporary
    from kvcalc.scenario import Scenario
    from kvcalc.scenario.mix import Lengths


@noun
class Candidate(Noun):
    """A deployment, what its ranks hold of a workload, and whether they fit. Terms are made when asked for."""

    deployment: Deployment
    fit: Fit
    sequences: int
    context: Lengths
    ranks: tuple[Rank, ...] = field(compare=False)
    plain: bool = True

    @property
    def weights_known(self) -> bool:
        return self.ranks[0].weights_bytes is not None

    @property
    def total_bytes(self) -> int | None:
        """Of the fullest rank; None where weights are not known."""
        return self.bytes_of(self.fullest_rank) if self.weights_known else None

    def bytes_of(self, rank: Rank) -> int:
        """All that a rank holds, with the usual temporary figure."""
        return rank.bytes_holding(self.sequences, self.context)

    @cached_property
    def largest_rank(self) -> Rank:
        """The rank with the least headroom; the first of equals."""
        return min(self.ranks, key=lambda rank: rank.headroom(self.sequences, self.context))

    @property
    def most_bytes(self) -> int:
        """What that rank holds."""
        return self.bytes_of(self.largest_rank)

    @property
    def least_headroom(self) -> int:
        """What that rank has left, with the usual temporary figure; below zero where it lacks as much."""
        return self.largest_rank.headroom(self.sequences, self.context)

    def holds(self, figure: Callable[[Temporary], int]) -> bool:
        """Whether every rank stays within what is usable, with that temporary figure."""
        if figure is least:
            return self.fit is not Fit.NO
        return all(rank_holds(rank, self.sequences, self.context, figure) for rank in self.ranks)

    @cached_property
    def fullest_rank(self) -> Rank:
        """The rank that results are of: by the plain formulas the one with the most cache, else the least headroom.

        Of equals the first.
        """
        if self.plain:
            return max(self.ranks, key=lambda rank: (rank.cache_bytes(self.sequences, self.context), -rank.stage))
        return self.largest_rank

    @cached_property
    def fullest(self) -> RankMemory:
        """What that rank holds."""
        return self.fullest_rank.holding(self.sequences, self.context)

    @cached_property
    def memories(self) -> tuple[RankMemory, ...]:
        """What a rank of each stage holds, first to last."""
        return memories_of(self.ranks, self.sequences, self.context)


def evaluate(scenario: Scenario, deployment: Deployment, ranks: Ranks | None = None) -> Candidate:
    """What the deployment's ranks would hold of the scenario's workload.

    Args:
        scenario: what is asked.
        deployment: over which ranks.
        ranks: of the scenario, where others of its deployments are looked at too.
    """
    each = (ranks or Ranks(scenario)).of(deployment)
    sequences, context = deployment.sequences(scenario.workload.batch), scenario.workload.lengths
    fits = [rank.fit(sequences, context) for rank in each]
    beyond = _takes_no_more(each[0], sequences)
    worst = Fit.NO if beyond or Fit.NO in fits else Fit.TIGHT if Fit.TIGHT in fits else Fit.FITS
    return Candidate(deployment, worst, sequences, context, each, scenario.engine.plain)


def refuse_more_than_held(scenario: Scenario, deployment: Deployment, ranks: Ranks) -> None:
    """An engine may take no more than so many sequences on a replica, whatever its memory.

    Raises:
        KvcalcError: more are asked for.
    """
    batch, most = scenario.workload.batch, ranks.settled(deployment).most_held
    if most is not None and deployment.sequences(batch) > most:
        replicas = -(-batch // most)
        raise KvcalcError(
            f"--batch: {scenario.engine.name} holds at most {most:,} sequences on a replica, whatever its memory, and "
            f"{batch:,} are asked for" + (f"; --dp {replicas} shares them out" if replicas <= MAX_RANKS else "")
        )


def _takes_no_more(rank: Rank, sequences: int) -> bool:
    most = rank.settled.most_held
    return most is not None and sequences > most


def rank_holds(rank: Rank, sequences: int, context: Lengths, figure: Callable[[Temporary], int]) -> bool:
    if _takes_no_more(rank, sequences):
        return False
    temporary = figure(rank.temporary_with(sequences, context))
    return rank.cache_bytes(sequences, context) <= rank.memory_for_cache(temporary)
