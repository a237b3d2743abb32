"""The engine `exact`: what the documented formulas say, to the byte, with no rounding to blocks and no padding.

    bytes = layers x sequences x positions kept x bytes of the row, for each cached tensor of each kind of layer

A layer with a window keeps min(context, window) positions, whole on every rank. With decode context parallelism the
other layers keep ceil(context / dcp) on a rank. Tokens that all sequences share are kept once. Equal tensors (a key and
a value of one shape) are one term with a factor 2.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvcalc.deployment import heads_on_rank
from kvcalc.formats import find_format
from kvcalc.term import Factor, Product, Sum

if TYPE_CHECKING:
    from kvcalc.engines.base import RankLoad
    from kvcalc.formats import ElementFormat
    from kvcalc.mechanisms import CachedTensor
    from kvcalc.model import Layer


class Exact:
    """The documented formulas; a serving engine that rounds to blocks reserves a little more."""

    name = "exact"
    version: str | None = None
    about = (
        "The documented formulas, to the byte: every layer keeps each token's row, a windowed layer the last "
        "min(context, window) tokens. Serving engines round to blocks and keep more of a window than its length."
    )
    source = "each mechanism's own (kvcalc explain mha, mqa, gqa, mla)"

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
                for suffix, kept in _kept(layer, load)
            ),
        )

    def is_lower_bound(self, load: RankLoad) -> bool:
        return any(layer.window is not None and layer.window < load.context for layer in load.layers)


def _equal_tensors(layer: Layer, load: RankLoad) -> list[tuple[list[CachedTensor], ElementFormat]]:
    """The layer's tensors, those of one shape and format together."""
    alike: dict[tuple[int, int, str], tuple[list[CachedTensor], ElementFormat]] = {}
    for tensor in layer.attention.cached():
        if layer.cache_dtype is not None:
            element_format = find_format(layer.cache_dtype, "cache_dtype")
        else:
            element_format = load.cache_format.of(tensor.name)
        key = (tensor.heads, tensor.width, element_format.name)
        alike.setdefault(key, ([], element_format))[0].append(tensor)
    return list(alike.values())


def _tensors_factor(tensors: list[CachedTensor]) -> tuple[Factor, ...]:
    if len(tensors) == 1:
        return ()
    return (Factor("_and_".join(tensor.name for tensor in tensors), len(tensors)),)


def _kept(layer: Layer, load: RankLoad) -> tuple[tuple[str, tuple[Factor, ...]], ...]:
    """The rows that a layer keeps of each tensor, as factors: each sequence's own, and those that all share."""
    sequences, positions = Factor("sequences", load.sequences, "sequence"), _positions(layer, load)
    shared = _shared_positions(layer, load)
    if not shared:
        return (("", (sequences, positions)),)
    own = Factor("own_tokens", positions.value - shared, "token of its own")
    return (
        (", shared prefix", (Factor("shared_prefix", shared, "token shared"),)),
        *((("", (sequences, own)),) if own.value else ()),
    )


def _positions(layer: Layer, load: RankLoad) -> Factor:
    """How many tokens of a sequence the layer keeps on a rank."""
    if layer.window is not None and layer.window < load.context:
        return Factor("window", layer.window, "token of window")
    if layer.window is None and load.dcp > 1:
        return Factor("context_on_rank", -(-load.context // load.dcp), "token")
    return Factor("context", load.context, "token")


def _shared_positions(layer: Layer, load: RankLoad) -> int:
    """How many of those are of the shared prefix: of a window, what it still covers of it.

    Of ranks that take tokens in turn, the fullest is one with the most tokens that are not shared.
    """
    if layer.window is not None:
        return max(0, load.shared_prefix - max(0, load.context - layer.window))
    return -(-load.context // load.dcp) + (load.shared_prefix - load.context) // load.dcp


def _row(tensor: CachedTensor, element_format: ElementFormat, tp: int) -> tuple[Factor, ...]:
    heads = None
    if tensor.heads_name is not None:
        on_rank = heads_on_rank(tensor.heads, tp)
        name = tensor.heads_name if tp == 1 else f"{tensor.heads_name}_on_rank"
        heads = Factor(name, on_rank, "head")
    return element_format.row(heads, Factor(tensor.width_name, tensor.width))
