"""What one rank of each pipeline stage holds: weights, cache, temporary, overhead, and what the user reserves."""

from __future__ import annotations

from enum import Enum
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

from kvcalc.deployment import stages
from kvcalc.engines import RankLoad
from kvcalc.layers import count_layers
from kvcalc.memory.overhead import overhead
from kvcalc.memory.temporary import Temporary, temporary
from kvcalc.memory.weights import alike, experts_apart, parts_held, rank_weights
from kvcalc.term import Factor, Product, Sum
from kvcalc.units import MAX_CONTEXT

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from kvcalc.deployment import Deployment
    from kvcalc.layers import Layer
    from kvcalc.memory.parts import Part
    from kvcalc.scenario import Scenario


class Fit(Enum):
    """Whether ranks stay within what is usable."""

    FITS = "fits"
    """Even with the high temporary figure."""
    TIGHT = "tight"
    """Only with less temporary memory than the high figure."""
    NO = "no"


class RankMemory(NamedTuple):
    """The memory of one rank; the tensor-parallel ranks of a pipeline stage are alike.

    Attributes:
        stage: the pipeline stage, from 0.
        weights: None where the model's parameters are not known.
    """

    stage: int
    weights: Sum | None
    cache: Sum
    temporary: Temporary
    overhead: Sum
    reserve: Sum

    @property
    def tree(self) -> Sum:
        """Everything counted, as one tree of terms."""
        weights = () if self.weights is None else (self.weights,)
        reserve = (self.reserve,) if self.reserve.parts else ()
        return Sum("rank", (*weights, self.cache, self.temporary.term, self.overhead, *reserve))

    @property
    def total_bytes(self) -> int | None:
        """With the usual temporary figure; None where weights are not known."""
        return None if self.weights is None else self.tree.bytes

    def total_with(self, temporary_bytes: int) -> int:
        """With another temporary figure; weights that are not known count as nothing."""
        return self.tree.bytes - self.temporary.term.bytes + temporary_bytes


class _Beside(NamedTuple):
    """What every rank of a deployment holds beside weights and cache."""

    temporary: Temporary
    overhead: Sum
    reserve: Sum


class Rank:
    """One rank of a stage before it holds any cache.

    Attributes:
        stage: the pipeline stage, from 0.
        layer_range: which layers of the model it holds.
        layers: each kind of cache on it, and how many.
    """

    def __init__(
        self,
        scenario: Scenario,
        deployment: Deployment,
        parts: tuple[Part, ...] | None,
        beside: _Beside,
        stage: int,
        layer_range: range,
        layers: Mapping[Layer, int],
    ) -> None:
        self.stage, self.layer_range, self.layers = stage, layer_range, layers
        self._scenario, self._deployment, self._parts = scenario, deployment, parts
        self.temporary, self.overhead, self.reserve = beside
        self._bytes: dict[tuple[int, int], int] = {}

    @cached_property
    def weights(self) -> Sum | None:
        """None where the model's parameters are not known."""
        if self._parts is None:
            return None
        return rank_weights(self._scenario, self._deployment, self._parts, self.stage, self.layer_range)

    def cache(self, sequences: int, context: int) -> Sum:
        """The cache of so many sequences of so many tokens each."""
        return self._cache(self.layers, sequences, context, self._scenario.shared_prefix)

    def cache_bytes(self, sequences: int, context: int) -> int:
        """Bytes of that cache, remembered."""
        key = sequences, context
        if key not in self._bytes:
            self._bytes[key] = self.cache(sequences, context).bytes
        return self._bytes[key]

    def bytes_beside(self, whole: int, context: int, tokens: int) -> int:
        """What one sequence of fewer tokens costs beside `whole` sequences of `context` tokens.

        It finds the shared prefix kept by them, but not in windowed layers, whose windows have moved on.
        """
        shared = self._scenario.shared_prefix if whole else 0
        moved_on = {layer: n for layer, n in self.layers.items() if layer.limits(context)}
        others = {layer: n for layer, n in self.layers.items() if layer not in moved_on}
        two, one = (self._cache(others, sequences, tokens, shared).bytes for sequences in (2, 1))
        return two - one + self._cache(moved_on, 1, tokens, 0).bytes

    @cached_property
    def grows(self) -> bool:
        """Whether a sequence costs more and more without end, as it does not where all layers have windows."""
        return self.cache_bytes(1, 2 * MAX_CONTEXT) > self.cache_bytes(1, MAX_CONTEXT)

    def cache_read(self, sequences: int, context: int) -> Sum:
        """What a step of decoding reads of it, at least."""
        return self._cache(self.layers, sequences, context, self._scenario.shared_prefix, read=True)

    def _cache(
        self, layers: Mapping[Layer, int], sequences: int, context: int, shared_prefix: int, *, read: bool = False
    ) -> Sum:
        deployment, formats, shared = self._deployment, self._scenario.cache_format, min(shared_prefix, context)
        return self._scenario.engine.rank_cache(
            RankLoad(layers, deployment.tp, sequences, context, formats, deployment.dcp, shared, read)
        )

    def holding(self, sequences: int, context: int) -> RankMemory:
        """With that cache."""
        cache = self.cache(sequences, context)
        return RankMemory(self.stage, self.weights, cache, self.temporary, self.overhead, self.reserve)

    @cached_property
    def fixed_bytes(self) -> int:
        """All but cache and temporary memory; weights that are not known count as nothing."""
        weights = 0 if self.weights is None else self.weights.bytes
        return weights + self.overhead.bytes + self.reserve.bytes


def _reserved(name: str, size: int) -> Product:
    return Product(name, (Factor("given", size, "byte"),), "given by the user")


class Ranks:
    """The ranks of a scenario's deployments. What deployments have in common is worked out once."""

    def __init__(self, scenario: Scenario) -> None:
        self._scenario = scenario
        given = scenario.replacements
        self._temporary = temporary(scenario.model, given.temporary)
        self._reserve = Sum("reserve", tuple(_reserved(name, size) for name, size in given.reserve))
        self._known: dict[Deployment, tuple[Rank, ...]] = {}
        self._stages: dict[int, list[tuple[range, dict[Layer, int]]]] = {}
        self._parts: dict[tuple[bool, bool], tuple[Part, ...] | None] = {}

    def of(self, deployment: Deployment) -> tuple[Rank, ...]:
        """One rank of each pipeline stage, first to last; stages that hold the same share one."""
        if deployment not in self._known:
            self._known[deployment] = tuple(self._ranks(deployment))
        return self._known[deployment]

    def _ranks(self, deployment: Deployment) -> Iterator[Rank]:
        scenario, parts = self._scenario, self._parts_of(deployment)
        overhead_here = overhead(deployment.connected_ranks, scenario.replacements.overhead)
        beside = _Beside(self._temporary, overhead_here, self._reserve)
        first_with_experts = scenario.model.first_with_experts
        alike_so_far: dict[object, Rank] = {}
        for stage, (held, layers) in enumerate(self._stages_of(deployment.pp)):
            key = (tuple(layers.items()), alike(deployment, stage, held, first_with_experts))
            if key not in alike_so_far:
                alike_so_far[key] = Rank(scenario, deployment, parts, beside, stage, held, layers)
            yield alike_so_far[key]

    def _stages_of(self, pp: int) -> list[tuple[range, dict[Layer, int]]]:
        """The layers of each stage, and how many caches it has of each kind."""
        if pp not in self._stages:
            first, counted = 0, []
            for held in stages(self._scenario.model.sequence(), pp):
                counted.append((range(first, first + len(held)), count_layers(held)))
                first += len(held)
            self._stages[pp] = counted
        return self._stages[pp]

    def _parts_of(self, deployment: Deployment) -> tuple[Part, ...] | None:
        key = deployment.pp > 1, experts_apart(self._scenario, deployment)
        if key not in self._parts:
            self._parts[key] = parts_held(self._scenario, deployment)
        return self._parts[key]


def ranks_of(scenario: Scenario, deployment: Deployment) -> tuple[Rank, ...]:
    """One rank of each pipeline stage, first to last; stages that hold the same share one."""
    return Ranks(scenario).of(deployment)


def rank_memories(scenario: Scenario, deployment: Deployment) -> tuple[RankMemory, ...]:
    """The memory of one rank of each pipeline stage at the scenario's workload, first to last."""
    sequences, context = deployment.sequences(scenario.workload.batch), scenario.workload.context
    known: dict[Rank, RankMemory] = {}
    memories: list[RankMemory] = []
    for stage, rank in enumerate(ranks_of(scenario, deployment)):
        if rank not in known:
            known[rank] = rank.holding(sequences, context)
        memories.append(known[rank]._replace(stage=stage))
    return tuple(memories)


def fullest(memories: Sequence[RankMemory]) -> RankMemory:
    """The rank with the most cache; the first of equals."""
    return max(memories, key=lambda memory: (memory.cache.bytes, -memory.stage))


def fit(memories: Sequence[RankMemory], usable_bytes: int) -> Fit:
    """The worst of the ranks."""
    if all(memory.total_with(memory.temporary.high) <= usable_bytes for memory in memories):
        return Fit.FITS
    if all(memory.total_with(memory.temporary.low) <= usable_bytes for memory in memories):
        return Fit.TIGHT
    return Fit.NO
