"""The ranks of a scenario's deployments: one of each pipeline stage, worked out once."""

from __future__ import annotations

from copy import copy
from typing import TYPE_CHECKING, Any, TypeVar

from kvcalc.deployment import Deployment
from kvcalc.engines import ContentCounter, Setup
from kvcalc.errors import KvcalcError
from kvcalc.legality import legal_tps, why_tp_is_illegal
from kvcalc.memory.common import Common, HeldWeights
from kvcalc.memory.decode_traffic import WeightsUsed, parts_read
from kvcalc.memory.overhead import overhead
from kvcalc.memory.rank import Rank
from kvcalc.memory.rank_memory import RankMemory
from kvcalc.memory.temporary import temporary
from kvcalc.memory.weights import experts_apart, parts_alike, parts_held
from kvcalc.scenario.draft_of import draft_deployment, draft_scenario
from kvcalc.term import GIVEN, Factor, Product, Sum

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterable, Sequence

    from kvcalc.engines import Settled, Temporary
    from kvcalc.scenario import Scenario
    from kvcalc.scenario.mix import Lengths


T = TypeVar("T")


def _reserved(name: str, size: int) -> Product:
    return Product(name, (Factor("given", size, "byte"),), GIVEN)


class Ranks:
    """The ranks of a scenario's deployments. What deployments have in common is worked out once.

    Attributes:
        temporary: memory of one rank, where the engine has no figure of its own or the user gives one.
        reserve: what the user reserves on every rank.
    """

    def __init__(self, scenario: Scenario) -> None:
        self.scenario = scenario
        given = scenario.replacements
        self._counter = ContentCounter(scenario.cache_format)
        self.temporary = temporary(scenario.model, given.temporary)
        self._usual = self.temporary.term.bytes
        self.reserve = Sum("reserve", tuple(_reserved(name, size) for name, size in given.reserve))
        self._others: dict[tuple[int, str | None], int] = {}
        self._tps: dict[int, tuple[int, ...]] = {}
        self._settled: dict[Deployment, Settled] = {}
        self._refused: dict[Deployment, str] = {}
        self._illegal: dict[int, str | None] = {}
        self._known: dict[Deployment, tuple[Rank, ...]] = {}
        drafting = draft_scenario(scenario)
        self._draft = None if drafting is None else Ranks(drafting)
        self._weights: dict[tuple[int, bool, bool], HeldWeights | None] = {}
        self._used: dict[Deployment, tuple[WeightsUsed, ...]] = {}
        self._once: dict[tuple[object, Deployment], Any] = {}
        self._last = scenario.workload
        self._parts_checked = False

    def tps_within(self, node_size: int) -> tuple[int, ...]:
        """Tensor-parallel sizes that are legal, stay within a node of so many GPUs, and whose rows can be stored."""
        if node_size not in self._tps:
            legal = legal_tps(self.scenario.model, node_size)
            self._tps[node_size] = tuple(tp for tp in legal if self.can_hold(Deployment(tp)))
        return self._tps[node_size]

    def serves(self, deployment: Deployment) -> bool:
        """Whether the engine serves the model on a legal deployment: by plain formulas always."""
        return (self.scenario.engine.plain and self._draft is None) or self.can_hold(deployment)

    def why_not_served(self, deployment: Deployment) -> str | None:
        """What the engine or the cache's format says against a deployment; None where both serve it."""
        return None if self.can_hold(deployment) else self._refused[deployment]

    def can_hold(self, deployment: Deployment) -> bool:
        """Whether the engine serves the model on this deployment, and its format can store a rank's rows."""
        if deployment in self._refused:
            return False
        if deployment.tp not in self._illegal:
            kinds = (layer.attention for layer in self.scenario.model.distinct())
            self._illegal[deployment.tp] = why_tp_is_illegal(kinds, deployment.tp)
        if (illegal := self._illegal[deployment.tp]) is not None:
            self._refused[deployment] = f"illegal: {illegal}"
            return False
        try:
            for rank in self.of(deployment):
                rank.cache_bytes(1, 1)
        except KvcalcError as error:
            self._refused[deployment] = str(error)
            return False
        return True

    def settled(self, deployment: Deployment) -> Settled:
        """How the engine lays out the model on a deployment.

        Raises:
            KvcalcError: the engine does not serve it.
        """
        settled = self._settled.get(deployment)
        if settled is None:
            settled = self._settled[deployment] = self.scenario.engine.settle(self._setup(deployment))
        return settled

    def made_of_longest(self, context: int) -> Hashable:
        """What the engine makes of a context: ranks for which it is the same may stand for each other."""
        if self._draft is not None:
            return context
        try:
            return self.scenario.engine.made_of_longest(self._setup(Deployment())._replace(max_model_len=context))
        except KvcalcError:
            return context

    def _setup(self, deployment: Deployment) -> Setup:
        scenario = self.scenario
        if not self._parts_checked:  # the model's, once for all deployments
            scenario.engine.check_parts(scenario.model)
            self._parts_checked = True
        return Setup(
            scenario.model,
            deployment,
            scenario.cache_format,
            scenario.gpu,
            scenario.utilization,
            self._counter,
            scenario.workload.context,
            scenario.weight_format,
            scenario.cache_format_given,
            scenario.dtype_given,
            scenario.weights_as,
            self._setup_of_draft(deployment),
            weights_bytes=scenario.replacements.weights,
            lora=scenario.lora,
        )

    def _setup_of_draft(self, deployment: Deployment) -> Setup | None:
        drafting = self.scenario.drafting
        if self._draft is None or drafting is None:
            return None
        setup = self._draft._setup(self._of_draft(deployment))  # noqa: SLF001  # of the same class
        return setup._replace(own_layers=drafting.own_layers, drafted=drafting.tokens)

    def _of_draft(self, deployment: Deployment) -> Deployment:
        """The ranks that share the draft.

        Raises:
            KvcalcError: its heads do not spread over them.
        """
        ranks, draft = draft_deployment(self.scenario, deployment), self._draft
        kinds = () if draft is None else (layer.attention for layer in draft.scenario.model.distinct())
        if (why := why_tp_is_illegal(kinds, ranks.tp)) is not None:
            raise KvcalcError(f"--draft-tp: {ranks.tp} is illegal for the draft: {why}")
        return ranks

    def _draft_rank(self, deployment: Deployment) -> Rank | None:
        """A rank's share of the draft."""
        return None if self._draft is None else self._draft.of(self._of_draft(deployment))[0]

    def of(self, deployment: Deployment) -> tuple[Rank, ...]:
        """One rank of each pipeline stage, first to last, of which those that hold the same are one."""
        known = self._known.get(deployment)
        if known is None:
            settled = self.settled(deployment)
            weights = self.weights_of(deployment)
            common = Common(self.scenario, deployment, settled, weights, self.temporary, self.reserve, self._usual)
            known = self._known[deployment] = tuple(
                Rank(common, stage, self._draft_rank(deployment) if stage.numbers[-1].stop == deployment.pp else None)
                for stage in settled.stages
            )
        return known

    def weights_used(self, deployment: Deployment) -> tuple[WeightsUsed, ...]:
        """What a step uses of the weights of each of those ranks; nothing where they are not told apart."""
        used = self._used.get(deployment)
        if used is None:
            parts = parts_read(self.scenario, deployment)
            used = tuple(WeightsUsed(self.scenario, deployment, rank, parts) for rank in self.of(deployment))
            self._used[deployment] = used
        return used

    def once(self, work: Callable[[Scenario, Deployment], Iterable[T]], deployment: Deployment) -> tuple[T, ...]:
        """What follows of a deployment whatever the workload, worked out once."""
        known: tuple[T, ...] | None = self._once.get((work, deployment))
        if known is None:
            known = self._once[work, deployment] = tuple(work(self.scenario, deployment))
        return known

    def of_workload(self, scenario: Scenario) -> Ranks:
        """The same ranks for a scenario that differs in its workload alone, where no workload changes them.

        They remember the last workload only.
        """
        if self._last != scenario.workload:
            self.forget()
            self._last = scenario.workload
        same = copy(self)
        same.scenario = scenario
        return same

    def forget(self) -> None:
        """Let go of what ranks remember of workloads."""
        for ranks in tuple(self._known.values()):  # another thread may add to them
            for rank in ranks:
                rank.forget()

    def most_for_weights_and_cache(
        self, deployment: Deployment, figure: Callable[[Temporary], int], on: Scenario | None = None
    ) -> int:
        """What no rank of a deployment has more of for its weights and its cache, with that temporary figure.

        By plain formulas this is known before there are any ranks, and is no more for more ranks.

        Args:
            deployment: over which ranks.
            figure: of temporary memory.
            on: the scenario whose accelerator is meant, where that is another one.
        """
        scenario = on or self.scenario
        if not scenario.engine.plain:
            return max(
                rank.usable_bytes - rank.overhead.bytes - rank.reserve.bytes - figure(rank.temporary)
                for rank in self.of(deployment)
            )
        key = deployment.connected_ranks, scenario.gpu.vendor
        if (others := self._others.get(key)) is None:
            given = scenario.replacements.overhead
            others = self._others[key] = overhead(key[0], given, key[1]).bytes + self.reserve.bytes
        return scenario.usable_bytes - others - figure(self.temporary)

    def most_of_an_accelerator(self, figure: Callable[[Temporary], int]) -> int:
        """What no rank has more of for its weights and its cache, whatever the engine and the deployment."""
        scenario, given = self.scenario, self.scenario.replacements
        others = given.overhead or 0
        temporary = 0 if given.temporary is None else figure(self.temporary)
        return (scenario.gpu.memory_bytes or 0) - self.reserve.bytes - others - temporary

    def most_before_laid_out(self, deployment: Deployment, figure: Callable[[Temporary], int]) -> int:
        """The same of one deployment: what its engine is known to leave alone counts too."""
        whole = self.most_of_an_accelerator(figure)
        if self._draft is not None:
            return whole
        own = self.scenario.engine.most_usable(self._setup(deployment))
        return whole if own is None else whole - (self.scenario.gpu.memory_bytes or 0) + own

    def weights_of(self, deployment: Deployment) -> HeldWeights | None:
        """The parts that a replica's ranks share; None where the model's parameters are not known."""
        key = deployment.tp, deployment.pp > 1, experts_apart(self.scenario, deployment)
        if key not in self._weights:
            parts = parts_held(self.scenario, deployment)
            self._weights[key] = None if parts is None else HeldWeights(parts, parts_alike(parts))
        return self._weights[key]


def ranks_of(scenario: Scenario, deployment: Deployment) -> tuple[Rank, ...]:
    """One rank of each pipeline stage, first to last, of which those that hold the same are one."""
    return Ranks(scenario).of(deployment)


def rank_memories(scenario: Scenario, deployment: Deployment) -> tuple[RankMemory, ...]:
    """The memory of one rank of each pipeline stage at the scenario's workload, first to last."""
    sequences, context = deployment.sequences(scenario.workload.batch), scenario.workload.lengths
    return memories_of(ranks_of(scenario, deployment), sequences, context)


def memories_of(ranks: Sequence[Rank], sequences: int, context: Lengths) -> tuple[RankMemory, ...]:
    """The memory of one rank of each pipeline stage, first to last, with so many sequences of so many tokens."""
    memories: dict[int, RankMemory] = {}
    for rank in ranks:
        held = rank.holding(sequences, context)
        memories |= {stage: held._replace(stage=stage) for numbers in rank.numbers for stage in numbers}
    return tuple(memories[stage] for stage in sorted(memories))


def fullest(memories: Sequence[RankMemory]) -> RankMemory:
    """The rank with the most cache; the first of equals."""
    return max(memories, key=lambda memory: (memory.cache.bytes, -memory.stage))
