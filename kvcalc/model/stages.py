"""The layers of a model in order, and what pipeline stages hold of them: worked out once for a model."""

from __future__ import annotations

from functools import cached_property
from itertools import groupby
from typing import TYPE_CHECKING

from kvcalc.named_tuple import NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from kvcalc.model.layers import Layer


def stage_ranges(layers: int, pp: int) -> Iterator[range]:
    """The layers of each pipeline stage: contiguous, the first (layers mod pp) stages one layer longer."""
    size, longer = divmod(layers, pp)
    start = 0
    for stage in range(pp):
        stop = start + size + (stage < longer)
        yield range(start, stop)
        start = stop


class Stage(NamedTuple):
    """Pipeline stages that hold the same: as many layers of each kind, with experts or without, first, last or between.

    Attributes:
        layers: those that the first of these stages holds.
        kinds: each kind of cache in them, and how many.
        numbers: of these stages, from 0, ascending.
    """

    layers: range
    kinds: Mapping[Layer, int]
    numbers: tuple[range, ...]

    @property
    def number(self) -> int:
        """Of the first of them."""
        return self.numbers[0].start

    @property
    def times(self) -> int:
        """How many they are."""
        return sum(map(len, self.numbers))


class _Run(NamedTuple):
    """Equal layers that follow each other.

    Attributes:
        stop: the first layer after them.
        caches: that each of them keeps, of most one, by label.
    """

    stop: int
    caches: tuple[tuple[str, Layer], ...]


class _Held(NamedTuple):
    """Stages that follow each other and hold the same.

    Attributes:
        kinds: label, layer and number of each kind of cache.
    """

    numbers: range
    layers: range
    kinds: tuple[tuple[str, Layer, int], ...]


class Layout:
    """Layers first to last.

    Attributes:
        layers: the caches that each keeps.
    """

    def __init__(self, layers: Sequence[tuple[Layer, ...]], first_with_experts: int) -> None:
        self.layers, self._first_with_experts = tuple(layers), first_with_experts
        self._stages: dict[int, tuple[Stage, ...]] = {}
        self._splits: dict[tuple[tuple[int, ...], tuple[object, ...] | None], tuple[Stage, ...]] = {}

    @cached_property
    def kinds(self) -> dict[Layer, int]:
        """Each kind of layer and how many there are, in order of first appearance.

        Layers with one label are one kind: what differs between them (an MLA's projections, say) is not cached.
        """
        return {layer: count for _, layer, count in self._count(0, 0, len(self.layers))}

    @cached_property
    def _runs(self) -> tuple[_Run, ...]:
        """A run ends where layers differ, and where experts begin."""
        labels: dict[tuple[Layer, ...], tuple[tuple[str, Layer], ...]] = {}
        runs, stop = [], 0
        for caches, equal in groupby(self.layers):
            start, stop = stop, stop + len(list(equal))
            if caches not in labels:
                labels[caches] = tuple((layer.label, layer) for layer in caches)
            if start < self._first_with_experts < stop:
                runs.append(_Run(self._first_with_experts, labels[caches]))
            runs.append(_Run(stop, labels[caches]))
        return tuple(runs)

    def stages(self, pp: int) -> tuple[Stage, ...]:
        """The stages that differ, in the order of their first ones."""
        if pp not in self._stages:
            self._stages[pp] = _alike(self._held(pp), pp, self._first_with_experts)
        return self._stages[pp]

    def split(self, lengths: tuple[int, ...], unlike: tuple[object, ...] | None = None) -> tuple[Stage, ...]:
        """The same for stages of so many layers each, as an engine splits them.

        Args:
            lengths: in layers.
            unlike: what each stage is on, where that differs: only stages on the same are one.

        Raises:
            ValueError: they are not the model's layers, or a stage has none.
        """
        if sum(lengths) != len(self.layers) or min(lengths) < 1:
            raise ValueError(f"stages of {lengths} layers do not make {len(self.layers)}")
        key = lengths, unlike
        if key not in self._splits:
            self._splits[key] = _alike(self._held_of(lengths), len(lengths), self._first_with_experts, unlike)
        return self._splits[key]

    def _held_of(self, lengths: tuple[int, ...]) -> Iterator[_Held]:
        start, run = 0, 0
        for number, length in enumerate(lengths):
            while self._runs[run].stop <= start:
                run += 1
            stop = start + length
            yield _Held(range(number, number + 1), range(start, stop), self._count(run, start, stop))
            start = stop

    def _held(self, pp: int) -> Iterator[_Held]:
        """What stages hold, first to last. Stages within one run of equal layers are counted together."""
        runs, number, run = self._runs, 0, 0
        size, longer = divmod(len(self.layers), pp)
        start = 0
        while number < pp:
            length = size + (number < longer)
            while runs[run].stop <= start:
                run += 1
            several = 1
            if 0 < number < pp - 1:
                until = longer if number < longer else pp - 1
                several = max(1, min(min(until, pp - 1) - number, (runs[run].stop - start) // length))
            yield _Held(
                range(number, number + several), range(start, start + length), self._count(run, start, start + length)
            )
            number, start = number + several, start + several * length

    def _count(self, run: int, start: int, stop: int) -> tuple[tuple[str, Layer, int], ...]:
        """The caches of the layers from `start`, which lies in that run, to `stop`."""
        counts: dict[str, int] = {}
        kinds: dict[str, Layer] = {}
        while start < stop:
            end = min(stop, self._runs[run].stop)
            for label, layer in self._runs[run].caches:
                kinds.setdefault(label, layer)
                counts[label] = counts.get(label, 0) + end - start
            start, run = end, run + 1
        return tuple((label, kinds[label], count) for label, count in counts.items())


def _alike(
    stages: Iterable[_Held], pp: int, first_with_experts: int, unlike: tuple[object, ...] | None = None
) -> tuple[Stage, ...]:
    """Those that hold the same, on the same, as one."""
    alike: dict[object, list[_Held]] = {}
    for held in stages:
        with_experts = len(range(max(held.layers.start, first_with_experts), held.layers.stop))
        counts = tuple((label, count) for label, _, count in held.kinds)
        ends = held.numbers.start == 0, held.numbers.stop == pp, unlike and unlike[held.numbers.start]
        alike.setdefault((len(held.layers), with_experts, *ends, counts), []).append(held)
    return tuple(
        Stage(
            same[0].layers,
            {layer: count for _, layer, count in same[0].kinds},
            tuple(held.numbers for held in same),
        )
        for same in alike.values()
    )
