"""What an engine has for its cache: the share of the memory that it uses, and what else takes a part of that."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvcalc.named_tuple import NamedTuple
from kvcalc.term import Factor, Product, Sum
from kvcalc.units import GIB

if TYPE_CHECKING:
    from collections.abc import Mapping


class Temporary(NamedTuple):
    """Temporary memory of one rank, in bytes: what is counted, and the range that was observed.

    Attributes:
        term: what totals count, with the path 'temporary'.
        low: the least observed. Where a formula tells it, that.
        high: the most observed in settings like these; what a deployment must leave for it to be called fitting.
    """

    term: Product | Sum
    low: int
    high: int

    @property
    def is_range(self) -> bool:
        return self.low != self.high


class Seen(NamedTuple):
    """What was observed, in hundredths of a GiB.

    Attributes:
        typical: what is counted.
        source: where.
    """

    low: int
    typical: int
    high: int
    source: str

    @property
    def in_bytes(self) -> tuple[int, int, int]:
        """The least, what is counted, and the most."""
        low, typical, high = (hundredths * GIB // 100 for hundredths in (self.low, self.typical, self.high))
        return low, typical, high


def seen_overhead(seen: Mapping[str, Seen]) -> tuple[Sum, int, int]:
    """Rows of overhead that were observed, by their names; and the least and the most of all together, in bytes."""
    sizes = [each.in_bytes for each in seen.values()]
    rows = (
        Product(name, (Factor("seen_in_practice", typical, "byte"),), each.source)
        for (name, each), (_, typical, _) in zip(seen.items(), sizes, strict=True)
    )
    return Sum("overhead", tuple(rows)), sum(low for low, _, _ in sizes), sum(high for _, _, high in sizes)


class Budget(NamedTuple):
    """The memory of one rank as an engine shares it out. What is None is as for the plain formulas.

    Every shape of budget is stated by these. A share of the total: `usable`. A share of what is left after the
    weights, or of what is free after a peak: `usable` is all that is free, and what the engine does not touch of it is
    `left_free`.

    Attributes:
        usable: bytes that weights, cache, temporary memory, overhead and reserves share; None: floor(memory x
            utilization).
        temporary: activations at their peak; None: the observed range, by kind of model.
        overhead: all else, as rows with a source; None: communication buffers and CUDA graphs as observed.
        left_free: what the engine keeps free of `usable` by its own rule: a further row of the overhead, which
            `--overhead` does not replace.
        overhead_seen: the least and the most of the overhead that was seen, in bytes, each with what is left free of
            `usable` beside it; None: it is no range.
        cache: bytes of the cache where they are stated outright, as by vLLM's kv-cache-memory-bytes; it gets no more,
            however much of `usable` is left. None: it gets all that is left.
    """

    usable: int | None = None
    temporary: Temporary | None = None
    overhead: Sum | None = None
    left_free: Product | None = None
    cache: int | None = None
    overhead_seen: tuple[int, int] | None = None


class Pool(NamedTuple):
    """The blocks that an engine divides its cache memory into, as it prints them.

    Attributes:
        blocks: how many there are on each rank.
        block_size: tokens that one holds.
        tokens: as the engine prints them.
        concurrency: as the engine prints it: sequences of the given context, a decimal.
        window_tokens: of a pool that windows have beside it; None where they have none.
        slots: of states, where they have a pool of their own.
    """

    blocks: int
    block_size: int
    tokens: int
    concurrency: float
    window_tokens: int | None = None
    slots: int | None = None
