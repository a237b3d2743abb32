"""A cache of a layer, as groups are made of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from kvcalc.engines.vllm.cache.specs import Spec
    from kvcalc.model.layers import Layer


class Kept(NamedTuple):
    """What a layer keeps, and what it asks of the planner for that.

    Attributes:
        drafts: whether the layer predicts further tokens, and is none of the model's layers.
    """

    layer: Layer
    spec: Spec
    drafts: bool = False


class Placed(NamedTuple):
    """A cache of a layer.

    Attributes:
        number: of the layer in the model, from 0.
    """

    number: int
    kept: Kept

    @property
    def spec(self) -> Spec:
        return self.kept.spec
