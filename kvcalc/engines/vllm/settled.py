"""A deployment under vLLM: its layout, with what it loads, keeps aside, and sets aside beside it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvcalc.engines.budget import Budget
from kvcalc.engines.load import Load
from kvcalc.engines.placement import Placement
from kvcalc.engines.vllm.excess import excess
from kvcalc.engines.vllm.layout import VllmLayout
from kvcalc.engines.vllm.loaded.step_buffers import step_buffers
from kvcalc.engines.vllm.loaded.weights import loaded_beyond, pads_experts
from kvcalc.engines.vllm.notes import notes
from kvcalc.engines.vllm.parked import parked
from kvcalc.engines.vllm.profiled.budget import budget_of
from kvcalc.model.layers import count_layers
from kvcalc.term import Product

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kvcalc.engines.parked import Parked
    from kvcalc.model.stages import Stage
    from kvcalc.note import Note


class SettledVllm(VllmLayout):
    """The blocks of every rank, and what stands beside them."""

    @property
    def placement(self) -> Placement:
        """Tables of n-grams are in pinned host memory by default (vllm/config/engram.py, EngramConfig.cpu_offload)."""
        return Placement(ngrams=False)

    def parked(self, tokens: int) -> Parked | str:
        return parked(self, tokens)

    def notes(self, load: Load) -> Iterator[Note]:  # noqa: ARG002  # the interface's
        return notes(self)

    def budget(self, stage: Stage, weights_bytes: int) -> Budget:  # noqa: ARG002  # the interface's
        return budget_of(self.setup, self.settings, stage)

    def excess(self, stage: Stage, load: Load) -> Iterator[Product]:
        return excess(self, stage, load)

    def weights_excess(self, stage: Stage) -> Iterator[Product]:
        setup, own = self.setup, self.setup.weights_as
        if own is not None:
            layers = own.layout.layers[stage.layers.start : stage.layers.stop]
            setup, stage = setup._replace(model=own), stage._replace(kinds=count_layers(layers))
        yield from loaded_beyond(setup, self.settings.version, stage)
        yield from step_buffers(setup, self.settings, stage)

    def pads_experts(self, name: str) -> bool:
        return pads_experts(self.setup, self.settings.version, name)
