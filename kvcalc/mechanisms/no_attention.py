"""A layer without attention."""

from __future__ import annotations

from typing import ClassVar, Literal

from kvcalc.mechanisms.base import CachedTensor, Mechanism
from kvcalc.noun import noun


@noun(kw_only=True)
class NoAttention(Mechanism):
    """A layer that is only a feed-forward block, as some pruned models have: nothing is kept."""

    title: ClassVar[str] = "No attention"
    keeps: ClassVar[str] = "nothing: the layer has no attention"
    source: ClassVar[str] = "for example Llama-Nemotron, https://arxiv.org/abs/2411.19146 section 2"

    kind: Literal["none"] = "none"

    def cached(self) -> tuple[CachedTensor, ...]:
        return ()

    @property
    def label(self) -> str:
        return "no attention"
