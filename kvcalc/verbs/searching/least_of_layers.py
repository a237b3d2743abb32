"""What any so many of a model's layers hold at least: some pipeline stage has their number over that of stages."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from kvcalc.engines import content_bytes
from kvcalc.model.layers import count_layers

if TYPE_CHECKING:
    from kvcalc.memory import Rank
    from kvcalc.scenario.mix import Lengths


class LeastOfLayers:
    """On one of the tp ranks of each stage."""

    def __init__(self, alone: Rank, sequences: int, context: Lengths) -> None:
        """With so many sequences on a rank that has no stages beside it."""
        (stage,) = alone.settled.stages
        layout, load = alone.settled.setup.model.layout, alone.load(sequences, context)
        sizes: list[tuple[int, int]] = []
        if dict(stage.kinds) == layout.kinds:  # else some caches are not on it, and nothing is known of the rest
            for caches, number in Counter(layout.layers).items():
                asked = alone.settled.rank_load(stage._replace(kinds=count_layers([caches])), load)
                sizes.append((content_bytes(asked), number))
        self._sizes = sorted(sizes)

    def of(self, layers: int) -> int:
        """The least that so many of them hold."""
        total, left = 0, layers
        for size, number in self._sizes:
            taken = min(left, number)
            total, left = total + taken * size, left - taken
        return total
