"""What one rank of each pipeline stage holds: weights, cache, temporary, overhead, and what the user reserves."""

from __future__ import annotations

from enum import Enum
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

from kvcalc.engines import RankLoad, byte_count
from kvcalc.errors import KvcalcError
from kvcalc.legality import legal_tps
from kvcalc.memory.overhead import overhead
from kvcalc.memory.temporary import Temporary, temporary
from kvcalc.memory.weights import experts_apart, parts_alike, parts_held, rank_weights, rank_weights_bytes
from kvcalc.term import Factor, Product, Sum
from kvcalc.units import MAX_CONTEXT

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from kvcalc.deployment import Deployment
    from kvcalc.memory.parts import Part
    from kvcalc.memory.weights import PartsAlike
    from kvcalc.model.layers import Layer
    from kvcalc.model.stages import Stage
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

    @property
    def bytes(self) -> int:
        """All but temporary memory."""
        return self.overhead.bytes + self.reserve.bytes


class _Weights(NamedTuple):
    """The parts that the ranks of a replica hold together."""

    parts: tuple[Part, ...]
    alike: PartsAlike


class Rank:
    """One rank of a stage before it holds any cache. Figures are counted without terms, which are made when asked for.

    Attributes:
        stage: the pipeline stage, from 0: the first of those that hold the same.
        stages_alike: how many stages hold the same.
        layer_range: which layers of the model it holds.
        layers: each kind of cache on it, and how many.
    """

    def __init__(
        self,
        scenario: Scenario,
        deployment: Deployment,
        stage: Stage,
        weights: _Weights | None,
        beside: _Beside,
        count: Callable[[RankLoad], int],
    ) -> None:
        self.stage, self.layer_range, self.layers = stage.number, stage.layers, stage.kinds
        self.numbers = stage.numbers
        self.temporary, self.overhead, self.reserve = beside.temporary, beside.overhead, beside.reserve
        self._scenario, self._deployment, self._weights, self._count = scenario, deployment, weights, count
        self._beside_bytes = beside.bytes
        self._bytes: dict[tuple[int, int], int] = {}

    @property
    def stages_alike(self) -> int:
        return sum(map(len, self.numbers))

    @cached_property
    def weights(self) -> Sum | None:
        """None where the model's parameters are not known."""
        if self._weights is None:
            return None
        return rank_weights(self._scenario, self._deployment, self._weights.parts, self.stage, self.layer_range)

    @cached_property
    def weights_bytes(self) -> int | None:
        """The bytes of that."""
        if self._weights is None:
            return None
        return rank_weights_bytes(self._scenario, self._deployment, self._weights.alike, self.stage, self.layer_range)

    def cache(self, sequences: int, context: int) -> Sum:
        """The cache of so many sequences of so many tokens each."""
        return self._scenario.engine.rank_cache(self._load(self.layers, sequences, context))

    def cache_bytes(self, sequences: int, context: int) -> int:
        """Bytes of that cache, remembered."""
        key = sequences, context
        if key not in self._bytes:
            self._bytes[key] = self._count(self._load(self.layers, sequences, context))
        return self._bytes[key]

    def bytes_beside(self, whole: int, context: int, tokens: int) -> int:
        """What one sequence of fewer tokens costs beside `whole` sequences of `context` tokens.

        It finds the shared prefix kept by them, but not in windowed layers, whose windows have moved on.
        """
        shared = None if whole else 0
        moved_on = {layer: n for layer, n in self.layers.items() if layer.limits(context)}
        others = {layer: n for layer, n in self.layers.items() if layer not in moved_on}
        two, one = (self._count(self._load(others, sequences, tokens, shared)) for sequences in (2, 1))
        return two - one + self._count(self._load(moved_on, 1, tokens, 0))

    @cached_property
    def grows(self) -> bool:
        """Whether a sequence costs more and more without end, as it does not where all layers have windows."""
        return self.cache_bytes(1, 2 * MAX_CONTEXT) > self.cache_bytes(1, MAX_CONTEXT)

    def cache_read(self, sequences: int, context: int) -> Sum:
        """What a step of decoding reads of it, at least."""
        return self._scenario.engine.rank_cache(self._load(self.layers, sequences, context)._replace(read=True))

    def cache_read_bytes(self, sequences: int, context: int) -> int:
        """The bytes of that."""
        return self._count(self._load(self.layers, sequences, context)._replace(read=True))

    def _load(
        self, layers: Mapping[Layer, int], sequences: int, context: int, shared_prefix: int | None = None
    ) -> RankLoad:
        scenario, deployment = self._scenario, self._deployment
        shared = min(scenario.shared_prefix if shared_prefix is None else shared_prefix, context)
        return RankLoad(layers, deployment.tp, sequences, context, scenario.cache_format, deployment.dcp, shared)

    def holding(self, sequences: int, context: int) -> RankMemory:
        """With that cache."""
        cache = self.cache(sequences, context)
        return RankMemory(self.stage, self.weights, cache, self.temporary, self.overhead, self.reserve)

    def bytes_holding(self, sequences: int, context: int) -> int:
        """All bytes with that cache, and with the usual temporary figure."""
        return self.fixed_bytes + self.temporary.term.bytes + self.cache_bytes(sequences, context)

    @cached_property
    def fixed_bytes(self) -> int:
        """All but cache and temporary memory; weights that are not known count as nothing."""
        return (self.weights_bytes or 0) + self._beside_bytes


def _reserved(name: str, size: int) -> Product:
    return Product(name, (Factor("given", size, "byte"),), "given by the user")


class Ranks:
    """The ranks of a scenario's deployments. What deployments have in common is worked out once.

    Attributes:
        count: counts the bytes of a cache as the engine does.
    """

    def __init__(self, scenario: Scenario) -> None:
        self.scenario = scenario
        given = scenario.replacements
        self.count = byte_count(scenario.engine)
        self._temporary = temporary(scenario.model, given.temporary)
        self._reserve = Sum("reserve", tuple(_reserved(name, size) for name, size in given.reserve))
        self._known: dict[Deployment, tuple[Rank, ...]] = {}
        self._beside: dict[int, _Beside] = {}
        self._weights: dict[tuple[int, bool, bool], _Weights | None] = {}

    @cached_property
    def tps_of_a_node(self) -> tuple[int, ...]:
        """Tensor-parallel sizes that are legal, stay within one node and leave rows that the format can store."""
        scenario = self.scenario
        return tuple(tp for tp in legal_tps(scenario.model, scenario.gpu.node_size) if self._can_store_rows(tp))

    def _can_store_rows(self, tp: int) -> bool:
        try:
            self.count(RankLoad(self.scenario.model.layout.kinds, tp, 1, 1, self.scenario.cache_format))
        except KvcalcError:
            return False
        return True

    def of(self, deployment: Deployment) -> tuple[Rank, ...]:
        """One rank of each pipeline stage, first to last, of which those that hold the same are one."""
        if deployment not in self._known:
            weights, beside = self._weights_of(deployment), self._beside_of(deployment.connected_ranks)
            self._known[deployment] = tuple(
                Rank(self.scenario, deployment, stage, weights, beside, self.count)
                for stage in self.scenario.model.layout.stages(deployment.pp)
            )
        return self._known[deployment]

    def _beside_of(self, ranks: int) -> _Beside:
        if ranks not in self._beside:
            overhead_here = overhead(ranks, self.scenario.replacements.overhead)
            self._beside[ranks] = _Beside(self._temporary, overhead_here, self._reserve)
        return self._beside[ranks]

    def _weights_of(self, deployment: Deployment) -> _Weights | None:
        key = deployment.tp, deployment.pp > 1, experts_apart(self.scenario, deployment)
        if key not in self._weights:
            parts = parts_held(self.scenario, deployment)
            self._weights[key] = None if parts is None else _Weights(parts, parts_alike(parts))
        return self._weights[key]


def ranks_of(scenario: Scenario, deployment: Deployment) -> tuple[Rank, ...]:
    """One rank of each pipeline stage, first to last, of which those that hold the same are one."""
    return Ranks(scenario).of(deployment)


def rank_memories(scenario: Scenario, deployment: Deployment) -> tuple[RankMemory, ...]:
    """The memory of one rank of each pipeline stage at the scenario's workload, first to last."""
    sequences, context = deployment.sequences(scenario.workload.batch), scenario.workload.context
    return memories_of(ranks_of(scenario, deployment), sequences, context)


def memories_of(ranks: Sequence[Rank], sequences: int, context: int) -> tuple[RankMemory, ...]:
    """The memory of one rank of each pipeline stage, first to last, with so many sequences of so many tokens."""
    memories: dict[int, RankMemory] = {}
    for rank in ranks:
        held = rank.holding(sequences, context)
        memories |= {stage: held._replace(stage=stage) for numbers in rank.numbers for stage in numbers}
    return tuple(memories[stage] for stage in sorted(memories))


def fullest(memories: Sequence[RankMemory]) -> RankMemory:
    """The rank with the most cache; the first of equals."""
    return max(memories, key=lambda memory: (memory.cache.bytes, -memory.stage))


def fit(fullest_bytes: int, temporary_figure: Temporary, usable_bytes: int) -> Fit:
    """Whether the rank with the most memory, with the usual temporary figure, stays within what is usable."""
    others = fullest_bytes - temporary_figure.term.bytes
    if others + temporary_figure.high <= usable_bytes:
        return Fit.FITS
    return Fit.TIGHT if others + temporary_figure.low <= usable_bytes else Fit.NO
