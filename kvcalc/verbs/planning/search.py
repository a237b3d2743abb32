"""The search of a plan: for every way to spread a replica, the fewest replicas that hold the batch.

More replicas than needed are no other plan. Deployments come out one by one, the fewest GPUs first: a way is looked at
once the bound of what it needs is reached, so that the search ends soon.
"""

from __future__ import annotations

from collections import deque
from dataclasses import replace
from heapq import heappop, heappush
from itertools import islice
from typing import TYPE_CHECKING, NamedTuple

from kvcalc.deployment import MAX_RANKS, Deployment
from kvcalc.verbs.planning.front import Offer, not_dominated
from kvcalc.verbs.planning.ways import Ways
from kvcalc.verbs.searching.capacity_search import fewest_of_a_mix, largest, least

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from kvcalc.scenario import Scenario
    from kvcalc.scenario.plan_request import Limits
    from kvcalc.verbs.planning.way import Shape, Way


class _Waiting(NamedTuple):
    """A way that needs so many GPUs at least, or one with a deployment that holds the batch. The first of all is next.

    Attributes:
        found: 0 of a way that is yet to be looked at: it comes before deployments of as many GPUs.
        place: in the order of a plan, which no two have in common.
    """

    gpus: int
    found: int
    place: tuple[int, ...]
    way: Way


class _Begun:
    """A search of one accelerator, and how far it has come.

    Attributes:
        waiting: a heap.
        shapes: whose ways do not wait yet, the fewest GPUs first.
    """

    def __init__(self, shapes: Iterable[Shape]) -> None:
        self.waiting: list[_Waiting] = []
        self.shapes = deque(shapes)


class Search(Ways):
    """Deployments of one model and workload that hold its batch."""

    def __init__(self, scenario: Scenario, limits: Limits) -> None:
        super().__init__(scenario, limits)
        self._begun: dict[str, _Begun] = {}

    def best(self, scenario: Scenario, most: int) -> list[Offer]:
        """The first so many offers on the scenario's accelerator, in the order of a plan, that no other dominates."""
        kept: list[Offer] = []
        for gpus, level in self.ascending(scenario):
            offers = [Offer(scenario, each, gpus, self.ranks(scenario)) for each in level]
            kept += islice(not_dominated(offers, kept), most - len(kept))
            if len(kept) >= most:
                break
        return kept

    def widest(self, scenario: Scenario) -> Iterator[Deployment]:
        """With as many replicas as may be used: of each tp, with no stages, with many and with the most of them."""
        if scenario.gpu.number_together is not None:
            alone = Deployment(pp=scenario.gpu.number_together)
            yield from [alone] if self.ranks(scenario).serves(alone) else []
            return
        try_stages = self.limits.pps != (1,) and self.tries_stages(scenario)
        wide = []
        for tp in self.tps(scenario):
            for pp in self._some_stages(scenario, tp) if try_stages else [1]:
                alone = Deployment(tp, pp, dcp=self.dcps(scenario, tp, pp)[-1])
                if (replicas := self.most_replicas(scenario, alone, share_experts=False)) >= 1:
                    wide.append(replace(alone, dp=replicas))
                replicas = self.most_replicas(scenario, alone, share_experts=True)
                if self.may_share_experts(scenario) and replicas > 1:
                    wide.append(self.shared(alone, replicas))
        yield from (each for each in wide if self.ranks(scenario).serves(each))

    def _some_stages(self, scenario: Scenario, tp: int) -> list[int]:
        if self.limits.pps is not None:
            return list(self.limits.pps)
        several = self.stages_served(scenario, tp, self.limits.max_gpus)
        return sorted({1, 1 << (several[-1].bit_length() - 1), several[-1]}) if several else [1]

    def fewest(self, scenario: Scenario) -> int | None:
        """The GPUs of the smallest deployment that holds the batch; None where none does.

        It ends at the first one that nothing can undercut, so that others of as many GPUs are not looked for.
        """
        if scenario.gpu.number_together is not None:
            return next((gpus for gpus, _ in self.ascending(scenario)), None)
        begun = self._begun[scenario.gpu.name] = _Begun(self.shapes(scenario))
        fewest: int | None = None
        while (first := self._first(scenario, begun)) is not None and (fewest is None or first.gpus < fewest):
            more = self._look(scenario, begun)
            if more is not None and more.found:
                fewest = more.gpus if fewest is None else min(fewest, more.gpus)
        return fewest

    def ascending(self, scenario: Scenario) -> Iterator[tuple[int, list[Deployment]]]:
        """Numbers of GPUs, ascending, and of every way that takes so many the deployment that holds the batch.

        What `fewest` has begun goes on from there.
        """
        if scenario.gpu.number_together is not None:
            together = self._together(scenario, scenario.gpu.number_together)
            yield from [(scenario.gpu.number_together, together)] if together else []
            return
        begun = self._begun.pop(scenario.gpu.name, None) or _Begun(self.shapes(scenario))
        level: list[Deployment] = []
        gpus = 0
        while (first := self._first(scenario, begun)) is not None:
            if level and first.gpus > gpus:
                yield gpus, level
                level = []
            if first.found:
                gpus = first.gpus
                level.append(self._deployment(heappop(begun.waiting).way))
            else:
                self._look(scenario, begun)
        if level:
            yield gpus, level

    def _first(self, scenario: Scenario, begun: _Begun) -> _Waiting | None:
        """What is next, once the ways of all sizes that may come before it wait too."""
        waiting, shapes = begun.waiting, begun.shapes
        while shapes and (not waiting or shapes[0].gpus <= waiting[0].gpus):
            _, tp, pp = shapes.popleft()
            for way in self.of_shape(scenario, tp, pp):
                heappush(waiting, self._placed(scenario, way, found=0))
        return waiting[0] if waiting else None

    def _look(self, scenario: Scenario, begun: _Begun) -> _Waiting | None:
        """Looks at the way that is next, and puts what comes of it in its place."""
        more = self._looked_at(scenario, heappop(begun.waiting).way)
        if more is not None:
            heappush(begun.waiting, more)
        return more

    def _placed(self, scenario: Scenario, way: Way, *, found: int) -> _Waiting:
        groups = way.pp * self.with_spares(way.least_replicas, share_experts=way.share_experts)
        place = (-way.tp, way.pp, int(way.share_experts), way.dcp)
        return _Waiting(self.nodes(scenario).gpus(way.tp, groups), found, place, way)

    def _deployment(self, way: Way) -> Deployment:
        if way.share_experts:
            return self.shared(way.alone, way.least_replicas)
        return replace(way.alone, dp=way.least_replicas)

    def _looked_at(self, scenario: Scenario, way: Way) -> _Waiting | None:
        """With the fewest replicas that hold the batch, or a better bound of them; None where no number does."""
        alone, serves = way.alone, self.ranks(scenario).serves
        most = self.most_replicas(scenario, alone, share_experts=way.share_experts)
        if not way.share_experts:
            fewest = self._replicas(scenario, alone, most) if serves(alone) else None
            return None if fewest is None else self._placed(scenario, way._replace(least_replicas=fewest), found=1)
        start = self.fewest_sharing(scenario, way)  # by sums, which take less time than to ask whether it is served
        if start > way.least_replicas:
            better = way._replace(least_replicas=start)
            return self._placed(scenario, better, found=0) if start <= most else None
        if not serves(alone) or not serves(self.shared(alone, 2)):
            return None
        end = self._before_doubling(scenario, alone.ranks, start, most)
        if self._shared_holds(scenario, alone, end):
            fewest = self._first_to_hold(scenario, alone, start, end)
            return self._placed(scenario, way._replace(least_replicas=fewest), found=1)
        beyond = self.beyond(scenario, alone, end)
        return self._placed(scenario, way._replace(least_replicas=beyond), found=0) if beyond <= most else None

    def _replicas(self, scenario: Scenario, alone: Deployment, most: int) -> int | None:
        """The fewest replicas that hold the batch; None where `most` do not."""
        if scenario.workload.mix is not None:  # how many replicas there are decides which requests each has
            return fewest_of_a_mix(lambda dp: self._served_and_holds(scenario, replace(alone, dp=dp)), 1, most)
        if not self.replica(scenario, alone).holds(-(-self._batch // most), self._context):
            return None
        fewest = -(-self._batch // self.sequences(scenario, alone))
        if scenario.engine.plain:
            return fewest
        numbers = (dp for dp in range(fewest, most + 1) if self._served_and_holds(scenario, replace(alone, dp=dp)))
        return next(numbers, None)

    def _together(self, scenario: Scenario, cards: int) -> list[Deployment]:
        """The one over all of so many unlike cards, where it holds the batch."""
        alone = Deployment(pp=cards)
        served = cards <= self.limits.max_gpus and not self.limits.spare and self._served_and_holds(scenario, alone)
        return [alone] if served else []

    def _served_and_holds(self, scenario: Scenario, deployment: Deployment) -> bool:
        return self.ranks(scenario).serves(deployment) and self.holds_its_share(scenario, deployment)

    def _first_to_hold(self, scenario: Scenario, alone: Deployment, start: int, end: int) -> int:
        return start + largest(lambda more: not self._shared_holds(scenario, alone, start + more - 1), end - start)

    def _shared_holds(self, scenario: Scenario, alone: Deployment, dp: int) -> bool:
        return self._served_and_holds(scenario, self.shared(alone, dp))

    def beyond(self, scenario: Scenario, alone: Deployment, dp: int) -> int:
        """The next number of replicas that may hold the batch, where so many that share the experts do not.

        More of them leave a rank no more than its experts and its temporary memory, and lay a cache out as these do.
        """
        shared, others = self.shared(alone, dp), scenario.workload.mix is not None or scenario.drafting is not None
        if scenario.engine.plain or others or not self.ranks(scenario).serves(shared):
            return dp + 1
        replica = self.replica(scenario, shared)
        freed = [
            memory
            + rank.own_weights.experts_bytes
            + sum(term.bytes for term in rank.own_weights.excess)
            + least(rank.temporary)
            for rank, memory in zip(replica.ranks, replica.cache_memory, strict=True)
        ]

        def may_hold(sequences: int) -> bool:
            ranks = zip(replica.ranks, freed, strict=True)
            return all(rank.cache_bytes(sequences, self._context) <= memory for rank, memory in ranks)

        most = largest(may_hold, shared.sequences(self._batch))
        return max(dp + 1, -(-self._batch // most)) if most else MAX_RANKS

    def _before_doubling(self, scenario: Scenario, ranks: int, dp: int, most: int) -> int:
        """The most replicas that share the experts of which each holds less than with fewer, from `dp` on.

        Overhead grows where the ranks double. An engine's own may grow otherwise: each number is one of its own.
        """
        return min(most, (1 << (ranks * dp - 1).bit_length()) // ranks) if scenario.engine.plain else dp


def order(deployment: Deployment) -> tuple[int, ...]:
    """Among deployments of as many GPUs: the larger tp first, then what is simpler."""
    return -deployment.tp, deployment.pp, int(deployment.dp_attention), deployment.dcp, deployment.dp, deployment.ep
