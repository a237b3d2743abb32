"""What one sequence takes where it is kept beside the accelerators: in host memory, or on a disk."""

from __future__ import annotations

from fractions import Fraction

from kvcalc.named_tuple import NamedTuple


class Parked(NamedTuple):
    """A sequence in the tier of one replica.

    Attributes:
        unit_bytes: of what a pool of the tier is divided into, with all rounding.
        units: that the sequence takes; 0 where it is too short for one.
        link_bytes: that a rank moves over its own link to bring it back; of the rank that moves most.
        source: where the engine does so.
        pools: equal parts that the tier has; each has a part of every sequence.
        step: whole multiples of so many bytes are a pool's size.
        spare: units that a pool has beside those of its size.
        beside: bytes of a unit that lie in another pool, which is no part of that size but of the tier.
        share: of a pool, which stays less than full; 1: all of it.
        on_disk: whether the engine keeps the same on a disk.
    """

    unit_bytes: int
    units: int
    link_bytes: int
    source: str
    pools: int = 1
    step: int = 1
    spare: int = 0
    beside: int = 0
    share: Fraction = Fraction(1)
    on_disk: bool = True

    def held_by(self, size: int) -> int | None:
        """Such sequences in so many bytes; None where they take nothing."""
        if not self.unit_bytes:
            return None
        pool = self._pool(size // self.pools)
        if self.share < 1:
            pool = max(0, -(-pool * self.share // 1) - 1)
        return (pool // self.unit_bytes + self.spare) // self.units if self.units and pool else 0

    def _pool(self, part: int) -> int:
        """The size of a pool that has so much of the tier: whole steps, with what lies beside it."""
        steps = part * self.unit_bytes // (self.unit_bytes + self.beside) // self.step
        while steps and self.beside and not self._holds(part, steps * self.step):
            steps -= 1
        return steps * self.step

    def _holds(self, part: int, pool: int) -> bool:
        units = pool // self.unit_bytes + self.spare
        return units * (self.unit_bytes + self.beside) <= part
