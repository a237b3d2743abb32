"""Rows of one batch at contexts between which caches do not grow evenly, as where a row stands for several tokens.

At each of these contexts bytes are a line over the sequences all the same. These lines are worked out once, for all
batches.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable

Lines = tuple[tuple[int, int], ...]
"""Of each context what there is without sequences, and what each adds."""


class Uneven(NamedTuple):
    """What rows need of each of some contexts.

    Attributes:
        whole: all ranks of a replica.
        rank: one of them; all are alike.
        ones: what one sequence takes on it.
        fits: sequences up to which it fits, with the most temporary memory.
        tight: likewise with the least.
        single: a rank without any splitting.
    """

    whole: Lines
    rank: Lines
    ones: tuple[int, ...]
    fits: tuple[int, ...]
    tight: tuple[int, ...]
    single: Lines


def at(lines: Iterable[tuple[int, int]], sequences: int) -> list[int]:
    """The bytes at each of the contexts."""
    return [start + step * sequences for start, step in lines]
