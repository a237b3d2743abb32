"""The engine `exact`: what layers hold, to the byte, with no rounding to blocks and no padding."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from kvcalc.engines.content import contents
from kvcalc.term import Sum

if TYPE_CHECKING:
    from kvcalc.engines.base import RankLoad


@dataclass(frozen=True, slots=True)
class Exact:
    """The documented formulas; a serving engine that rounds to blocks reserves a little more."""

    version: str | None = None

    name = "exact"
    about = (
        "The documented formulas, to the byte: every layer keeps each token's row, one with a window or chunks "
        "min(context, window or chunk) of them, one with a state the same for any context. Serving engines round to "
        "blocks, keep more of a window than its length, and pad states to pages or keep them twice."
    )
    source = "each mechanism's own (kvcalc explain mha, mqa, gqa, mla, mamba2, ...)"

    def rank_cache(self, load: RankLoad) -> Sum:
        return Sum("cache", tuple(content.term for content in contents(load)))

    def is_lower_bound(self, load: RankLoad) -> bool:
        return any(
            layer.limits(load.context) or any(tensor.rows is not None for tensor in layer.attention.cached())
            for layer in load.layers
        )
