"""How what a rank holds grows with sequences and tokens, where it grows evenly: an exact form instead of many calls.

By plain formulas bytes are linear in the sequences at any context, and between two contexts at which nothing bends
(the length of a window) linear in the context too. A form is made of rates that are stated, at two contexts of such a
stretch. What has no such form, such as rows of several tokens or whatever an engine rounds, is counted call by call.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvcalc.engines.rows_kept import even_stretch
from kvcalc.named_tuple import NamedTuple
from kvcalc.units import MAX_CONTEXT

if TYPE_CHECKING:
    from collections.abc import Callable

    from kvcalc.engines.content_counter import Rate, TensorRows
    from kvcalc.engines.rank_load import RankLoad


class Growth(NamedTuple):
    """Bytes of a load: fixed + token x context + sequences x (sequence + sequence_token x context)."""

    fixed: int = 0
    token: int = 0
    sequence: int = 0
    sequence_token: int = 0

    def plus(self, other: Growth) -> Growth:
        """Both together."""
        return Growth(*(one + another for one, another in zip(self, other, strict=True)))

    def times(self, number: int) -> Growth:
        """So many times as much."""
        return Growth(*(each * number for each in self))

    def over_sequences(self, context: int) -> tuple[int, int]:
        """At a context: what there is without sequences, and what each adds."""
        return self.fixed + self.token * context, self.sequence + self.sequence_token * context

    def over_context(self, sequences: int) -> tuple[int, int]:
        """With so many sequences: what there is without tokens, and what one more of context adds."""
        return self.fixed + self.sequence * sequences, self.token + self.sequence_token * sequences


class Stretch(NamedTuple):
    """Contexts over which what a rank holds grows evenly.

    Attributes:
        first: the shortest of them.
        last: the longest.
        held: bytes of a load.
        one: bytes of one sequence with what all of them share; no sequences play a part.
    """

    first: int
    last: int
    held: Growth
    one: Growth


def stretch_of(rows: tuple[TensorRows, ...], load: RankLoad, rate: Callable[[int], Rate]) -> Stretch:
    """The stretch around a load's context.

    Args:
        rows: what the rank's layers keep.
        load: whose context, shared prefix and ranks that share tokens are meant.
        rate: what a sequence costs at a context.
    """
    first, last = 1, MAX_CONTEXT
    for each in rows:
        if each.constant_rows is None:
            begins, ends = even_stretch(each.layer, each.tensor, load)
            first, last = max(first, begins), min(last, ends)
    here = rate(load.context)
    if first == last:
        held = Growth(here.shared_bytes, 0, here.bytes_per_sequence)
        return Stretch(first, last, held, Growth(here.shared_bytes + here.bytes_per_sequence))
    other = load.context + 1 if load.context < last else load.context - 1
    there = rate(other)
    fixed, token = _through(load.context, here.shared_bytes, other, there.shared_bytes)
    sequence, more = _through(load.context, here.bytes_per_sequence, other, there.bytes_per_sequence)
    return Stretch(first, last, Growth(fixed, token, sequence, more), Growth(fixed + sequence, token + more))


def _through(context: int, size: int, other: int, other_size: int) -> tuple[int, int]:
    """The line through two neighbours: its value at 0, and what a token adds."""
    token = (other_size - size) * (other - context)  # they are one token apart
    return size - token * context, token
