"""Bounds of a search: what all deployments of one tensor-parallel size hold at least, whatever their stages."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvcalc.deployment import MAX_RANKS, Deployment
from kvcalc.memory import Ranks

if TYPE_CHECKING:
    from collections.abc import Callable

    from kvcalc.engines import Temporary
    from kvcalc.verbs.candidate import Candidate


class Bounds:
    """What stages must hold at least: together, the weights and the cache of the tp ranks that have no stages."""

    def __init__(self, alone: Candidate, ranks: Ranks, sequences: int, figure: Callable[[Temporary], int]) -> None:
        (rank,) = alone.ranks
        self._tp, self._ranks, self._figure = alone.deployment.tp, ranks, figure
        self._weights = rank.weights_bytes or 0
        if (staged := ranks.weights_of(Deployment(self._tp, 2))) is not None:  # where copies may not be counted
            self._weights = min(self._weights, sum(size // self._tp for _, sizes in staged.alike for size in sizes))
        self._cache = rank.cache_bytes(sequences, alone.context)
        self._mixed = ranks.scenario.workload.mix is not None  # replicas have requests of other lengths
        self._unbounded = not ranks.scenario.engine.plain  # stages may have more memory where there are more of them

    def most_headroom(self, pp: int) -> int:
        """The rank with the least headroom has no more than so much."""
        return self._most(pp) - -(-(self._weights + self._cache) // pp)

    def least_stages(self, most: int) -> int:
        """A number of stages below which there is not memory enough; beyond `most` where there never is."""
        least_stages = 1
        if self._unbounded:
            return least_stages
        while least_stages <= most:
            each = self._most(least_stages)
            bound = -(-(self._weights + self._cache) // each) if each > 0 else most + 1
            if bound <= least_stages:
                break
            least_stages = bound
        return least_stages

    def least_replicas(self, pp: int) -> int:
        """A number of replicas below which the batch is not held, each with weights of its own; 1 where that is all
        that can be said.
        """
        if self._unbounded or self._mixed:
            return 1
        for_cache = pp * self._most(pp) - self._weights
        if for_cache > 0:
            return max(1, -(-self._cache // for_cache))
        return MAX_RANKS + 1 if for_cache < 0 or self._cache else 1

    def _most(self, pp: int) -> int:
        """What a rank has for weights and cache."""
        return self._ranks.most_for_weights_and_cache(Deployment(self._tp, pp), self._figure)
