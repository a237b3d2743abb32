"""What a plan looks at: sizes and ways of a replica, and what rules a way out."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

from kvcalc.deployment import Deployment

if TYPE_CHECKING:
    from kvcalc.verbs.planning.needs import Need


class Shape(NamedTuple):
    """A size of a replica. In order, those that take fewer GPUs come first.

    Attributes:
        gpus: of one replica and its spares.
    """

    gpus: int
    tp: int
    pp: int


class Way(NamedTuple):
    """A way to spread a replica.

    Attributes:
        share_experts: whether replicas share them.
        least_replicas: without spares; fewer cannot hold the batch.
    """

    tp: int
    pp: int
    dcp: int
    share_experts: bool
    least_replicas: int

    @property
    def alone(self) -> Deployment:
        """One such replica."""
        return alone_of(self.tp, self.pp, self.dcp)


@lru_cache(maxsize=4096)
def alone_of(tp: int, pp: int, dcp: int) -> Deployment:
    """The same for all accelerators: a plan looks at thousands."""
    return Deployment(tp, pp, dcp=dcp)


class Bound(NamedTuple):
    """What rules ways out, by plain formulas the same on all accelerators.

    Attributes:
        taken: bytes of each rank that are neither weights nor cache.
    """

    dcp: int
    taken: int
    needs: tuple[Need, ...]

    def fewest(self, usable: int) -> int:
        """A number of replicas below which they cannot hold the batch, by sums over their ranks."""
        most, fewest = usable - self.taken, 1
        for need in self.needs:
            fewest = max(fewest, need.fewest(most))
        return fewest


class Shared(NamedTuple):
    """What a rank holds at least where replicas share the experts, by plain formulas.

    Attributes:
        each: bytes on it, however many replicas there are.
        divided: bytes that they share.
    """

    each: int
    divided: int
