"""What the layers of a rank hold: rows of each tensor and the bytes of a row, before any engine rounds or pads.

    bytes = layers x sequences x rows kept x bytes of the row, for each kept tensor of each kind of layer

A tensor that grows has a row for each token: min(context, window) of a layer with a window, min(context, chunk) of one
with chunks, whole on every rank. A row may stand for several tokens: then there are floor(context / them) of it. With
decode context parallelism the other layers keep ceil(rows / dcp) on a rank, but an indexer's keys whole where an engine
does not share those out too. Tokens that all sequences share are kept once. States have a constant number of rows, for
each sequence its own. Equal tensors (a key and a value of one shape) are one content with a factor 2.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvcalc.deployment import heads_on_rank
from kvcalc.engines.rows_kept import rows_kept
from kvcalc.mechanisms import Role
from kvcalc.named_tuple import NamedTuple
from kvcalc.term import Factor, Product

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kvcalc.engines.cache_format import CacheFormat
    from kvcalc.engines.rank_load import RankLoad
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
        for tensors, element_format in equal_tensors(layer, load.cache_format):
            row = row_of(tensors[0], element_format, load.tp)
            found = _rows(layer, tensors[0], load)
            lengths = sum(not shared for shared, _ in found)
            for shared, rows in found:
                several = lengths > 1 and not shared
                yield Content(layer, count, tensors, shared, rows, row, one_of_several=several)


def content_bytes(load: RankLoad) -> int:
    """The bytes of all that a rank holds: what a cache without any padding takes."""
    return sum(content.term.bytes for content in contents(load))


def equal_tensors(
    layer: Layer, cache_format: CacheFormat
) -> tuple[tuple[tuple[CachedTensor, ...], ElementFormat], ...]:
    """The layer's tensors, those of one shape and format together."""
    alike: dict[object, tuple[list[CachedTensor], ElementFormat]] = {}
    for tensor in layer.attention.cached():
        element_format = cache_format.of(layer, tensor)
        rows = tensor.rows, tensor.every, tensor.last
        shape = tensor.num_heads, tensor.head_elements, rows, tensor.role, element_format.name
        alike.setdefault(shape, ([], element_format))[0].append(tensor)
    return tuple((tuple(tensors), element_format) for tensors, element_format in alike.values())


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


def row_of(tensor: CachedTensor, element_format: ElementFormat, tp: int) -> tuple[Factor, ...]:
    """The factors whose product is the bytes of one row of a tensor on one of tp ranks."""
    heads = tensor.heads
    if heads is not None and tp > 1:
        heads = Factor(f"{heads.name}_on_rank", heads_on_rank(heads.value, tp), heads.noun)
    return element_format.row(heads, tensor.dims)
