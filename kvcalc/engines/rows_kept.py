"""How many rows of a tensor a rank keeps of its sequences, and how many of those are of a prefix that they share."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

from kvcalc.mechanisms import Role
from kvcalc.model.span import Window
from kvcalc.named_tuple import NamedTuple
from kvcalc.term import Factor
from kvcalc.units import MAX_CONTEXT

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kvcalc.engines.rank_load import RankLoad
    from kvcalc.mechanisms import CachedTensor
    from kvcalc.model.layers import Layer
    from kvcalc.model.span import Span


class OwnRows(NamedTuple):
    """What sequences of one length keep.

    Attributes:
        sequences: how many.
        positions: rows of each, with those of the shared prefix.
        own: rows of each without them.
    """

    sequences: int
    positions: Factor
    own: int

    def factor(self, *, shared: bool) -> Factor:
        """The rows of each, where others are shared or not."""
        return Factor("own_tokens", self.own, "token of its own") if shared else self.positions


class RowsKept(NamedTuple):
    """The rows of a tensor in one layer on a rank.

    Attributes:
        of: the sequences, those together that keep as much.
        shared: rows of a shared prefix; where several are kept and differ, all of them together.
        prefixes: how many times they are kept.
    """

    of: tuple[OwnRows, ...]
    shared: int = 0
    prefixes: int = 1

    @property
    def rows(self) -> int:
        """All of them."""
        return sum(each.sequences * each.own for each in self.of) + self.shared * self.prefixes


def row_count(layer: Layer, tensor: CachedTensor, load: RankLoad) -> int:
    """How many rows a rank keeps of a tensor that grows, of all sequences together: those of `rows_kept`."""
    if not load.mixed and not load.shared_prefix:
        return load.sequences * positions_kept(layer, tensor, load, load.context).value
    return rows_kept(layer, tensor, load).rows


class _Length(NamedTuple):
    """Sequences of one length.

    Attributes:
        positions: rows that each keeps.
        covers: how many of those are of the shared prefix.
    """

    sequences: int
    positions: Factor
    covers: int


def rows_kept(layer: Layer, tensor: CachedTensor, load: RankLoad) -> RowsKept:
    """The rows that a rank keeps of a tensor that grows.

    Of a prefix, a window keeps what it still covers: of sequences that share it, the shortest decides. Which sequence
    has which of several prefixes is not known: those that cover most are taken to differ. Of ranks that take tokens in
    turn it is the fullest.
    """
    if not load.mixed and not load.shared_prefix:
        positions = positions_kept(layer, tensor, load, load.context)
        return RowsKept((OwnRows(load.sequences, positions, positions.value),))
    if load.shared_prefix and load.dcp > 1 and tensor.role in load.in_turn and span_of(layer, tensor) is None:
        lengths = _on_the_fullest(layer, tensor, load)
    else:
        lengths = [
            _Length(sequences, positions, _covered(layer, tensor, load, context, positions))
            for sequences, context in load.alike
            for positions in (positions_kept(layer, tensor, load, context),)
        ]
    together: dict[tuple[Factor, int], int] = {}
    for each in lengths:
        key = each.positions, each.positions.value - each.covers
        together[key] = together.get(key, 0) + each.sequences
    own = tuple(OwnRows(sequences, *key) for key, sequences in together.items())
    prefixes = min(load.prefixes, max(1, load.sequences))
    shared = list(_most_covered(lengths, prefixes))
    if len(shared) <= 1:
        return RowsKept(own, *(shared[0] if shared else (0,)))
    return RowsKept(own, sum(covers * number for covers, number in shared))


def _most_covered(lengths: list[_Length], prefixes: int) -> Iterator[tuple[int, int]]:
    """What the sequences that cover most cover, each of another prefix, and how many cover as much."""
    for each in sorted(lengths, key=lambda one: -one.covers):
        number = min(prefixes, max(1, each.sequences))
        if number and each.covers:
            yield each.covers, number
        prefixes -= number


def _covered(layer: Layer, tensor: CachedTensor, load: RankLoad, context: int, positions: Factor) -> int:
    """How many rows of a sequence of so many tokens are of the shared prefix."""
    span, prefix = span_of(layer, tensor), load.shared_prefix
    if span is not None:
        return max(0, prefix - span.first(context))
    return 0 if positions.name in {CHOSEN, HOT} else prefix // tensor.tokens_per_row


def _on_the_fullest(layer: Layer, tensor: CachedTensor, load: RankLoad) -> list[_Length]:
    """The rows of the rank with the most, of those that take tokens in turn.

    That is the one with the first token of the prefix, or with the first after it: what each keeps begins there.
    """
    prefix, turns = load.shared_prefix // tensor.tokens_per_row, load.dcp

    def of(rank: int, start: int, stop: int) -> int:
        return -(-(stop - rank) // turns) + (start - rank) // -turns

    found = []
    for rank in dict.fromkeys((prefix % turns, 0)):
        lengths = []
        for sequences, context in load.alike:
            positions = positions_kept(layer, tensor, load, context)
            if positions.name != CHOSEN:
                rows = of(rank, prefix, context // tensor.tokens_per_row) + of(rank, 0, prefix)
                lengths.append(_Length(sequences, positions._replace(value=rows), of(rank, 0, prefix)))
            else:
                lengths.append(_Length(sequences, positions, 0))
        found.append(lengths)
    prefixes = min(load.prefixes, max(1, load.sequences))

    def rows_of(lengths: list[_Length]) -> int:
        own = sum(max(1, each.sequences) * (each.positions.value - each.covers) for each in lengths)
        return own + prefixes * max(each.covers for each in lengths)

    return max(found, key=rows_of)


CHOSEN = "positions_read"
HOT = "hot_set"


def positions_kept(layer: Layer, tensor: CachedTensor, load: RankLoad, context: int) -> Factor:
    """How many rows a rank keeps of a sequence of so many tokens."""
    span = span_of(layer, tensor)
    if span is not None:
        if context <= span.tokens:
            return Factor("context", context, "token")
        name = span.name if tensor.last is None else tensor.last.name
        return Factor(name, span.tokens, f"token of {span.name}")
    rows = context // tensor.tokens_per_row
    chosen = layer.attention.positions_read
    if load.read and tensor.role is Role.CACHE and chosen is not None and chosen < rows:
        return Factor(CHOSEN, chosen, "position chosen")
    if load.hot is not None and tensor.role is Role.CACHE and chosen is not None and load.hot < rows:
        return Factor(HOT, load.hot, "token of the hot set")
    name, noun = (
        ("context", "token") if tensor.every is None else ("groups", f"group of {tensor.tokens_per_row:,} tokens")
    )
    if load.dcp > 1 and tensor.role in load.in_turn:
        return Factor(f"{name}_on_rank", -(-rows // load.dcp), noun)
    return Factor(name, rows, noun)


def even_stretch(layer: Layer, tensor: CachedTensor, load: RankLoad) -> tuple[int, int]:
    """The contexts around the load's over which `positions_kept` grows by as much with every token.

    Those are the load's own context alone where a row stands for several tokens or ranks take them in turn, and where
    a window has moved on from some of a shared prefix.
    """
    span, context, prefix = span_of(layer, tensor), load.context, load.shared_prefix
    if span is not None:
        if context <= span.tokens:
            return max(1, prefix), span.tokens
        return (context, context) if prefix else (span.tokens, MAX_CONTEXT)
    in_turn = load.dcp > 1 and tensor.role in load.in_turn
    return (context, context) if tensor.tokens_per_row > 1 or in_turn else (max(1, prefix), MAX_CONTEXT)


@lru_cache(maxsize=1024)
def _last(tokens: int) -> Window:
    return Window(tokens)


def span_of(layer: Layer, tensor: CachedTensor) -> Span | None:
    """The tokens that have a row of a tensor, where it is not all of them: its own, else the layer's."""
    return layer.span if tensor.last is None else _last(tensor.last.value)
