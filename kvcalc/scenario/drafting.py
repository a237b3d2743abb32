"""What drafts tokens that the model then checks: a model of its own, or layers of the model's own file (MTP)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvcalc.noun import Noun, noun

if TYPE_CHECKING:
    from fractions import Fraction

    from kvcalc.engines.cache_format import CacheFormat
    from kvcalc.model.model import Model


@noun
class Drafting(Noun):
    """What drafts tokens.

    Attributes:
        model: its layers and its weights.
        cache_format: of its cache.
        own_layers: whether it is layers of the model's own file, which lie on the ranks of the model as its others do.
        tp: ranks that share it, where that is asked for.
        tokens: drafted a step, where that is known.
        weights: bytes of one copy of its weights, where they are stated.
        acceptance_length: tokens that a step makes on average, the accepted ones and one of the model's own; None
            where nobody says.
        without_table: whether it looks tokens up in the model's embedding, of which the last of several stages then has
            a copy.
    """

    model: Model
    cache_format: CacheFormat
    own_layers: bool = False
    tp: int | None = None
    tokens: int | None = None
    weights: int | None = None
    without_table: bool = False
    acceptance_length: Fraction | None = None

    @property
    def weighs(self) -> bool:
        """Whether its weights are known."""
        return self.weights is not None or self.model.parameters is not None or bool(self.model.weights)
