"""Bounds of a search: what all deployments of one tensor-parallel size hold at least, whatever their stages."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvcalc.deployment import MAX_RANKS, Deployment
from kvcalc.memory import Ranks
from kvcalc.named_tuple import NamedTuple
from kvcalc.verbs.searching.least_of_layers import LeastOfLayers

if TYPE_CHECKING:
    from collections.abc import Callable

    from kvcalc.engines import Temporary
    from kvcalc.verbs.searching.candidate import Candidate


class _Least(NamedTuple):
    """What some stages hold at least, on one of the tp ranks of each.

    Attributes:
        weights: in bytes, of these stages together.
        cache: likewise, where one replica has the whole batch.
        stages: how many they are.
    """

    weights: int
    cache: int
    stages: int


class Bounds:
    """What stages must hold at least: together, the weights and the cache of the tp ranks that have no stages.

    And some stage has as many layers as stages have on average, rounded up.

    Of an engine with a budget of its own it is known what it leaves alone of an accelerator, and that a rank holds no
    less than its share of the checkpoint and what its layers hold before anything is rounded.
    """

    def __init__(self, alone: Candidate, ranks: Ranks, sequences: int, figure: Callable[[Temporary], int]) -> None:
        (rank,) = alone.ranks
        scenario = ranks.scenario
        self._tp, self._ranks, self._figure = alone.deployment.tp, ranks, figure
        self._plain, self._sequences = scenario.engine.plain, sequences
        held = rank.cache_bytes if self._plain else rank.content_bytes
        self._cache = held(sequences, alone.context)
        self._weights = (rank.weights_bytes if self._plain else rank.own_weights.share_bytes) or 0
        self._of_layers = 0
        if (staged := ranks.weights_of(Deployment(self._tp, 2))) is not None:  # where copies may not be counted
            shares = [(part, sum(size // self._tp for size in sizes)) for part, sizes in staged.alike]
            self._weights = min(self._weights, sum(share for _, share in shares))
            self._of_layers = sum(share for part, share in shares if part.place == "layers" and part.split == "tp")
        if rank.settled.placement.first_layer:
            self._of_layers = 0
        self._layers, self._of_some = scenario.model.num_layers, LeastOfLayers(rank, sequences, alone.context)
        self._most_held = rank.settled.most_held
        self._mixed = scenario.workload.mix is not None  # replicas have requests of other lengths

    def most_headroom(self, pp: int) -> int:
        """The rank with the least headroom has no more than so much."""
        return self._most(pp) - max(-(-(each.weights + each.cache) // each.stages) for each in self._least(pp))

    def least_stages(self, most: int) -> int:
        """A number of stages below which there is not memory enough; beyond `most` where there never is."""
        if self._most_held is not None and self._sequences > self._most_held:
            return most + 1
        least_stages = 1
        while least_stages <= most and self.most_headroom(least_stages) < 0:
            each = self._most(least_stages) if self._plain else 0  # which is no more for more stages
            least_stages = max(least_stages + 1, -(-(self._weights + self._cache) // each) if each > 0 else 0)
        return least_stages

    def least_replicas(self, pp: int) -> int:
        """A number of replicas below which the batch is not held, each with weights of its own; 1 where that is all
        that can be said.
        """
        if self._mixed:
            return 1
        fewest, most = -(-self._sequences // self._most_held) if self._most_held else 1, self._most(pp)
        for each in self._least(pp):
            for_cache = each.stages * most - each.weights
            if for_cache > 0:
                fewest = max(fewest, -(-each.cache // for_cache))
            elif for_cache < 0 or each.cache:
                return MAX_RANKS + 1
        return fewest

    def _least(self, pp: int) -> tuple[_Least, ...]:
        """What all stages hold, and what the one with the most layers does."""
        held = -(-self._layers // pp)
        fullest = _Least(-(-self._of_layers * held // self._layers), self._of_some.of(held), 1)
        return _Least(self._weights, self._cache, pp), fullest

    def _most(self, pp: int) -> int:
        """What a rank has for weights and cache."""
        if self._plain:
            return self._ranks.most_for_weights_and_cache(Deployment(self._tp, pp), self._figure)
        return self._ranks.most_before_laid_out(Deployment(self._tp, pp), self._figure)
