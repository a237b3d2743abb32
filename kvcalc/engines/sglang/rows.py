"""The rows of a model in SGLang's pools: of which layers, how wide, and those that no content has."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

from kvcalc.engines.settled import Settled
from kvcalc.engines.sglang.compressed import compresses
from kvcalc.engines.sglang.drafting import DraftPool, pool_of_draft
from kvcalc.engines.sglang.formats import kept_format
from kvcalc.engines.sglang.shared import with_own_rows
from kvcalc.errors import KvcalcError
from kvcalc.mechanisms import MLA

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kvcalc.engines.cache_format import CacheFormat
    from kvcalc.engines.content_counter import TensorRows
    from kvcalc.engines.setup import Setup
    from kvcalc.engines.sglang.settings import Settings
    from kvcalc.model.layers import Layer
    from kvcalc.model.stages import Stage

INDEX_ELIDED = (0, 5, 18)
"""Layers that reuse another's choice of positions have no indexer's keys since then."""


class Extra(NamedTuple):
    """Rows of a pool that no content has: of layers that share a cache, or of indexers that are not used.

    Attributes:
        name: of the excess.
        row: bytes of a token in all of these layers.
        window: whether they lie in the pool of windows.
    """

    name: str
    row: int
    window: bool = False


def pp_lengths(layers: int, pp: int) -> tuple[int, ...]:
    """Layers of each stage: the last (layers mod pp) are one layer longer.

    sglang/srt/distributed/utils.py, get_pp_indices.
    """
    size, longer = divmod(layers, pp)
    return tuple(size + (stage >= pp - longer) for stage in range(pp))


class SglangRows(Settled):
    """Stages as SGLang splits them, and what a token takes in each pool."""

    def __init__(self, setup: Setup, settings: Settings) -> None:
        super().__init__(setup)
        self.settings = settings
        self._row_bytes: dict[Layer, int] = {}
        self._sharing = with_own_rows(setup.model.layout.layers)
        self.cache_format  # noqa: B018  # refuses a format at once
        self._refuse_unlike_layers()

    @cached_property
    def stages(self) -> tuple[Stage, ...]:
        return self.setup.model.layout.split(pp_lengths(self.setup.model.num_layers, self.setup.deployment.pp))

    @cached_property
    def cache_format(self) -> CacheFormat:
        return kept_format(self.setup, self.settings.version)

    def _refuse_unlike_layers(self) -> None:
        """A pool has rows of one width."""
        if compresses(self.setup.model):
            return
        for window in (False, True):
            rows = {self._row_of(layer) for layer in self.setup.model.layout.kinds if self._grows_in(layer, window)}
            if len(rows) > 1:
                raise KvcalcError(
                    f"--engine sglang: layers of one pool have rows of one width there, and {self.setup.model.name} "
                    "has layers that differ; kvcalc does not follow how it serves them"
                )

    def _grows_in(self, layer: Layer, window: bool) -> bool:
        return bool(layer.attention.elements_per_token) and self._in_windows(layer) == window

    def _in_windows(self, layer: Layer) -> bool:
        return self.settings.window_pool and layer.span is not None

    def _row_of(self, layer: Layer) -> int:
        """Bytes of a token of one layer on a rank, without an indexer's keys."""
        known = self._row_bytes.get(layer)
        if known is None:
            known = self._row_bytes[layer] = self._count_row(layer)
        return known

    def _count_row(self, layer: Layer) -> int:
        rows = self._counter.rows({layer: 1}, self.setup.deployment.tp)
        return sum(each.row_bytes for each in rows if each.constant_rows is None and each.tensor.name != "index_k")

    def extras(self, stage: Stage) -> tuple[Extra, ...]:
        """Rows beyond the content; of stages that hold the same, those of the one with the most."""
        found = []
        lengths = pp_lengths(self.setup.model.num_layers, self.setup.deployment.pp)
        for number in (number for numbers in stage.numbers for number in numbers):
            start = sum(lengths[:number])
            found.append(tuple(self._extras_of(range(start, start + lengths[number]))))
        return max(found, key=lambda extras: sum(each.row for each in extras))

    def _extras_of(self, places: range) -> Iterator[Extra]:
        rows = {False: 0, True: 0}
        for place, layer in self._sharing.items():
            if place in places:
                rows[self._in_windows(layer)] += self._row_of(layer)
        if self.draft_pool.priced:
            yield Extra("draft, pool of its own", self.draft_pool.priced)
        for window, row in rows.items():
            if row:
                yield Extra("rows of layers that share a cache", row, window)
        if self.settings.version >= INDEX_ELIDED and self.settings.hisparse is None:
            return
        if unused := sum(self._index_row for place in places if self._skips_index(place)):
            yield Extra("keys of indexers that are not used", unused)

    @cached_property
    def draft_pool(self) -> DraftPool:
        """Of a token, in what drafts; a draft is priced as so many of the model's full layers."""
        full = (layer for layer in self.setup.model.layout.kinds if self._grows_in(layer, window=False))
        row = max(map(self._row_of, full), default=0) + self._index_row
        return pool_of_draft(self.setup, self.settings.version, self.cache_format, row)

    def _skips_index(self, place: int) -> bool:
        kinds = [layer.attention for layer in self.setup.model.layout.layers[place]]
        return any(isinstance(each, MLA) and each.index_topk and each.index_head_dim is None for each in kinds)

    def grown_rows(self, stage: Stage) -> tuple[TensorRows, ...]:
        """The rows that grow with tokens."""
        return tuple(each for each in self._content_rows(stage) if each.constant_rows is None)

    def index_row(self, stage: Stage) -> int:
        """Bytes of a token's index keys in all layers of a stage."""
        rows = self._content_rows(stage)
        return sum(each.row_bytes for each in rows if each.constant_rows is None and each.tensor.name == "index_k")

    @cached_property
    def _index_row(self) -> int:
        kinds = self.setup.model.layout.kinds
        rows = [each for each in self._counter.rows(kinds, 1) if each.tensor.name == "index_k"]
        return max((each.row_bytes // kinds[each.layer] for each in rows), default=0)
