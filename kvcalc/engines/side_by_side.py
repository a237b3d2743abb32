"""A model and what drafts its tokens, each laid out by itself, on the same ranks."""

from __future__ import annotations

from math import lcm
from typing import TYPE_CHECKING

from kvcalc.engines.settled import Settled
from kvcalc.term import Factor, Sum, leaves

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kvcalc.engines.cache_format import CacheFormat
    from kvcalc.engines.content_counter import Rate
    from kvcalc.engines.load import Load
    from kvcalc.model.stages import Stage
    from kvcalc.term import Product

DRAFT = "draft"
"""Before the paths of what belongs to a draft."""


def named_draft(term: Product) -> Product:
    """The same, as a draft's."""
    return term._replace(path=f"{DRAFT}, {term.path}")


class SideBySide(Settled):
    """The ranks of the last pipeline stage hold the draft's cache too, each its share, or a copy of it."""

    def __init__(self, model: Settled, draft: Settled) -> None:
        super().__init__(model.setup)
        self._model, self._draft = model, draft
        (self._drafting,) = draft.stages

    def _drafts(self, stage: Stage) -> bool:
        return stage.layers.stop == self.setup.model.num_layers

    @property
    def stages(self) -> tuple[Stage, ...]:
        return self._model.stages

    @property
    def block_tokens(self) -> int:
        return lcm(self._model.block_tokens, self._draft.block_tokens)

    @property
    def cache_format(self) -> CacheFormat:
        return self._model.cache_format

    def held(self, stage: Stage, load: Load) -> Sum:
        own = self._model.held(stage, load)
        if not self._drafts(stage):
            return own
        return Sum(own.path, (*own.parts, *map(named_draft, leaves(self._draft.held(self._drafting, load)))))

    def held_bytes(self, stage: Stage, load: Load) -> int:
        own = self._model.held_bytes(stage, load)
        return own + (self._draft.held_bytes(self._drafting, load) if self._drafts(stage) else 0)

    def content_bytes(self, stage: Stage, load: Load, *, read: bool = False) -> int:
        own = self._model.content_bytes(stage, load, read=read)
        return own + (self._draft.content_bytes(self._drafting, load, read=read) if self._drafts(stage) else 0)

    def content_read(self, stage: Stage, load: Load) -> Sum:
        own = self._model.content_read(stage, load)
        if not self._drafts(stage):
            return own
        return Sum(own.path, (*own.parts, *map(named_draft, leaves(self._draft.content_read(self._drafting, load)))))

    def beside_bytes(self, stage: Stage, whole: Load, tokens: int) -> int:
        own = self._model.beside_bytes(stage, whole, tokens)
        return own + (self._draft.beside_bytes(self._drafting, whole, tokens) if self._drafts(stage) else 0)

    def rate(self, stage: Stage, load: Load) -> Rate:
        own = self._model.rate(stage, load)
        if not self._drafts(stage):
            return own
        return own.plus(self._draft.rate(self._drafting, load))

    def replica(self, load: Load) -> Sum:
        own = self._model.replica(load)
        held = leaves(self._draft.held(self._drafting, load))
        ranks = Factor("ranks", self.setup.deployment.tp, "rank")
        each = (named_draft(leaf) for leaf in held)
        return Sum(own.path, (*own.parts, *(leaf.times(ranks) if ranks.value > 1 else leaf for leaf in each)))

    def weights_excess(self, stage: Stage) -> Iterator[Product]:
        return self._model.weights_excess(stage)

    def pads_experts(self, name: str) -> bool:
        return self._model.pads_experts(name)

    def lower_bound(self, load: Load) -> bool:
        return self._model.lower_bound(load) or self._draft.lower_bound(load)
