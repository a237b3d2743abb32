"""What the layers of a rank hold: rows of each tensor and the bytes of a row, before any engine rounds or pads.

    bytes = layers x sequences x rows kept x bytes of the row, for each kept tensor of each kind of layer

A tensor that grows has a row for each token: min(context, window) of a layer with a window, min(context, chunk) of one
with chunks, whole on every rank. With decode context parallelism the other layers keep ceil(context / dcp) on a rank,
but an indexer's keys whole. Tokens that all sequences share are kept once. States have a constant number of rows, for
each sequence its own. Equal tensors (a key and a value of one shape) are one content with a factor 2.
"""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING, NamedTuple

from kvcalc.deployment import heads_on_rank
from kvcalc.mechanisms import Role
from kvcalc.term import Factor, Product

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kvcalc.engines.base import RankLoad
    from kvcalc.formats.element import ElementFormat
    from kvcalc.mechanisms import CachedTensor
    from kvcalc.model.layers import Layer


class Content(NamedTuple):
    """What a rank's layers of one kind hold of tensors that are alike.

    Attributes:
        layers: how many layers.
        tensors: of one shape and element format.
        shared: whether it is of the prefix that all sequences share.
        rows: factors whose product is the rows of one tensor in one layer: sequences, tokens kept.
        row: factors whose product is the bytes of a row.
    """

    layer: Layer
    layers: int
    tensors: tuple[CachedTensor, ...]
    shared: bool
    rows: tuple[Factor, ...]
    row: tuple[Factor, ...]

    @property
    def term(self) -> Product:
        """Its bytes."""
        names = [tensor.name for tensor in self.tensors]
        alike = (Factor("_and_".join(names), len(names)),) if len(names) > 1 else ()
        return Product(
            f"{self.layer.label}: {'+'.join(names)}{', shared prefix' if self.shared else ''}",
            (*alike, Factor("layers", self.layers, "layer"), *self.rows, *self.row),
        )


def contents(load: RankLoad) -> Iterator[Content]:
    """All that a rank holds."""
    for layer, count in load.layers.items():
        for tensors, element_format in _equal_tensors(layer, load):
            row = _row(tensors[0], element_format, load.tp)
            for shared, rows in _rows(layer, tensors[0], load):
                yield Content(layer, count, tuple(tensors), shared, rows, row)


def content_bytes(load: RankLoad) -> int:
    """The bytes of all that a rank holds: what a cache without any padding takes."""
    return sum(content.term.bytes for content in contents(load))


class _Settled(NamedTuple):
    """Of tensors alike in one layer on one of tp ranks, what no workload changes.

    Attributes:
        tensor: one of them.
        row_bytes: of a row of each of them.
        constant_rows: that a sequence has whatever its context is; None where it has one for each token kept.
    """

    tensor: CachedTensor
    row_bytes: int
    constant_rows: int | None


class IntegerCount:
    """Counts the bytes of caches of one format without terms: what a layer keeps of a row is settled once."""

    def __init__(self) -> None:
        self._settled: dict[tuple[Layer, int], tuple[_Settled, ...]] = {}

    def bytes(self, load: RankLoad) -> int:
        """As `content_bytes` gives them."""
        total, tp, sequences = 0, load.tp, load.sequences
        for layer, count in load.layers.items():
            settled = self._settled.get((layer, tp))
            if settled is None:
                settled = self._settled[layer, tp] = tuple(_settle(layer, load))
            for each in settled:
                if each.constant_rows is not None:
                    rows = sequences * each.constant_rows
                else:
                    positions, shared = _positions(layer, each.tensor, load)
                    rows = sequences * (positions.value - shared) + shared
                total += count * each.row_bytes * rows
        return total


def _settle(layer: Layer, load: RankLoad) -> Iterator[_Settled]:
    for tensors, element_format in _equal_tensors(layer, load):
        tensor = tensors[0]
        row = prod(factor.value for factor in _row(tensor, element_format, load.tp))
        constant = None if tensor.rows is None else 1 if tensor.role is Role.STATE else tensor.rows.value
        yield _Settled(tensor, len(tensors) * row, constant)


def _equal_tensors(layer: Layer, load: RankLoad) -> list[tuple[list[CachedTensor], ElementFormat]]:
    """The layer's tensors, those of one shape and format together."""
    alike: dict[object, tuple[list[CachedTensor], ElementFormat]] = {}
    for tensor in layer.attention.cached():
        element_format = load.cache_format.of(layer, tensor)
        shape = tensor.num_heads, tensor.head_elements, tensor.rows, tensor.role, element_format.name
        alike.setdefault(shape, ([], element_format))[0].append(tensor)
    return list(alike.values())


def _rows(layer: Layer, tensor: CachedTensor, load: RankLoad) -> tuple[tuple[bool, tuple[Factor, ...]], ...]:
    """The rows that a layer keeps of a tensor, as factors: those that all sequences share (True), and each one's."""
    sequences = Factor("sequences", load.sequences, "sequence")
    if tensor.rows is not None:
        return ((False, (sequences,) if tensor.role is Role.STATE else (sequences, tensor.rows)),)
    positions, shared = _positions(layer, tensor, load)
    if not shared:
        return ((False, (sequences, positions)),)
    own = Factor("own_tokens", positions.value - shared, "token of its own")
    return (
        (True, (Factor("shared_prefix", shared, "token shared"),)),
        *(((False, (sequences, own)),) if own.value else ()),
    )


def _positions(layer: Layer, tensor: CachedTensor, load: RankLoad) -> tuple[Factor, int]:
    """How many tokens of a sequence a rank keeps, and how many of those are of the shared prefix.

    Of a window, that is what it still covers of the prefix. Of ranks that take tokens in turn, the fullest is one with
    the most tokens that are not shared.
    """
    span, context, prefix = layer.span, load.context, load.shared_prefix
    chosen = layer.attention.positions_read
    if load.read and tensor.role is Role.CACHE and chosen is not None and chosen < context:
        return Factor("positions_read", chosen, "position chosen"), 0
    if span is not None:
        shared = max(0, prefix - span.first(context))
        if not layer.limits(context):
            return Factor("context", context, "token"), shared
        return Factor(span.name, span.tokens, f"token of {span.name}"), shared
    if load.dcp > 1 and tensor.role is Role.CACHE:
        shared = -(-context // load.dcp) + (prefix - context) // load.dcp
        return Factor("context_on_rank", -(-context // load.dcp), "token"), shared
    return Factor("context", context, "token"), prefix


def _row(tensor: CachedTensor, element_format: ElementFormat, tp: int) -> tuple[Factor, ...]:
    heads = tensor.heads
    if heads is not None and tp > 1:
        heads = Factor(f"{heads.name}_on_rank", heads_on_rank(heads.value, tp), heads.noun)
    return element_format.row(heads, tensor.dims)
