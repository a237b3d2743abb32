"""What the ranks of a deployment hold: weights, cache, temporary, overhead, and what the user reserves."""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, NamedTuple

from kvcalc.deployment import stages
from kvcalc.engines import RankLoad
from kvcalc.memory.overhead import CUDA_CONTEXT_BYTES, overhead
from kvcalc.memory.temporary import Temporary, temporary
from kvcalc.memory.weights import alike, rank_weights, replica_weights, weights_basis
from kvcalc.model import count_layers
from kvcalc.term import Factor, Product, Sum

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kvcalc.deployment import Deployment
    from kvcalc.model import Layer
    from kvcalc.scenario import Scenario

__all__ = [
    "CUDA_CONTEXT_BYTES",
    "Fit",
    "RankMemory",
    "fit",
    "fullest",
    "rank_memories",
    "replica_weights",
    "weights_basis",
]


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


def rank_memories(scenario: Scenario, deployment: Deployment) -> tuple[RankMemory, ...]:
    """One rank of each pipeline stage, first to last."""
    sequences = -(-scenario.workload.batch // deployment.dp)
    given = scenario.replacements
    temporary_memory = temporary(scenario.model, given.temporary)
    overhead_memory = overhead(deployment.ranks, given.overhead)
    reserve = Sum(
        "reserve",
        tuple(Product(name, (Factor("given", size, "byte"),), "given by the user") for name, size in given.reserve),
    )
    caches: dict[tuple[tuple[Layer, int], ...], Sum] = {}
    weights: dict[tuple[int, int, bool, bool], Sum | None] = {}
    memories: list[RankMemory] = []
    first = 0
    for stage, held in enumerate(stages(scenario.model.sequence(), deployment.pp)):
        counts = count_layers(held)
        key = tuple(counts.items())
        if key not in caches:
            load = RankLoad(counts, deployment.tp, sequences, scenario.workload.context, scenario.cache_format)
            caches[key] = scenario.engine.rank_cache(load)
        layers = range(first, first + len(held))
        first = layers.stop
        kind = alike(scenario, deployment, stage, layers)
        if kind not in weights:
            weights[kind] = rank_weights(scenario, deployment, stage, layers)
        memories.append(RankMemory(stage, weights[kind], caches[key], temporary_memory, overhead_memory, reserve))
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
