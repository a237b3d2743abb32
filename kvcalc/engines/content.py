"""What the layers of a rank hold: rows of each tensor and the bytes of a row, before any engine rounds or pads.

    bytes = layers x sequences x rows kept x bytes of the row, for each kept tensor of each kind of layer

A tensor that grows has a row for each token: min(context, window) of a layer with a window, min(context, chunk) of one
with chunks, whole on every rank. A row may stand for several tokens: then there are floor(context / them) of it. With
decode context parallelism the other layers keep ceil(rows / dcp) on a rank, but an indexer's keys whole. Tokens that
all sequences share are kept once. States have a constant number of rows, for each sequence its own. Equal tensors (a
key and a value of one shape) are one content with a factor 2.
"""

from __future__ import annotations

from math import lcm, prod
from typing import TYPE_CHECKING

from kvcalc.deployment import heads_on_rank
from kvcalc.engines.load import Alike
from kvcalc.engines.rows_kept import rows_kept, span_of
from kvcalc.mechanisms import Role
from kvcalc.named_tuple import NamedTuple
from kvcalc.term import Factor, Product

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from kvcalc.engines.cache_format import CacheFormat
    from kvcalc.formats.element import ElementFormat
    from kvcalc.mechanisms import CachedTensor
    from kvcalc.model.layers import Layer
    from kvcalc.model.span import Span


class RankLoad(NamedTuple):
    """Layers of one rank, and what they are asked to hold.

    Attributes:
        layers: each kind of cache on the rank, and how many.
        tp: tensor-parallel ranks that share each layer.
        sequences: sequences held at the same time.
        context: tokens of each; 0 asks for what a sequence costs before its first token.
        cache_format: element formats.
        dcp: ranks, among the tp, that share the tokens of a sequence.
        shared_prefix: first tokens of the context that all sequences share, kept once.
        read: whether to count what a step of decoding reads of it, instead of all that is kept: of a sparse layer the
            positions that are chosen.
        mixed: the sequences by their lengths, where they differ.
        prefixes: how many prefixes are shared, each by some of the sequences.
    """

    layers: Mapping[Layer, int]
    tp: int
    sequences: int
    context: int
    cache_format: CacheFormat
    dcp: int = 1
    shared_prefix: int = 0
    read: bool = False
    mixed: tuple[Alike, ...] = ()
    prefixes: int = 1

    @property
    def alike(self) -> tuple[Alike, ...]:
        """The sequences by their lengths."""
        return self.mixed or (Alike(self.sequences, self.context),)


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


class Content(NamedTuple):
    """What a rank's layers of one kind hold of tensors that are alike.

    Attributes:
        layers: how many layers.
        tensors: of one shape and element format.
        shared: whether it is of the prefix that all sequences share.
        rows: factors whose product is the rows of one tensor in one layer: sequences, tokens kept.
        row: factors whose product is the bytes of a row.
        one_of_several: whether other sequences keep another number of rows.
    """

    layer: Layer
    layers: int
    tensors: tuple[CachedTensor, ...]
    shared: bool
    rows: tuple[Factor, ...]
    row: tuple[Factor, ...]
    one_of_several: bool = False

    @property
    def term(self) -> Product:
        """Its bytes."""
        names = [tensor.name for tensor in self.tensors]
        alike = (Factor("_and_".join(names), len(names)),) if len(names) > 1 else ()
        which = ", shared prefix" if self.shared else ""
        if self.one_of_several:
            which = f", {self.rows[-1].value:,} tokens of each"
        return Product(
            f"{self.layer.label}: {'+'.join(names)}{which}",
            (*alike, Factor("layers", self.layers, "layer"), *self.rows, *self.row),
        )


def contents(load: RankLoad) -> Iterator[Content]:
    """All that a rank holds."""
    for layer, count in load.layers.items():
        for tensors, element_format in _equal_tensors(layer, load.cache_format):
            row = _row(tensors[0], element_format, load.tp)
            found = _rows(layer, tensors[0], load)
            lengths = sum(not shared for shared, _ in found)
            for shared, rows in found:
                several = lengths > 1 and not shared
                yield Content(layer, count, tuple(tensors), shared, rows, row, one_of_several=several)


def content_bytes(load: RankLoad) -> int:
    """The bytes of all that a rank holds: what a cache without any padding takes."""
    return sum(content.term.bytes for content in contents(load))


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

    @property
    def shares_tokens(self) -> bool:
        """Whether ranks that share a sequence's tokens keep their own of these rows only."""
        return self.tensor.role is Role.CACHE and self.span is None

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
        self._of_a_sequence: dict[tuple[int, int, int, bool], dict[Layer, int]] = {}

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
        asked = load.tp, load.dcp, load.context, load.read
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
    for each in rows:
        if each.constant_rows is not None:
            total += each.row_bytes * sequences * each.constant_rows
        else:
            total += each.row_bytes * rows_kept(each.layer, each.tensor, load).rows
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
        bytes_per_token=_a_token(growing, load.dcp),
        bytes_per_token_at_context=_a_token(unlimited, load.dcp),
        state_bytes_per_sequence=state,
        bytes_per_sequence=state + own,
        shared_bytes=shared,
    )


def _a_token(rows: list[TensorRows], dcp: int) -> int:
    """What a token adds of rows that it may share with others, or that ranks take in turn; rounded up."""
    among = [each.tensor.tokens_per_row * (dcp if each.shares_tokens else 1) for each in rows]
    together = lcm(*among)
    total = sum(each.row_bytes * (together // times) for each, times in zip(rows, among, strict=True))
    return -(-total // together)


def _settle(layer: Layer, load: RankLoad) -> Iterator[TensorRows]:
    for tensors, element_format in _equal_tensors(layer, load.cache_format):
        tensor = tensors[0]
        row = prod(factor.value for factor in _row(tensor, element_format, load.tp))
        constant = None if tensor.rows is None else 1 if tensor.role is Role.STATE else tensor.rows.value
        yield TensorRows(layer, tensor, len(tensors) * row, constant)


def _equal_tensors(layer: Layer, cache_format: CacheFormat) -> tuple[tuple[list[CachedTensor], ElementFormat], ...]:
    """The layer's tensors, those of one shape and format together."""
    alike: dict[object, tuple[list[CachedTensor], ElementFormat]] = {}
    for tensor in layer.attention.cached():
        element_format = cache_format.of(layer, tensor)
        rows = tensor.rows, tensor.every, tensor.last
        shape = tensor.num_heads, tensor.head_elements, rows, tensor.role, element_format.name
        alike.setdefault(shape, ([], element_format))[0].append(tensor)
    return tuple(alike.values())


def _rows(layer: Layer, tensor: CachedTensor, load: RankLoad) -> tuple[tuple[bool, tuple[Factor, ...]], ...]:
    """The rows that a layer keeps of a tensor, as factors: those that all sequences share (True), and each one's."""
    sequences = Factor("sequences", load.sequences, "sequence")
    if tensor.rows is not None:
        return ((False, (sequences,) if tensor.role is Role.STATE else (sequences, tensor.rows)),)
    kept = rows_kept(layer, tensor, load)
    each = tuple(
        (False, (Factor("sequences", own.sequences, "sequence"), own.factor(shared=bool(kept.shared))))
        for own in kept.of
        if own.own or not kept.shared
    )
    if not kept.shared:
        return each
    shared = Factor("shared_prefix", kept.shared, "token shared")
    several = (Factor("prefixes", kept.prefixes, "prefix"),) if kept.prefixes > 1 else ()
    return (True, (*several, shared)), *each


def _row(tensor: CachedTensor, element_format: ElementFormat, tp: int) -> tuple[Factor, ...]:
    heads = tensor.heads
    if heads is not None and tp > 1:
        heads = Factor(f"{heads.name}_on_rank", heads_on_rank(heads.value, tp), heads.noun)
    return element_format.row(heads, tensor.dims)
