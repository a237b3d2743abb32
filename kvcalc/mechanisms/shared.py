"""A layer that reads another layer's cache."""

from __future__ import annotations

from typing import ClassVar, Literal

from kvcalc.mechanisms.base import CachedTensor, Mechanism
from kvcalc.noun import noun


@noun(kw_only=True)
class Shared(Mechanism):
    """Cross-layer sharing (arXiv 2405.12981): the layer attends to keys and values that an earlier layer keeps."""

    title: ClassVar[str] = "Shared cache"
    keeps: ClassVar[str] = "nothing: the layer reads another layer's cache"
    source: ClassVar[str] = "Brandon et al. 2024, https://arxiv.org/abs/2405.12981; Gemma 3n's num_kv_shared_layers"

    kind: Literal["shared"] = "shared"

    def cached(self) -> tuple[CachedTensor, ...]:
        return ()

    @property
    def label(self) -> str:
        return "shared"
