"""The smallest deployment for any batch at one context: the search over deployments, with its figures kept.

It looks at the same deployments in the same order as the search does (`deployment_search`), and takes the first of
those with the fewest GPUs. One that has no fewer GPUs and holds no more than an earlier one is never taken, and left
out. Of plain formulas alone, and where the search tries every number of stages.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvcalc.deployment import MAX_RANKS, Deployment
from kvcalc.units import MAX_BATCH
from kvcalc.verbs.searching.capacity_search import least
from kvcalc.verbs.searching.deployment_search import legal_tps_of_a_node

if TYPE_CHECKING:
    from kvcalc.memory import Rank, Ranks
    from kvcalc.scenario import Scenario


class SmallestTable:
    """What a replica of each deployment holds at a context."""

    def __init__(self, scenario: Scenario, ranks: Ranks, context: int) -> None:
        """What is known of a context.

        Raises:
            ValueError: how some cache grows there is not known.
        """
        tps, layers = legal_tps_of_a_node(scenario, ranks), scenario.model.num_layers
        self._beyond = tps[-1] * layers * MAX_RANKS if tps else 0
        self._flat = [] if scenario.allow_pp else [(tp, _held(ranks.of(Deployment(tp)), context)) for tp in tps]
        self._replicas: list[tuple[int, int, int, int]] = []
        for tp in reversed(tps):
            for pp in range(1, layers + 1):
                held = _held(ranks.of(Deployment(tp, pp)), context)
                if held and not any(gpus <= tp * pp and other >= held for gpus, other, _, _ in self._replicas):
                    self._replicas.append((tp * pp, held, tp, pp))

    def smallest(self, batch: int) -> Deployment | None:
        """The smallest that holds a batch: one replica within a node, else with stages, else several."""
        for tp, held in self._flat:
            if batch <= held:
                return Deployment(tp)
        single = [(gpus, -tp, pp) for gpus, held, tp, pp in self._replicas if batch <= held]
        if single:
            _, tp, pp = min(single)
            return Deployment(-tp, pp)
        best, fewest = None, self._beyond
        for gpus, held, tp, pp in self._replicas:
            dp = -(-batch // held)
            if dp <= MAX_RANKS and gpus * dp < fewest:
                best, fewest = (tp, pp, dp), gpus * dp
        return None if best is None else Deployment(*best)


def _held(ranks: tuple[Rank, ...], context: int) -> int:
    """The most sequences of a context that every rank holds with the least temporary memory, to the largest batch."""
    most = MAX_BATCH
    for rank in ranks:
        stretch = rank.stretch(context)
        if stretch is None:
            raise ValueError(context)
        start, step = stretch.held.over_sequences(context)
        memory = rank.memory_for_cache(least(rank.temporary))
        if step:
            most = min(most, max(0, (memory - start) // step))
        elif start > memory:
            most = 0
    return most
