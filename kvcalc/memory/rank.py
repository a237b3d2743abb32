"""One rank of a pipeline stage: what it has for its cache, what a cache takes, and whether that fits."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

from kvcalc.memory.overhead import overhead
from kvcalc.memory.rank_memory import Fit, RankMemory
from kvcalc.memory.rank_weights import RankWeights
from kvcalc.named_tuple import NamedTuple
from kvcalc.scenario.mix import load_of
from kvcalc.term import Product, Sum
from kvcalc.units import MAX_CONTEXT

if TYPE_CHECKING:
    from kvcalc.engines import Load, Rate, Temporary
    from kvcalc.engines.growth import Stretch
    from kvcalc.memory.common import Common
    from kvcalc.model.stages import Stage
    from kvcalc.scenario import Scenario
    from kvcalc.scenario.mix import Lengths


STRETCHES_REMEMBERED = 4096


def _with(others: Sum, left_free: Product | None) -> Sum:
    return others if left_free is None else Sum(others.path, (*others.parts, left_free))


class _SharedOut(NamedTuple):
    """How a rank's memory is shared out, beside weights and cache.

    Attributes:
        usable: None: of the scenario's accelerator.
        usual: bytes of the usual temporary figure.
        cache: what the cache gets at most; None: all that is left.
        seen: the least and the most of the overhead, with what is left free; None: it is no range.
    """

    usable: int | None
    temporary: Temporary
    overhead: Sum
    usual: int
    cache: int | None = None
    seen: tuple[int, int] | None = None


class Rank:
    """One rank of a stage before it holds any cache. Figures are counted without terms, which are made when asked for.

    Attributes:
        stage: the pipeline stage, from 0: the first of those that hold the same.
        numbers: of the stages that hold the same, ascending.
        layer_range: which layers of the model it holds.
        layers: each kind of cache on it, and how many.
        settled: how the engine lays out the deployment.
        own_weights: its weights, and where they lie.
    """

    def __init__(self, common: Common, stage: Stage, draft: Rank | None = None) -> None:
        """With the rank's share of what drafts tokens, whose weights it holds too."""
        self._draft = draft
        self.own_weights: RankWeights = RankWeights(common, stage, None if draft is None else draft.own_weights)
        self.stage, self.layer_range, self.layers = stage.number, stage.layers, stage.kinds
        self.numbers = stage.numbers
        self.settled, self.reserve = common.settled, common.reserve
        self._common, self._scenario, self._stage = common, common.scenario, stage
        self._bytes: dict[tuple[int, Lengths], int] = {}
        self._temporary: dict[tuple[int, Lengths], Temporary] = {}
        self._known: _SharedOut | None = None
        self._stretch: Stretch | None = None
        self._stretches: dict[int, Stretch] = {}
        if common.scenario.engine.plain:
            given = common.scenario.replacements.overhead
            others = overhead(common.deployment.connected_ranks, given, common.scenario.gpu.vendor)
            self._known = _SharedOut(None, common.temporary, others, common.usual)

    @property
    def stages_alike(self) -> int:
        """How many stages hold the same."""
        return sum(map(len, self.numbers))

    def _shared_out(self) -> _SharedOut:
        """As the user gives it, else as the engine states it, else as observed."""
        if self._known is None:
            given = self._scenario.replacements
            own = self.settled.budget(self._stage, self.weights_bytes or 0)
            temporary = (own.temporary if given.temporary is None else None) or self._common.temporary
            others = own.overhead if given.overhead is None else None
            plain = overhead(self._common.deployment.connected_ranks, given.overhead, self._scenario.gpu.vendor)
            everything = _with(others or plain, own.left_free)
            seen = None if others is None else own.overhead_seen
            self._known = _SharedOut(own.usable, temporary, everything, temporary.term.bytes, own.cache, seen)
        return self._known

    @property
    def usable_bytes(self) -> int:
        """What all that it holds may take."""
        return self.usable_on(self._scenario)

    def usable_on(self, scenario: Scenario) -> int:
        """The same for a scenario that may have another accelerator, where that plays no part in what is settled."""
        own = self._shared_out().usable
        return scenario.usable_bytes if own is None else own

    def memory_for_cache(self, temporary: int, on: Scenario | None = None) -> int:
        """What is left for the cache beside so much temporary memory, and no more than the engine gives it.

        Below zero is what all else lacks.

        Args:
            temporary: bytes.
            on: a scenario that may have another accelerator, where that plays no part in what is settled.
        """
        left = self.usable_on(on or self._scenario) - self.fixed_bytes - temporary
        most = self._shared_out().cache
        if most is None or left >= most:
            return left if most is None else most
        return min(0, left - most)  # the engine takes it whether it is there or not

    def taken_bytes(self, memory: int) -> int:
        """What the engine allocates for the cache of so much memory for it, which may be less."""
        return self.settled.taken_bytes(self._stage, memory)

    @property
    def memory_seen_for_cache(self) -> tuple[int, int]:
        """The same with the most and with the least temporary memory and overhead that were seen."""
        temporary, counted = self.temporary, self.overhead.bytes
        if self.stated_cache_bytes is not None:
            stated = self.memory_for_cache(temporary.term.bytes)
            return stated, stated
        least, most = self._shared_out().seen or (counted, counted)
        return (
            self.memory_for_cache(temporary.high + most - counted),
            self.memory_for_cache(max(0, temporary.low + least) - counted),
        )

    @property
    def stated_cache_bytes(self) -> int | None:
        """What the engine takes for its cache where that is stated outright."""
        return self._shared_out().cache

    @property
    def temporary(self) -> Temporary:
        """Temporary memory, which has a range. Where it grows with what is held: with the scenario's workload."""
        workload = self._scenario.workload
        return self.temporary_with(self._common.deployment.sequences(workload.batch), workload.lengths)

    def temporary_with(self, sequences: int, context: Lengths) -> Temporary:
        """The same with so many sequences of so many tokens each."""
        shared_out = self._shared_out()
        if self._scenario.engine.plain or self._scenario.replacements.temporary is not None:
            return shared_out.temporary
        key = sequences, context
        known = self._temporary.get(key)
        if known is None:
            own = self.settled.temporary(self._stage, self.load(sequences, context))
            known = self._temporary[key] = own or shared_out.temporary
        return known

    def _usual(self, sequences: int, context: Lengths) -> int:
        known, temporary = self._shared_out(), self.temporary_with(sequences, context)
        return known.usual if temporary is known.temporary else temporary.term.bytes

    @property
    def overhead(self) -> Sum:
        """What its runtime holds beside weights, cache and temporary memory."""
        return self._shared_out().overhead

    @property
    def weights(self) -> Sum | None:
        """As terms; None where the model's parameters are not known."""
        return self.own_weights.term

    @cached_property
    def weights_bytes(self) -> int | None:
        """The bytes of that."""
        return self.own_weights.bytes

    def cache(self, sequences: int, context: Lengths) -> Sum:
        """The cache of so many sequences of so many tokens each."""
        return self.settled.held(self._stage, self.load(sequences, context))

    def cache_bytes(self, sequences: int, context: Lengths) -> int:
        """Bytes of that cache, remembered."""
        key = sequences, context
        known = self._bytes.get(key)  # another thread may `forget` at any time
        if known is None:
            known = self._bytes[key] = self.settled.held_bytes(self._stage, self.load(sequences, context))
        return known

    def content_bytes(self, sequences: int, context: Lengths) -> int:
        """What its layers hold of that, before the engine rounds."""
        return self.settled.content_bytes(self._stage, self.load(sequences, context))

    def bytes_beside(self, whole: int, context: Lengths, tokens: int) -> int:
        """What one sequence of fewer tokens costs beside `whole` sequences of `context` tokens."""
        return self.settled.beside_bytes(self._stage, self.load(whole, context), tokens)

    def rate(self, context: int) -> Rate:
        """What tokens and sequences of so many tokens cost, with rounding spread evenly."""
        return self.settled.rate(self._stage, self.load(1, context))

    def stretch(self, context: int) -> Stretch | None:
        """The contexts around this one over which its cache grows evenly, and how; None where nothing is known."""
        in_turn = self._common.deployment.dcp > 1 and self._scenario.shared_prefix
        if self._draft is not None or self._scenario.prefix_groups > 1 or in_turn:
            return None
        known = self._stretch
        if known is None or not known.first <= context <= known.last:
            known = self._stretch = self._stretches.get(context) or self._stretch_around(context)
        return known

    def _stretch_around(self, context: int) -> Stretch | None:
        """Of rows that stand for several tokens every context is one, which sweeps come back to with every batch."""
        found = self.settled.stretch(self._stage, self.load(1, context))
        if found is not None and found.first == found.last:
            if len(self._stretches) >= STRETCHES_REMEMBERED:
                self._stretches.clear()
            self._stretches[context] = found
        return found

    def forget(self) -> None:
        """Let go of what is remembered of workloads, so that millions of them take no memory."""
        self._bytes.clear()
        self._temporary.clear()

    @cached_property
    def grows(self) -> bool:
        """Whether a sequence's cache is unbounded, as it is not where all layers have windows."""
        return self.cache_bytes(1, 2 * MAX_CONTEXT) > self.cache_bytes(1, MAX_CONTEXT)

    def cache_read(self, sequences: int, context: Lengths) -> Sum:
        """What a step of decoding reads of it, at least: no rounding is read."""
        return self.settled.content_read(self._stage, self.load(sequences, context))

    def cache_read_bytes(self, sequences: int, context: Lengths) -> int:
        """The bytes of that."""
        return self.settled.content_bytes(self._stage, self.load(sequences, context), read=True)

    def load(self, sequences: int, context: Lengths) -> Load:
        """So many sequences of such lengths, as engines are asked for them."""
        scenario, replicas = self._scenario, self._common.deployment.dp
        return load_of(sequences, context, scenario.shared_prefix, scenario.prefix_groups, replicas)

    def holding(self, sequences: int, context: Lengths) -> RankMemory:
        """With that cache."""
        cache = self.cache(sequences, context)
        temporary = self.temporary_with(sequences, context)
        return RankMemory(self.stage, self.weights, cache, temporary, self.overhead, self.reserve)

    def bytes_holding(self, sequences: int, context: Lengths) -> int:
        """All bytes with that cache, and with the usual temporary figure."""
        return self.fixed_bytes + self._usual(sequences, context) + self.cache_bytes(sequences, context)

    def headroom(self, sequences: int, context: Lengths) -> int:
        """What is left of what is usable, with the usual temporary figure; below zero where that is too much."""
        usual = self._usual(sequences, context)
        return self.memory_for_cache(usual) - self.cache_bytes(sequences, context)

    def fit(self, sequences: int, context: Lengths) -> Fit:
        """Whether it stays within what is usable."""
        held, temporary = self.cache_bytes(sequences, context), self.temporary_with(sequences, context)
        if held <= self.memory_for_cache(temporary.high):
            return Fit.FITS
        return Fit.TIGHT if held <= self.memory_for_cache(temporary.low) else Fit.NO

    @cached_property
    def fixed_bytes(self) -> int:
        """All but cache and temporary memory; weights that are not known count as nothing."""
        return (self.weights_bytes or 0) + self.overhead.bytes + self.reserve.bytes
