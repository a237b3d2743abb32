"""Which rows of a sweep are made: all of them, or every N-th block."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from kvcalc.errors import KvcalcError

if TYPE_CHECKING:
    from collections.abc import Iterator

MAX_SHARDS = 10**6
_BLOCK = 8192
_BLOCKS_OF_A_SHARD = 8
_SHARD = re.compile(r"(\d{1,7})/(\d{1,7})")


class Shard(NamedTuple):
    """Every `of`-th block of rows, from the `number`-th, which is counted from 1."""

    number: int = 1
    of: int = 1

    def blocks(self, rows: int) -> Iterator[tuple[int, int]]:
        """From which row to which each of its blocks goes; those of all shards together are all rows, once."""
        if self.of == 1:
            yield 0, rows
            return
        size = max(1, min(_BLOCK, -(-rows // (self.of * _BLOCKS_OF_A_SHARD))))
        for start in range((self.number - 1) * size, rows, self.of * size):
            yield start, min(start + size, rows)

    def rows(self, rows: int) -> int:
        """How many of so many rows are its own."""
        return sum(stop - start for start, stop in self.blocks(rows))


def shard_of(given: str | tuple[int, int] | None) -> Shard:
    """'2/8' -> the second of eight.

    Raises:
        KvcalcError: it is not K/N with K from 1 to N.
    """
    if given is None:
        return Shard()
    text = given if isinstance(given, str) else "/".join(map(str, given))
    found = _SHARD.fullmatch(text.strip())
    number, of = (int(found[1]), int(found[2])) if found else (0, 0)
    if not 1 <= number <= of <= MAX_SHARDS:
        raise KvcalcError(f"--shard: '{text[:40]}' is not K/N with K from 1 to N, and N up to {MAX_SHARDS:,} (2/8)")
    return Shard(number, of)
