"""The blocks of a pipeline stage: what its layers fill of each group, and how large a block is."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from kvcalc.named_tuple import NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kvcalc.engines.vllm.cache.groups import Group
    from kvcalc.engines.vllm.cache.placed import Kept


class StageGroup(NamedTuple):
    """What a stage holds of a group.

    Attributes:
        layers: and how many of each.
    """

    group: Group
    layers: Mapping[Kept, int]

    @property
    def width(self) -> int:
        """Bytes of a block that its layers fill."""
        return sum(size * count for size, count in self.pages.items())

    @property
    def pages(self) -> Counter[int]:
        """By their size, those of a block that its layers fill."""
        found: Counter[int] = Counter()
        for kept, count in self.layers.items():
            found[kept.spec.page] += count
        return found


class StageBlocks(NamedTuple):
    """The blocks of a stage.

    Attributes:
        bytes: of one block: what the widest group needs, whichever takes it.
    """

    groups: tuple[StageGroup, ...]
    bytes: int
