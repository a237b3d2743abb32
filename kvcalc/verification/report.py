"""What one rank found: plain values, which processes can send each other."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kvcalc.verification.decoding import Decoded
    from kvcalc.verification.result import Check, Measurement
    from kvcalc.verification.scope import Rank


class RankReport(NamedTuple):
    """What one rank stores.

    Attributes:
        elements: of one token in one layer: label of the kind -> name of the tensor -> elements.
        layers: label -> how many layers of the kind the rank has.
        held: label -> bytes that those layers hold.
        allocator: the allocator's figures against its rules; empty where there are none.
        no_allocator: why not.
        decoded: label -> what decoding from the real cache gave; empty where it was not done.
        no_decode: why not.
    """

    rank: Rank
    elements: Mapping[str, Mapping[str, int]]
    layers: Mapping[str, int]
    held: Mapping[str, int]
    allocator: tuple[Check, ...] = ()
    no_allocator: str = ""
    decoded: Mapping[str, Decoded] = {}  # never written
    no_decode: str = ""
    measurements: tuple[Measurement, ...] = ()
