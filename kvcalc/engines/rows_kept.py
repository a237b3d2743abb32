"""How many rows of a tensor a rank keeps of a sequence, and how many of those are of a prefix that all share."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvcalc.mechanisms import Role
from kvcalc.model.span import Window
from kvcalc.term import Factor
from kvcalc.units import MAX_CONTEXT

if TYPE_CHECKING:
    from kvcalc.engines.content import RankLoad
    from kvcalc.mechanisms import CachedTensor
    from kvcalc.model.layers import Layer
    from kvcalc.model.span import Span


def positions_kept(layer: Layer, tensor: CachedTensor, load: RankLoad) -> tuple[Factor, int]:
    """How many tokens of a sequence a rank keeps, and how many of those are of the shared prefix.

    Of a window, that is what it still covers of the prefix. Of ranks that take tokens in turn, the fullest is one with
    the most tokens that are not shared.
    """
    span, context, prefix = span_of(layer, tensor), load.context, load.shared_prefix
    if span is not None:
        shared = max(0, prefix - span.first(context))
        if context <= span.tokens:
            return Factor("context", context, "token"), shared
        return Factor(
            span.name if tensor.last is None else tensor.last.name, span.tokens, f"token of {span.name}"
        ), shared
    rows, prefix = context // tensor.tokens_per_row, prefix // tensor.tokens_per_row
    chosen = layer.attention.positions_read
    if load.read and tensor.role is Role.CACHE and chosen is not None and chosen < rows:
        return Factor("positions_read", chosen, "position chosen"), 0
    name, noun = (
        ("context", "token") if tensor.every is None else ("groups", f"group of {tensor.tokens_per_row:,} tokens")
    )
    if load.dcp > 1 and tensor.role is Role.CACHE:
        on_rank = -(-rows // load.dcp)
        return Factor(f"{name}_on_rank", on_rank, noun), on_rank + (prefix - rows) // load.dcp
    return Factor(name, rows, noun), prefix


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
    in_turn = load.dcp > 1 and tensor.role is Role.CACHE
    return (context, context) if tensor.tokens_per_row > 1 or in_turn else (max(1, prefix), MAX_CONTEXT)


def span_of(layer: Layer, tensor: CachedTensor) -> Span | None:
    """The tokens that have a row of a tensor, where it is not all of them: its own, else the layer's."""
    return layer.span if tensor.last is None else Window(tensor.last.value)
