"""What any so many of a model's layers hold at least: some pipeline stage has their number over that of stages."""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from itertools import accumulate
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
        sizes: list[tuple[int, int]] = []  # of one layer, and how many hold as much
        if dict(stage.kinds) == layout.kinds:  # else some caches are not on it, and nothing is known of the rest
            for caches, number in Counter(layout.layers).items():
                asked = alone.settled.rank_load(stage._replace(kinds=count_layers([caches])), load)
                sizes.append((content_bytes(asked), number))
        sizes.sort()
        self._sizes = [size for size, _ in sizes]
        self._numbers = list(accumulate((number for _, number in sizes), initial=0))
        self._totals = list(accumulate((size * number for size, number in sizes), initial=0))

    def of(self, layers: int) -> int:
        """The least that so many of them hold."""
        whole = bisect_right(self._numbers, layers) - 1
        beyond = layers - self._numbers[whole] if whole < len(self._sizes) else 0
        return self._totals[whole] + (beyond * self._sizes[whole] if beyond else 0)
