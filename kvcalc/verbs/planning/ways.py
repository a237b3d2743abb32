"""The ways to spread a replica that a plan tries, and bounds of what each of them needs.

Ways are tensor-parallel sizes within a node, pipeline stages where no such size alone holds the batch (or where they
are allowed), decode context parallelism, and for mixtures of experts replicas that share the experts.
"""

from __future__ import annotations

from functools import cache
from math import gcd
from typing import TYPE_CHECKING

from kvcalc.deployment import MAX_RANKS, Deployment
from kvcalc.legality import legal_dcps
from kvcalc.memory import Ranks
from kvcalc.model.model import MAX_WEIGHT_PARTS
from kvcalc.verbs.planning.needs import Needs
from kvcalc.verbs.planning.way import Bound, Shape, Shared, Way, alone_of
from kvcalc.verbs.searching.capacity_search import Replica, least, replica_of
from kvcalc.verbs.searching.deployment_search import legal_tps_of_a_node
from kvcalc.verbs.searching.nodes import Nodes

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from kvcalc.scenario import Scenario
    from kvcalc.scenario.plan_request import Limits
    from kvcalc.verbs.planning.needs import Need


class Ways:
    """Of one model and workload. What ranks hold is kept for all accelerators that play no part in it."""

    def __init__(self, scenario: Scenario, limits: Limits) -> None:
        self.limits, self._scenario = limits, scenario
        self._batch, self._context = scenario.workload.batch, scenario.workload.lengths
        self._ranks: dict[str, Ranks] = {}
        self._needed: dict[tuple[str, Deployment], int] = {}
        self._nodes_of = cache(lambda size: Nodes(size, limits.whole_nodes))
        shares_tokens = "dcp" in scenario.engine.spreads_by
        self._legal_dcps = cache(lambda tp: legal_dcps(scenario.model, tp) if shares_tokens else [1])
        self._needs = Needs(scenario)
        self._shapes_of = cache(self._shapes)
        self._bounds: dict[tuple[str, int, int, bool], list[Bound]] = {}
        self._shared: dict[tuple[str, Deployment], list[Shared]] = {}

    def shapes(self, scenario: Scenario) -> list[Shape]:
        """Every size of a replica, the fewest GPUs first."""
        try_stages = self.limits.pps != (1,) and self.tries_stages(scenario)
        return self._shapes_of(self.tps(scenario), self.nodes(scenario), try_stages)

    def _shapes(self, tps: tuple[int, ...], nodes: Nodes, try_stages: bool) -> list[Shape]:
        flat = [1] if self.limits.pps is None or 1 in self.limits.pps else []
        return sorted(
            Shape(nodes.gpus(tp, pp * (1 + self.limits.spare)), tp, pp)
            for tp in tps
            for pp in (*flat, *(self.stage_counts(tp) if try_stages else ()))
        )

    def of_shape(self, scenario: Scenario, tp: int, pp: int) -> Iterator[Way]:
        """The ways to spread a replica of that size that sums over all ranks do not rule out."""
        for shares in (False, True) if self.may_share_experts(scenario) else (False,):
            most = self.most_replicas(scenario, alone_of(tp, pp, 1), share_experts=shares)
            for bound in self._bounds_of(scenario, tp, pp, share_experts=shares) if most > shares else ():
                fewest = max(1 + shares, bound.fewest(scenario.usable_bytes))
                if fewest <= most:
                    yield Way(tp, pp, bound.dcp, shares, fewest)

    def may_share_experts(self, scenario: Scenario) -> bool:
        """Whether replicas may share the experts: slices of a card share no model."""
        served = "dp_attention" in scenario.engine.spreads_by
        return served and scenario.model.is_mixture_of_experts and scenario.gpu.slice_of is None

    def tps(self, scenario: Scenario) -> tuple[int, ...]:
        """The tensor-parallel sizes to try."""
        if self.limits.tps is not None:
            return self.limits.tps
        return legal_tps_of_a_node(scenario, self.ranks(scenario))

    def tries_stages(self, scenario: Scenario) -> bool:
        """Whether pipeline stages are tried: asked for, allowed, or needed because no tp alone holds the batch."""
        if scenario.gpu.slice_of is not None:
            return False
        if scenario.allow_pp or self.limits.pps is not None:
            return True
        tps = (tp for tp in self.tps(scenario) if self.ranks(scenario).serves(Deployment(tp)))
        alone = (self.replica(scenario, Deployment(tp)) for tp in tps)
        return not any(replica.holds(self._batch, self._context) for replica in alone)

    def stage_counts(self, tp: int) -> Sequence[int]:
        """The numbers of pipeline stages above one that may be tried."""
        if "pp" not in self._scenario.engine.spreads_by:
            return ()
        if self.limits.pps is not None:
            return [pp for pp in self.limits.pps if pp > 1]
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

    def nodes(self, scenario: Scenario) -> Nodes:
        """Of the scenario's accelerator."""
        return self._nodes_of(scenario.gpu.number_in_a_node)

    def gpus(self, scenario: Scenario, deployment: Deployment) -> int:
        """All GPUs, spare replicas among them, in whole nodes where that is asked for."""
        return self.nodes(scenario).gpus(deployment.tp, self.groups(deployment))

    def groups(self, deployment: Deployment) -> int:
        """Groups of tp ranks, spare replicas among them."""
        return deployment.pp * self.with_spares(deployment.dp, share_experts=deployment.dp_attention)

    def with_spares(self, replicas: int, *, share_experts: bool) -> int:
        """Replicas and their spares. What shares its experts is spared as a whole."""
        return replicas + self.limits.spare * (replicas if share_experts else 1)

    def most_replicas(self, scenario: Scenario, alone: Deployment, *, share_experts: bool) -> int:
        """The most replicas of this kind that may be used, beside their spares; below 1 where there is none."""
        replicas = self.nodes(scenario).most_groups(alone.tp, self.limits.max_gpus) // alone.pp
        return replicas // (1 + self.limits.spare) if share_experts else replicas - self.limits.spare

    def replica(self, scenario: Scenario, deployment: Deployment) -> Replica:
        """A replica with what is usable on the scenario's accelerator beside the least temporary memory."""
        return replica_of(scenario, deployment, least, self.ranks(scenario))

    def ranks(self, scenario: Scenario) -> Ranks:
        """Of the scenario's deployments, on its accelerator."""
        key = self._played_by(scenario)
        if key not in self._ranks:
            self._ranks[key] = Ranks(scenario)
        return self._ranks[key]

    def holds_its_share(self, scenario: Scenario, deployment: Deployment) -> bool:
        """Whether each replica of a deployment holds the fullest one's share of the batch.

        By plain formulas what that needs is worked out once for all accelerators.
        """
        sequences = deployment.sequences(self._batch)
        if not scenario.engine.plain:
            return self.replica(scenario, deployment).holds(sequences, self._context)
        key = self._played_by(scenario), deployment
        needed = self._needed.get(key)
        if needed is None:
            replica = self.replica(scenario, deployment)
            needed = self._needed[key] = scenario.usable_bytes + replica.lacks(sequences, self._context)
        return needed <= scenario.usable_bytes

    def sequences(self, scenario: Scenario, deployment: Deployment) -> int:
        """How many sequences of the batch a replica holds."""
        most = self.replica(scenario, deployment).most_sequences(self._context)
        return self._batch if most is None else min(most, self._batch)

    def shared(self, alone: Deployment, dp: int) -> Deployment:
        """So many replicas with whole experts on as many ranks as they divide over evenly."""
        ep = gcd(alone.tp * dp, self._scenario.model.num_experts or 1)
        return Deployment(alone.tp, alone.pp, dp, ep, alone.dcp, dp_attention=True)

    def _bounds_of(self, scenario: Scenario, tp: int, pp: int, *, share_experts: bool) -> list[Bound]:
        """Of each decode-context-parallel size: worked out once for all accelerators that play no part in it."""
        key = self._played_by(scenario), tp, pp, share_experts
        if (known := self._bounds.get(key)) is None:
            known = self._bounds[key] = [
                self._bound(scenario, alone_of(tp, pp, dcp), share_experts=share_experts)
                for dcp in self._legal_dcps(tp)
            ]
        return known

    def _bound(self, scenario: Scenario, alone: Deployment, *, share_experts: bool) -> Bound:
        ranks = self.ranks(scenario)
        if scenario.engine.plain:
            most = ranks.most_for_weights_and_cache(alone, least, scenario)
        else:
            most = ranks.most_before_laid_out(self.shared(alone, 2) if share_experts else alone, least)
        needs = self._needs_of(scenario, alone, share_experts=share_experts)
        return Bound(alone.dcp, scenario.usable_bytes - most, needs)

    def _needs_of(self, scenario: Scenario, alone: Deployment, *, share_experts: bool) -> tuple[Need, ...]:
        return self._needs.of(self.ranks(scenario), self._played_by(scenario), alone, share_experts=share_experts)

    def fewest_sharing(self, scenario: Scenario, way: Way) -> int:
        """A number of replicas that share the experts below which some rank has no memory for its part.

        At best they share out experts and batch evenly; all else is on each. Without a better bound it is the way's.
        """
        if not scenario.engine.plain:
            return self._fewest_as_served(scenario, way)
        if scenario.drafting is not None or scenario.workload.mix is not None:
            return way.least_replicas
        ranks, fewest = self.ranks(scenario), way.least_replicas
        most = ranks.most_for_weights_and_cache(self.shared(way.alone, fewest), least, scenario)
        for each, divided in self._shared_by(scenario, way.alone):
            free = most - each
            if free <= 0:
                return MAX_RANKS
            fewest = max(fewest, -(-divided // free))
        return fewest

    def _shared_by(self, scenario: Scenario, alone: Deployment) -> list[Shared]:
        """Of each rank of a replica: worked out once for all accelerators that play no part in it."""
        key = self._played_by(scenario), alone
        if (known := self._shared.get(key)) is None:
            known = self._shared[key] = []
            for rank in self.ranks(scenario).of(self.shared(alone, 2)):
                experts = rank.own_weights.experts_bytes
                divided = 2 * max(0, experts - MAX_WEIGHT_PARTS) + rank.cache_bytes(self._batch, self._context)
                known.append(Shared((rank.weights_bytes or 0) - experts, divided))
        return known

    def _fewest_as_served(self, scenario: Scenario, way: Way) -> int:
        """The same by sums, with what the engine has: of more replicas no more, so that each bound may be bettered."""
        ranks, fewest, found = self.ranks(scenario), 0, way.least_replicas
        while fewest < found <= MAX_RANKS:
            fewest = found
            most = ranks.most_before_laid_out(self.shared(way.alone, fewest), least)
            needs = self._needs_of(scenario, way.alone, share_experts=True)
            found = max(fewest, *(each.fewest(most) for each in needs))
        return found

    def _played_by(self, scenario: Scenario) -> str:
        """The accelerator, where it plays a part in what ranks hold: by plain formulas Apple's have no overhead."""
        if scenario.engine.plain:
            return "Apple" if scenario.gpu.vendor == "Apple" else ""
        return scenario.gpu.name
