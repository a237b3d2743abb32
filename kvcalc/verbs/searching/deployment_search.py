"""The search over legal deployments: the smallest that holds a workload, the best of a few GPUs, the most sequences."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvcalc.deployment import MAX_RANKS, Deployment
from kvcalc.errors import KvcalcError
from kvcalc.memory import Fit, Ranks
from kvcalc.units import MAX_BATCH
from kvcalc.verbs.searching.candidate import Candidate, evaluate, rank_holds
from kvcalc.verbs.searching.capacity_search import fewest_of_a_mix, least, replica_of, usual
from kvcalc.verbs.searching.search_bounds import Bounds

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from kvcalc.engines import Temporary
    from kvcalc.scenario import Scenario

SEARCH_EFFORT = 50_000
"""Layers looked at: enough to try every number of pipeline stages of a model of 200 layers. The search must end soon on
any file."""


PATIENCE = 4
"""Numbers of stages that are tried before it is asked whether any could do."""


def legal_tps_of_a_node(scenario: Scenario, ranks: Ranks | None = None) -> tuple[int, ...]:
    """Tensor-parallel sizes that are legal, stay within one node and leave rows that the format can store."""
    return (ranks or Ranks(scenario)).tps_within(scenario.gpu.node_size)


def smallest(
    scenario: Scenario, ranks: Ranks | None = None, figure: Callable[[Temporary], int] = least
) -> Candidate | None:
    """The fewest GPUs that hold the workload; on ties the larger tp. None if nothing legal does it.

    One replica within a node comes first; pipeline stages where the largest tp is not enough or where they are allowed;
    more replicas only where no single one holds the batch.

    Args:
        scenario: what is asked.
        ranks: of the scenario, where others of its deployments are looked at too.
        figure: of temporary memory, with which it must hold: by default the least, so that what is tight counts.
    """
    search = _Search(scenario, ranks or Ranks(scenario), figure)
    if scenario.gpu.number_together is not None:
        return search.together(scenario.gpu.number_together)
    return search.flat() or search.pipeline() or search.with_replicas()


def best_of(scenario: Scenario, gpus: int, dp: int = 1, ranks: Ranks | None = None) -> Candidate | None:
    """The legal deployment of at most `gpus` GPUs with the most headroom; None if `dp` replicas need more.

    Pipeline stages are used only where no tensor-parallel size alone holds the workload, or where they are allowed.
    """
    if scenario.gpu.number_together is not None:
        return evaluate(scenario, Deployment(pp=scenario.gpu.number_together), ranks)
    return _Search(scenario, ranks or Ranks(scenario)).best_of(gpus // dp, dp)


def most_sequences(scenario: Scenario, deployment: Deployment, ranks: Ranks | None = None) -> int:
    """The most sequences at the scenario's context that one replica holds, with the usual temporary figure."""
    most = replica_of(scenario, deployment, usual, ranks).most_sequences(scenario.workload.lengths)
    return MAX_BATCH if most is None else min(most, MAX_BATCH)


class _Search:
    """Deployments of one scenario within nodes."""

    def __init__(self, scenario: Scenario, ranks: Ranks, figure: Callable[[Temporary], int] = least) -> None:
        self._scenario, self._ranks, self._figure = scenario, ranks, figure
        self._tps = legal_tps_of_a_node(scenario, ranks)
        self._layers = 1 if scenario.gpu.slice_of else scenario.model.num_layers  # slices share no model

    def together(self, cards: int) -> Candidate | None:
        """The deployment over all of so many unlike cards, where it holds the workload."""
        return self._evaluate(1, cards) if self._holds(1, cards) else None

    def flat(self) -> Candidate | None:
        """The smallest without pipeline stages, unless those are allowed from the start."""
        tps = [] if self._scenario.allow_pp else self._tps
        return next((found for tp in tps if (found := self._evaluate(tp)).holds(self._figure)), None)

    def pipeline(self) -> Candidate | None:
        """The smallest with pipeline stages."""
        best: Candidate | None = None
        batch = self._scenario.workload.batch
        for tp in reversed(self._tps):
            most = self._layers if best is None else (best.deployment.gpus - 1) // tp
            bounds = Bounds(self._evaluate(tp), self._ranks, batch, self._figure)
            least_stages = bounds.least_stages(most)
            for tried, pp in enumerate(_stage_counts(self._layers, least_stages)):
                if pp > most or (tried == PATIENCE and not self._can_hold(tp, least_stages)):
                    break
                if bounds.most_headroom(pp) >= 0 and self._holds(tp, pp):
                    best = self._evaluate(tp, pp)
                    break
        return best

    def with_replicas(self) -> Candidate | None:
        """For each tp and number of stages the fewest replicas that hold the batch; the fewest GPUs of all of them."""
        scenario = self._scenario
        batch, context = scenario.workload.batch, scenario.workload.lengths
        best, fewest = None, self._tps[-1] * self._layers * MAX_RANKS if self._tps else 0
        for tp in reversed(self._tps):
            bounds = Bounds(self._evaluate(tp), self._ranks, batch, self._figure)
            for pp in _stage_counts(self._layers, 1):
                most = min(MAX_RANKS, (fewest - 1) // (tp * pp))
                if most < 1:
                    break
                if bounds.least_replicas(pp) > most:
                    continue
                if not self._ranks.serves(Deployment(tp, pp)):
                    continue
                replica = replica_of(scenario, Deployment(tp, pp), self._figure, self._ranks)
                mixed = scenario.workload.mix is not None
                if mixed or replica.holds(-(-batch // most), context):
                    dp = 1 if mixed else -(-batch // (replica.most_sequences(context) or batch))
                    found = self._replicated(tp, pp, dp, most)
                    if found is not None:
                        best, fewest = found, found.gpus
        return None if best is None else evaluate(scenario, best, self._ranks)

    def _replicated(self, tp: int, pp: int, dp: int, most: int) -> Deployment | None:
        """So many replicas; where an engine leaves each of them less memory than one alone has, the first that do."""
        if self._scenario.workload.mix is not None:
            fewest = fewest_of_a_mix(lambda dp: self._held_by(Deployment(tp, pp, dp)), dp, most)
            return None if fewest is None else Deployment(tp, pp, fewest)
        if self._scenario.engine.plain:
            return Deployment(tp, pp, dp)
        several = (Deployment(tp, pp, each) for each in range(dp, min(most, dp + SEARCH_EFFORT // self._layers) + 1))
        return next((each for each in several if self._held_by(each)), None)

    def _held_by(self, deployment: Deployment) -> bool:
        served = self._ranks.serves(deployment)
        return served and evaluate(self._scenario, deployment, self._ranks).holds(self._figure)

    def best_of(self, gpus: int, dp: int) -> Candidate | None:
        """The one with the most headroom of so many GPUs a replica.

        Of those with stages, what looks best by sums over all stages comes first: once the sums alone leave less than
        the best has, nothing better is left.
        """
        best: Candidate | None = None
        tps = [tp for tp in self._tps if tp <= gpus and self._ranks.serves(Deployment(tp, 1, dp))]
        flat = [self._evaluate(tp, 1, dp) for tp in tps]
        for candidate in flat:
            best = _better(best, candidate)
        if best is None or not (self._scenario.allow_pp or best.fit is Fit.NO):
            return best
        promising = []
        for alone in flat:
            tp, bounds = alone.deployment.tp, Bounds(alone, self._ranks, alone.sequences, usual)
            for pp in _stage_counts(self._layers, 2):
                if tp * pp > gpus:
                    break
                if not self._ranks.serves(Deployment(tp, pp, dp)):
                    continue
                promising.append((-bounds.most_headroom(pp), -tp, pp))
        for at_most, tp, pp in sorted(promising):
            if -at_most < best.least_headroom:
                break
            best = _better(best, self._evaluate(-tp, pp, dp))
        return best

    def _can_hold(self, tp: int, least_stages: int) -> bool:
        """Whether that many stages or more could hold the workload.

        No stage holds less than one layer, and by plain formulas more of them leave no more memory for it.
        """
        if not self._scenario.engine.plain:
            return True
        single = self._evaluate(tp, self._layers)
        figure, most = self._figure, self._ranks.most_for_weights_and_cache
        more = most(Deployment(tp, least_stages), figure) - most(Deployment(tp, self._layers), figure)
        rank = single.largest_rank
        headroom = rank.headroom(single.sequences, single.context) + usual(rank.temporary) - figure(rank.temporary)
        return headroom + more >= 0

    def _holds(self, tp: int, pp: int) -> bool:
        """Whether every rank has memory enough; the first that has not decides."""
        deployment, workload = Deployment(tp, pp), self._scenario.workload
        try:
            ranks = self._ranks.of(deployment)
            return all(rank_holds(rank, workload.batch, workload.lengths, self._figure) for rank in ranks)
        except KvcalcError:
            return False

    def _evaluate(self, tp: int, pp: int = 1, dp: int = 1) -> Candidate:
        return evaluate(self._scenario, Deployment(tp, pp, dp), self._ranks)


def _stage_counts(layers: int, least: int) -> Iterator[int]:
    """Numbers of stages to try, ascending: all, or in a very deep model, after many, those that shorten a stage."""
    dense = max(8, SEARCH_EFFORT // layers)
    for pp in range(least, layers + 1):
        if pp < least + dense or -(-layers // pp) < -(-layers // (pp - 1)):
            yield pp


def _better(first: Candidate | None, second: Candidate) -> Candidate:
    """The one with the most to spare, then with the larger tp, then with fewer stages."""

    def order(candidate: Candidate) -> tuple[int, int, int]:
        return candidate.least_headroom, candidate.deployment.tp, -candidate.deployment.pp

    return second if first is None or order(second) > order(first) else first
