"""The engine `exact`: what the documented formulas say, to the byte, with no rounding to blocks and no padding.

    bytes = layers x sequences x rows kept x bytes of the row, for each kept tensor of each kind of layer

A tensor that grows has a row for each token: min(context, window) of a layer with a window, min(context, chunk) of one
with chunks, whole on every rank. With decode context parallelism the other layers keep ceil(context / dcp) on a rank,
but an indexer's keys whole. Tokens that all sequences share are kept once. States have a constant number of rows, for
each sequence its own. Equal tensors (a key and a value of one shape) are one term with a factor 2.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvcalc.deployment import heads_on_rank
from kvcalc.mechanisms import Role
from kvcalc.term import Factor, Product, Sum

if TYPE_CHECKING:
    from kvcalc.engines.base import RankLoad
    from kvcalc.formats import ElementFormat
    from kvcalc.layers import Layer
    from kvcalc.mechanisms import CachedTensor


class Exact:
    """The documented formulas; a serving engine that rounds to blocks reserves a little more."""

    name = "exact"
    version: str | None = None
    about = (
        "The documented formulas, to the byte: every layer keeps each token's row, one with a window or chunks "
        "min(context, window or chunk) of them, one with a state the same for any context. Serving engines round to "
        "blocks, keep more of a window than its length, and pad states to pages or keep them twice."
    )
    source = "each mechanism's own (kvcalc explain mha, mqa, gqa, mla, mamba2, ...)"

    def rank_cache(self, load: RankLoad) -> Sum:
        return Sum(
            "cache",
            tuple(
                Product(
                    f"{layer.label}: {'+'.join(tensor.name for tensor in tensors)}{suffix}",
                    (
                        *_tensors_factor(tensors),
                        Factor("layers", count, "layer"),
                        *kept,
                        *_row(tensors[0], element_format, load.tp),
                    ),
                )
                for layer, count in load.layers.items()
                for tensors, element_format in _equal_tensors(layer, load)
                for suffix, kept in _kept(layer, tensors[0], load)
            ),
        )

    def is_lower_bound(self, load: RankLoad) -> bool:
        return any(
            layer.limits(load.context) or any(tensor.rows is not None for tensor in layer.attention.cached())
            for layer in load.layers
        )


def _equal_tensors(layer: Layer, load: RankLoad) -> list[tuple[list[CachedTensor], ElementFormat]]:
    """The layer's tensors, those of one shape and format together."""
    alike: dict[object, tuple[list[CachedTensor], ElementFormat]] = {}
    for tensor in layer.attention.cached():
        element_format = load.cache_format.of(layer, tensor)
        shape = tensor.num_heads, tensor.head_elements, tensor.rows, tensor.role, element_format.name
        alike.setdefault(shape, ([], element_format))[0].append(tensor)
    return list(alike.values())


def _tensors_factor(tensors: list[CachedTensor]) -> tuple[Factor, ...]:
    if len(tensors) == 1:
        return ()
    return (Factor("_and_".join(tensor.name for tensor in tensors), len(tensors)),)


def _kept(layer: Layer, tensor: CachedTensor, load: RankLoad) -> tuple[tuple[str, tuple[Factor, ...]], ...]:
    """The rows that a layer keeps of a tensor, as factors: each sequence's own, and those that all share."""
    sequences = Factor("sequences", load.sequences, "sequence")
    if tensor.rows is not None:
        return (("", (sequences,) if tensor.role is Role.STATE else (sequences, tensor.rows)),)
    positions, shared = _positions(layer, tensor, load)
    if not shared:
        return (("", (sequences, positions)),)
    own = Factor("own_tokens", positions.value - shared, "token of its own")
    return (
        (", shared prefix", (Factor("shared_prefix", shared, "token shared"),)),
        *((("", (sequences, own)),) if own.value else ()),
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
