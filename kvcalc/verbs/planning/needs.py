"""What ways to spread a replica need at least, whatever the accelerator: bounds that a plan leaves ways out by."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from kvcalc.deployment import MAX_RANKS, Deployment
from kvcalc.memory.parts import placed_parts, whole_parts
from kvcalc.scenario.mix import Mix
from kvcalc.verbs.searching.least_of_layers import LeastOfLayers

if TYPE_CHECKING:
    from collections.abc import Iterable

    from kvcalc.memory import Ranks
    from kvcalc.memory.parts import Part
    from kvcalc.scenario import Scenario


class Need(NamedTuple):
    """What some of the ranks of a replica hold at least.

    Attributes:
        ranks: how many these are.
        each: in every replica.
        once: in all replicas together.
    """

    ranks: int
    each: int
    once: int

    def fewest(self, most: int) -> int:
        """A number of replicas below which some rank has no memory for it, where each has so much for both."""
        for_once = self.ranks * most - self.each
        if for_once > 0:
            return max(1, -(-self.once // for_once))
        return MAX_RANKS + 1 if for_once < 0 or self.once else 1


class Needs:
    """Of one model and workload.

    Ranks keep the cache of the whole batch at least once for each rank that needs a copy, the weights once a replica,
    and experts that are shared once. An engine holds no less than the layers' content.
    """

    def __init__(self, scenario: Scenario) -> None:
        self._batch, lengths = scenario.workload.batch, scenario.workload.lengths
        self._context = lengths.least if isinstance(lengths, Mix) else lengths
        self._model, self._placed = scenario.model, scenario.engine.places_weights
        whole = _on_accelerators(whole_parts(scenario), plain=scenario.engine.plain)
        self._whole = sum(part.term.bytes for part in whole)
        apart = _on_accelerators(placed_parts(scenario), plain=scenario.engine.plain) or whole
        self._experts, self._others = (
            _Parts([part for part in apart if (part.split == "ep") is ep]) for ep in (True, False)
        )
        self._known: dict[tuple[str, Deployment, bool], tuple[Need, ...]] = {}
        self._caches: dict[tuple[str, int, int], tuple[int, LeastOfLayers | None]] = {}

    def of(self, ranks: Ranks, played_by: str, alone: Deployment, *, share_experts: bool) -> tuple[Need, ...]:
        """Of all stages of a replica, and of those with the most layers.

        Args:
            ranks: of the model's deployments.
            played_by: the accelerator, where it plays a part in what ranks hold.
            alone: one replica.
            share_experts: whether several of them share the experts.
        """
        key = played_by, alone, share_experts
        known = self._known.get(key)
        if known is None:
            whole, layers = self._cache(ranks, played_by, alone)
            experts, others = self._experts.bytes, self._others.bytes
            each = others if share_experts else self._weights_of_one(ranks)
            every = Need(alone.ranks, each, alone.tp * whole + (experts if share_experts else 0))
            known = self._known[key] = every, *self._of_a_stage(alone, layers, share_experts=share_experts)
        return known

    def _of_a_stage(self, alone: Deployment, layers: LeastOfLayers | None, *, share_experts: bool) -> tuple[Need, ...]:
        """Some stage has as many layers as stages have on average, rounded up, and some as many that have experts.

        The first has all tables of embeddings.
        """
        if alone.pp == 1 or layers is None:
            return ()
        all_layers, first = self._model.num_layers, self._model.first_with_experts
        with_experts = all_layers - first
        found = []
        for held, of_experts in ((-(-all_layers // alone.pp), 0), 2 * (-(-with_experts // alone.pp),)):
            others = 0 if self._placed else self._others.of_layers * held // all_layers
            experts = 0 if self._placed or not of_experts else self._experts.of_layers * of_experts // with_experts
            each, once = (others, experts) if share_experts else (others + experts, 0)
            found.append(Need(alone.tp, each, once + alone.tp * layers.of(held)))
        tables = 0 if self._placed else self._others.of_the_first_stage
        return (Need(alone.tp, tables, 0), *(found if self._experts.of_layers else found[:1]))

    def _weights_of_one(self, ranks: Ranks) -> int:
        """What the ranks of a replica hold at least. Some of it is on none of them where an engine places weights."""
        if not self._placed:
            return self._whole
        alone = Deployment()
        return (ranks.of(alone)[0].own_weights.share_bytes or 0) if ranks.serves(alone) else 0

    def _cache(self, ranks: Ranks, played_by: str, alone: Deployment) -> tuple[int, LeastOfLayers | None]:
        """The least that one of the tp ranks of all stages holds of the batch, and what some layers do.

        Nothing where the engine does not serve ranks without stages.
        """
        key = played_by, alone.tp, alone.dcp
        if key not in self._caches:
            flat = Deployment(alone.tp, dcp=alone.dcp)
            if ranks.serves(flat):
                (rank,) = ranks.of(flat)
                layers = LeastOfLayers(rank, self._batch, self._context)
                self._caches[key] = rank.content_bytes(self._batch, self._context), layers
            else:
                self._caches[key] = 0, None
        return self._caches[key]


def _on_accelerators(parts: Iterable[Part] | None, *, plain: bool) -> list[Part]:
    """Those that are there unless the engine places weights: one may have tables of n-grams in host memory."""
    return [part for part in parts or () if plain or not part.ngrams]


class _Parts:
    """Bytes of parts of the weights: all, those of layers, over which they divide evenly, those of the first stage."""

    def __init__(self, parts: list[Part]) -> None:
        self.bytes = sum(part.term.bytes for part in parts)
        self.of_layers = sum(part.term.bytes for part in parts if part.place == "layers" and part.split != "all")
        self.of_the_first_stage = sum(
            part.term.bytes for part in parts if part.place == "embedding" and part.split != "all"
        )
