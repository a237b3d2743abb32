"""How many nodes the ranks of a deployment lie on, where the ranks of each layer stay together."""

from __future__ import annotations

from typing import NamedTuple


class Nodes(NamedTuple):
    """Nodes of so many GPUs each.

    The tp ranks that share a layer lie on one node: with tp 3 a node of 8 is enough for two such groups, and two of its
    GPUs are idle. A tp larger than a node lies on whole nodes.

    Attributes:
        size: GPUs of each.
        whole: whether GPUs are counted by whole nodes.
    """

    size: int
    whole: bool = False

    def number(self, tp: int, groups: int) -> int:
        """The nodes that so many groups of tp ranks lie on."""
        if tp > self.size:
            return groups * -(-tp // self.size)
        return -(-groups // (self.size // tp))

    def gpus(self, tp: int, groups: int) -> int:
        """What is taken for them: the ranks, or all GPUs of their nodes."""
        return self.number(tp, groups) * self.size if self.whole else tp * groups

    def most_groups(self, tp: int, gpus: int) -> int:
        """The most groups of tp ranks that so many GPUs are enough for."""
        if not self.whole:
            return gpus // tp
        if tp > self.size:
            return gpus // self.size // -(-tp // self.size)
        return gpus // self.size * (self.size // tp)
