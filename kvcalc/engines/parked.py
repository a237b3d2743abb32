"""What one sequence takes where it is kept beside the accelerators: in host memory, or on a disk."""

from __future__ import annotations

from kvcalc.named_tuple import NamedTuple


class Parked(NamedTuple):
    """A sequence in the tier of one replica.

    Attributes:
        unit_bytes: of what the tier is divided into, with every copy and all rounding.
        units: that the sequence takes; 0 where it is too short for one.
        link_bytes: that a rank moves over its own link to bring it back; of the rank that moves most.
        source: where the engine does so.
    """

    unit_bytes: int
    units: int
    link_bytes: int
    source: str

    def held_by(self, size: int) -> int | None:
        """Such sequences in so many bytes; None where they take nothing."""
        if not self.unit_bytes:
            return None
        return size // self.unit_bytes // self.units if self.units else 0
