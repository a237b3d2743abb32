"""Bytes of contents without their terms, and what a token and a sequence cost: what searches and sweeps ask for.

The figures are those of `content.py`; what no workload changes is worked out once.
"""

from __future__ import annotations

from math import lcm, prod
from typing import TYPE_CHECKING

from kvcalc.engines.content import equal_tensors, row_of
from kvcalc.engines.rank_load import RankLoad
from kvcalc.engines.rows_kept import row_count, rows_kept, span_of
from kvcalc.mechanisms import Role
from kvcalc.named_tuple import NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from kvcalc.engines.cache_format import CacheFormat
    from kvcalc.mechanisms import CachedTensor
    from kvcalc.model.layers import Layer
    from kvcalc.model.span import Span


class Rate(NamedTuple):
    """What tokens and sequences cost on one rank, with rounding up spread evenly over all that it rounds.

    Attributes:
        bytes_per_token: what a token adds while no window is full.
        bytes_per_token_at_context: what the next token adds to a sequence of the given context.
        state_bytes_per_sequence: what a sequence costs before its first token.
        bytes_per_sequence: what another sequence of the given context adds; without the shared prefix.
        shared_bytes: what all sequences share at that context, kept once.
    """

    bytes_per_token: int
    bytes_per_token_at_context: int
    state_bytes_per_sequence: int
    bytes_per_sequence: int
    shared_bytes: int

    def plus(self, other: Rate) -> Rate:
        """Of both."""
        return Rate(*(sum(both) for both in zip(self, other, strict=True)))


class TensorRows(NamedTuple):
    """Of tensors alike in the layers of one kind on one of tp ranks, what no workload changes.

    Attributes:
        tensor: one of them.
        row_bytes: of a row of each of them, in all of the layers.
        constant_rows: that a sequence has whatever its context is; None where it has one for each token kept.
    """

    layer: Layer
    tensor: CachedTensor
    row_bytes: int
    constant_rows: int | None

    @property
    def span(self) -> Span | None:
        """The tokens that have a row, where it is not all of them."""
        return span_of(self.layer, self.tensor)

    def shared_by(self, load: RankLoad) -> int:
        """How many ranks that share a sequence's tokens keep these rows in turn."""
        return load.dcp if self.tensor.role in load.in_turn and self.span is None else 1

    def limits(self, context: int) -> bool:
        """Whether fewer than `context` tokens have a row."""
        return self.constant_rows is None and self.span is not None and self.span.tokens < context


class ContentCounter:
    """Counts the bytes of contents of one format without terms: what layers keep of a row is worked out once.

    Attributes:
        cache_format: that format.
    """

    def __init__(self, cache_format: CacheFormat) -> None:
        self.cache_format = cache_format
        self._known: dict[tuple[Layer, int], tuple[TensorRows, ...]] = {}
        self._of_a_sequence: dict[tuple[int, int, int, bool, frozenset[Role], int | None], dict[Layer, int]] = {}

    def rows(self, layers: Mapping[Layer, int], tp: int) -> tuple[TensorRows, ...]:
        """What these layers keep on one of tp ranks, to be counted for any workload by `rows_bytes`."""
        found: list[TensorRows] = []
        for layer, count in layers.items():
            known = self._known.get((layer, tp))
            if known is None:
                known = self._known[layer, tp] = tuple(_settle(layer, RankLoad({}, tp, 1, 1, self.cache_format)))
            found += [TensorRows(layer, tensor, count * row, constant) for layer, tensor, row, constant in known]
        return tuple(found)

    def sequence_bytes(self, load: RankLoad) -> int:
        """What a rank holds of one of the load's sequences, which share nothing: each kind of layer is counted once."""
        asked = load.tp, load.dcp, load.context, load.read, load.in_turn, load.hot
        known = self._of_a_sequence.get(asked)
        if known is None:
            if len(self._of_a_sequence) >= WORKLOADS_REMEMBERED:
                self._of_a_sequence.clear()
            known = self._of_a_sequence[asked] = {}
        total = 0
        for layer, count in load.layers.items():
            one = known.get(layer)
            if one is None:
                one = known[layer] = rows_bytes(self.rows({layer: 1}, load.tp), load._replace(sequences=1))
            total += count * one
        return total


WORKLOADS_REMEMBERED = 256
"""Contexts and ranks of which a counter remembers what a sequence takes: there are many in a sweep."""


def rows_bytes(rows: tuple[TensorRows, ...], load: RankLoad) -> int:
    """The bytes of such rows for a load, whose layers play no part: as `content_bytes` gives them."""
    total, sequences = 0, load.sequences
    for layer, tensor, row_bytes, constant_rows in rows:
        if constant_rows is not None:
            total += row_bytes * sequences * constant_rows
        else:
            total += row_bytes * row_count(layer, tensor, load)
    return total


def rows_rate(rows: tuple[TensorRows, ...], load: RankLoad) -> Rate:
    """What tokens and sequences of the load's context cost."""
    growing = [each for each in rows if each.constant_rows is None]
    unlimited = [each for each in growing if each.span is None or each.span.tokens > load.context]
    own, shared, one = 0, 0, load._replace(sequences=1, mixed=(), prefixes=1)
    for each in growing:
        kept = rows_kept(each.layer, each.tensor, one)
        own += each.row_bytes * kept.of[0].own
        shared += each.row_bytes * kept.shared
    state = sum(each.row_bytes * each.constant_rows for each in rows if each.constant_rows is not None)
    return Rate(
        bytes_per_token=_a_token(growing, load),
        bytes_per_token_at_context=_a_token(unlimited, load),
        state_bytes_per_sequence=state,
        bytes_per_sequence=state + own,
        shared_bytes=shared,
    )


def _a_token(rows: list[TensorRows], load: RankLoad) -> int:
    """What a token adds of rows that it may share with others, or that ranks take in turn; rounded up."""
    among = [each.tensor.tokens_per_row * each.shared_by(load) for each in rows]
    together = lcm(*among)
    total = sum(each.row_bytes * (together // times) for each, times in zip(rows, among, strict=True))
    return -(-total // together)


def _settle(layer: Layer, load: RankLoad) -> Iterator[TensorRows]:
    for tensors, element_format in equal_tensors(layer, load.cache_format):
        tensor = tensors[0]
        row = prod(factor.value for factor in row_of(tensor, element_format, load.tp))
        constant = None if tensor.rows is None else 1 if tensor.role is Role.STATE else tensor.rows.value
        yield TensorRows(layer, tensor, len(tensors) * row, constant)
