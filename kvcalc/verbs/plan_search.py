"""The search of a plan: for every way to spread a replica, the fewest replicas that hold the batch.

Ways are tensor-parallel sizes within a node, pipeline stages where no such size alone holds the batch (or where they
are allowed), decode context parallelism, and for mixtures of experts replicas that share the experts. More replicas
than needed are no other plan. Only the ways with the fewest GPUs are kept, so that the search ends soon.
"""

from __future__ import annotations

from bisect import insort
from dataclasses import replace
from functools import cache
from math import gcd
from typing import TYPE_CHECKING, NamedTuple

from kvcalc.deployment import MAX_RANKS, Deployment
from kvcalc.legality import legal_dcps
from kvcalc.memory import Ranks
from kvcalc.memory.parts import placed_parts, whole_parts
from kvcalc.verbs.capacity_search import Replica, largest, least, replica_of
from kvcalc.verbs.deployment_search import legal_tps_of_a_node

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from kvcalc.scenario import Scenario
    from kvcalc.scenario.plan_request import Limits


class _Way(NamedTuple):
    """A way to spread a replica."""

    least_gpus: int
    tp: int
    pp: int
    dcp: int
    share_experts: bool


class Search:
    """Deployments of one model and workload. What ranks hold is kept for all accelerators that play no part in it."""

    def __init__(self, scenario: Scenario, limits: Limits) -> None:
        self.limits, self._scenario = limits, scenario
        self._batch, self._context = scenario.workload.batch, scenario.workload.lengths
        self._ranks: dict[str, Ranks] = {}
        self._legal_dcps = cache(lambda tp: legal_dcps(scenario.model, tp))
        self._caches: dict[tuple[str, int, int], int] = {}
        self._whole = sum(part.term.bytes for part in whole_parts(scenario) or ())
        experts_apart = placed_parts(scenario) or whole_parts(scenario) or ()
        self._experts = sum(part.term.bytes for part in experts_apart if part.split == "ep")
        self._others = sum(part.term.bytes for part in experts_apart if part.split != "ep")

    def found(self, scenario: Scenario) -> list[Deployment]:
        """The deployments on the scenario's accelerator with the fewest GPUs, in the order of a plan."""
        if scenario.gpu.number_together is not None:
            return self._together(scenario, scenario.gpu.number_together)
        found: list[Deployment] = []
        for way in sorted(self._ways(scenario)):
            if way.least_gpus > self._most(found):
                break
            if not self._serves(scenario, way):
                continue
            fewest = self._sharing_experts if way.share_experts else self._replicas
            deployment = fewest(scenario, Deployment(way.tp, way.pp, dcp=way.dcp), self._most(found))
            if deployment is not None:
                insort(found, deployment, key=lambda each: (self.gpus(each), order(each)))
                del found[self.limits.keep :]
        return found

    def _together(self, scenario: Scenario, cards: int) -> list[Deployment]:
        """The one over all of so many unlike cards, where it holds the batch."""
        alone = Deployment(pp=cards)
        served = cards <= self.limits.max_gpus and not self.limits.spare and self._served_and_holds(scenario, alone)
        return [alone] if served else []

    def tps(self, scenario: Scenario) -> tuple[int, ...]:
        """The tensor-parallel sizes to try."""
        if self.limits.tp is not None:
            return (self.limits.tp,)
        return legal_tps_of_a_node(scenario, self.ranks(scenario))

    def tries_stages(self, scenario: Scenario) -> bool:
        """Whether pipeline stages are tried: asked for, allowed, or needed because no tp alone holds the batch."""
        if scenario.allow_pp or self.limits.pp is not None:
            return True
        tps = (tp for tp in self.tps(scenario) if self.ranks(scenario).serves(Deployment(tp)))
        alone = (self.replica(scenario, Deployment(tp)) for tp in tps)
        return not any(replica.holds(self._batch, self._context) for replica in alone)

    def stage_counts(self, tp: int) -> Sequence[int]:
        """The numbers of pipeline stages above one that may be tried."""
        if self.limits.pp is not None:
            return range(self.limits.pp, self.limits.pp + 1)
        return range(2, min(self._scenario.model.num_layers, self.limits.max_gpus // tp) + 1)

    def stages_served(self, scenario: Scenario, tp: int, most_gpus: int) -> tuple[int, ...]:
        """The least and the greatest of them that the engine serves on so many GPUs; nothing where it serves none."""
        serves = self.ranks(scenario).serves
        every = [pp for pp in self.stage_counts(tp) if tp * pp <= most_gpus]
        ends = (next((pp for pp in way if serves(Deployment(tp, pp))), None) for way in (every, reversed(every)))
        return tuple(dict.fromkeys(pp for pp in ends if pp is not None))

    def dcps(self, scenario: Scenario, tp: int, pp: int = 1) -> list[int]:
        """The decode-context-parallel sizes that the engine serves; 1 is among them."""
        legal, served = self._legal_dcps(tp), self.ranks(scenario).serves
        return [dcp for dcp in legal if dcp == 1 or served(Deployment(tp, pp, dcp=dcp))]

    def gpus(self, deployment: Deployment) -> int:
        """All GPUs, spare replicas among them. What shares its experts is spared as a whole."""
        unit = deployment.gpus if deployment.dp_attention else deployment.ranks
        return deployment.gpus + self.limits.spare * unit

    def widest(self, scenario: Scenario) -> Iterator[Deployment]:
        """With as many replicas as may be used: of each tp, with no stages, with many and with the most of them."""
        if scenario.gpu.number_together is not None:
            alone = Deployment(pp=scenario.gpu.number_together)
            yield from [alone] if self.ranks(scenario).serves(alone) else []
            return
        most, spare = self.limits.max_gpus, self.limits.spare
        try_stages = self.limits.pp != 1 and self.tries_stages(scenario)
        wide = []
        for tp in self.tps(scenario):
            for pp in self._some_stages(scenario, tp) if try_stages else [1]:
                alone = Deployment(tp, pp, dcp=self.dcps(scenario, tp, pp)[-1])
                if (replicas := most // alone.ranks - spare) >= 1:
                    wide.append(replace(alone, dp=replicas))
                replicas = most // (alone.ranks * (1 + spare))
                if scenario.model.is_mixture_of_experts and replicas > 1:
                    wide.append(self._shared(alone, replicas))
        yield from (each for each in wide if self.ranks(scenario).serves(each))

    def _some_stages(self, scenario: Scenario, tp: int) -> list[int]:
        several = self.stages_served(scenario, tp, self.limits.max_gpus)
        if self.limits.pp is not None or not several:
            return [self.limits.pp or 1]
        return sorted({1, 1 << (several[-1].bit_length() - 1), several[-1]})

    def replica(self, scenario: Scenario, deployment: Deployment) -> Replica:
        """A replica with what is usable on the scenario's accelerator beside the least temporary memory."""
        return replica_of(scenario, deployment, least, self.ranks(scenario))

    def ranks(self, scenario: Scenario) -> Ranks:
        """Of the scenario's deployments, on its accelerator."""
        key = self._played_by(scenario)
        if key not in self._ranks:
            self._ranks[key] = Ranks(scenario)
        return self._ranks[key]

    def sequences(self, scenario: Scenario, deployment: Deployment) -> int:
        """How many sequences of the batch a replica holds."""
        most = self.replica(scenario, deployment).most_sequences(self._context)
        return self._batch if most is None else min(most, self._batch)

    def _most(self, found: list[Deployment]) -> int:
        """So many GPUs are worth a look: no more than the worst of those found takes, once there are enough."""
        return self.gpus(found[-1]) if len(found) >= self.limits.keep else self.limits.max_gpus

    def _serves(self, scenario: Scenario, way: _Way) -> bool:
        """Whether the engine serves a replica of this kind. A bound of GPUs is known before, and rules most out."""
        alone = Deployment(way.tp, way.pp, dcp=way.dcp)
        several = not way.share_experts or self.ranks(scenario).serves(self._shared(alone, 2))
        return several and self.ranks(scenario).serves(alone)

    def _ways(self, scenario: Scenario) -> Iterator[_Way]:
        """Every way to spread a replica, with the fewest GPUs that sums over all ranks allow."""
        spare, experts = self.limits.spare, scenario.model.is_mixture_of_experts
        try_stages = self.limits.pp != 1 and self.tries_stages(scenario)
        for tp in self.tps(scenario):
            flat = [1] if self.limits.pp in (None, 1) else []
            for pp in (*flat, *(self.stage_counts(tp) if try_stages else ())):
                for dcp in self._legal_dcps(tp):
                    alone = Deployment(tp, pp, dcp=dcp)
                    fewest = self._fewest(scenario, alone, share_experts=False)
                    yield _Way(alone.ranks * (fewest + spare), tp, pp, dcp, share_experts=False)
                    if experts:
                        fewest = max(2, self._fewest(scenario, alone, share_experts=True))
                        yield _Way(alone.ranks * fewest * (1 + spare), tp, pp, dcp, share_experts=True)

    def _replicas(self, scenario: Scenario, alone: Deployment, most_gpus: int) -> Deployment | None:
        """The fewest replicas that hold the batch; None where that takes too many."""
        most = most_gpus // alone.ranks - self.limits.spare
        if not self.replica(scenario, alone).holds(-(-self._batch // most), self._context):
            return None
        fewest = -(-self._batch // self.sequences(scenario, alone))
        if scenario.engine.plain:
            return replace(alone, dp=fewest)
        numbers = (replace(alone, dp=dp) for dp in range(fewest, most + 1))
        return next((each for each in numbers if self._served_and_holds(scenario, each)), None)

    def _served_and_holds(self, scenario: Scenario, deployment: Deployment) -> bool:
        if not self.ranks(scenario).serves(deployment):
            return False
        return self.replica(scenario, deployment).holds(deployment.sequences(self._batch), self._context)

    def _sharing_experts(self, scenario: Scenario, alone: Deployment, most_gpus: int) -> Deployment | None:
        """The fewest replicas that share the experts and hold the batch; None where that takes too many.

        More of them hold less each, but overhead grows at each doubling: between doublings the first that holds is
        found by halves. An engine's own overhead may grow otherwise: then each number is tried.
        """
        most = most_gpus // (alone.ranks * (1 + self.limits.spare))
        start = max(2, self._fewest(scenario, alone, share_experts=True))
        if not scenario.engine.plain:
            numbers = range(start, most + 1)
            first = next((dp for dp in numbers if self._shared_holds(scenario, alone, dp)), None)
            return None if first is None else self._shared(alone, first)
        while start <= most:
            end = min(most, self._before_doubling(alone.ranks, start))
            if self._shared_holds(scenario, alone, end):
                return self._shared(alone, self._first_to_hold(scenario, alone, start, end))
            start = end + 1
        return None

    def _fewest(self, scenario: Scenario, alone: Deployment, *, share_experts: bool) -> int:
        """A number of replicas below which they cannot hold the batch, by sums over all of their ranks.

        These keep the cache of the whole batch at least once for each rank that needs a copy, the weights once a
        replica, and experts that are shared once. An engine with a budget of its own has no more than the whole
        accelerator, and holds no less than the layers' content.
        """
        ranks = self.ranks(scenario)
        most = (
            ranks.most_for_weights_and_cache(alone, least, scenario)
            if scenario.engine.plain
            else ranks.most_of_an_accelerator(least)
        )
        once, each = (self._experts, self._others) if share_experts else (0, self._whole)
        for_cache = alone.ranks * most - each
        needed = self._cache_of_batch(scenario, alone.tp, alone.dcp) + once
        if for_cache > 0:
            return max(1, -(-needed // for_cache))
        return MAX_RANKS + 1 if for_cache < 0 or needed else 1

    def _cache_of_batch(self, scenario: Scenario, tp: int, dcp: int) -> int:
        """The least that its copies take; 0 where the engine does not serve ranks without stages."""
        key = self._played_by(scenario), tp, dcp
        if key not in self._caches:
            ranks, alone = self.ranks(scenario), Deployment(tp, dcp=dcp)
            held = ranks.of(alone)[0].content_bytes(self._batch, self._context) if ranks.serves(alone) else 0
            self._caches[key] = tp * held
        return self._caches[key]

    def _played_by(self, scenario: Scenario) -> str:
        """The accelerator, where it plays a part in what ranks hold."""
        return "" if scenario.engine.plain else scenario.gpu.name

    def _first_to_hold(self, scenario: Scenario, alone: Deployment, start: int, end: int) -> int:
        misses = largest(lambda more: not self._shared_holds(scenario, alone, start + more - 1), end - start)
        return start + misses

    def _shared_holds(self, scenario: Scenario, alone: Deployment, dp: int) -> bool:
        return self._served_and_holds(scenario, self._shared(alone, dp))

    def _shared(self, alone: Deployment, dp: int) -> Deployment:
        """With whole experts on as many ranks as they divide over evenly."""
        ep = gcd(alone.tp * dp, self._scenario.model.num_experts or 1)
        return Deployment(alone.tp, alone.pp, dp, ep, alone.dcp, dp_attention=True)

    def _before_doubling(self, ranks: int, dp: int) -> int:
        """The most replicas whose ranks double as often as those of `dp` do."""
        return (1 << (ranks * dp - 1).bit_length()) // ranks


def order(deployment: Deployment) -> tuple[int, ...]:
    """Among deployments of as many GPUs: the larger tp first, then what is simpler."""
    return -deployment.tp, deployment.pp, int(deployment.dp_attention), deployment.dcp, deployment.dp, deployment.ep
