"""What reading a prompt computes on a rank, at least: every token by the weights of the layers, causal attention.

Each token is multiplied by the weights of the layers, the last one by the output head too, and attends to itself and
all before it that its layer keeps: of n tokens n (n + 1) / 2 pairs, with a window w min(position, w) each. MLA is taken
in the form that computes less: with heads made of the latents. What choosing positions computes is not counted.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from kvcalc.mechanisms import MLA, Compressed
from kvcalc.memory.decode_traffic import AttentionWork
from kvcalc.model.span import Chunk
from kvcalc.term import Factor

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kvcalc.deployment import Deployment
    from kvcalc.formats.element import ElementFormat
    from kvcalc.memory.decode_traffic import WeightsUsed, Work
    from kvcalc.memory.rank import Rank
    from kvcalc.model.layers import Layer


def pairs(layer: Layer, start: int, stop: int) -> int:
    """Pairs of a token and a position it attends to, for the tokens after the first `start` of `stop`."""
    return _pairs(layer, stop) - _pairs(layer, start)


def _pairs(layer: Layer, tokens: int) -> int:
    attention, span = layer.attention, layer.span
    if isinstance(span, Chunk):
        whole, rest = divmod(tokens, span.tokens)
        return whole * _triangle(span.tokens) + _triangle(rest)
    limits = [attention.positions_read, None if span is None else span.tokens]
    most = min((each for each in limits if each is not None), default=tokens)
    few = min(tokens, most)
    return _triangle(few) + (tokens - few) * most


def _triangle(number: int) -> int:
    return number * (number + 1) // 2


def prompt_work(
    deployment: Deployment, rank: Rank, used: WeightsUsed, start: int, stop: int
) -> Iterator[tuple[Work, int]]:
    """What a rank computes of a prompt, and for how many tokens.

    Args:
        deployment: that the rank is of.
        rank: one of a stage.
        used: what a step uses of its weights.
        start: tokens that are there already, of a prefix that is shared.
        stop: tokens of the prompt.
    """
    for part, multiplied in used.work:
        yield multiplied, 1 if part.place == "head" else stop - start
    for layer, count in rank.layers.items():
        adds = _multiply_adds(layer)
        if adds:
            each = (Factor("multiply_adds", adds, "multiply-add"),)
            kept_in, found = _format(rank, layer), partial(_of_one, pairs(layer, start, stop))
            work = AttentionWork(f"attention of {layer.label}", count, each, deployment.tp, kept_in, found)
            yield work, stop - start


def _of_one(found: int, tokens: int) -> int:  # noqa: ARG001  # as a number of sequences is asked for
    """The pairs of one prompt."""
    return found


def _multiply_adds(layer: Layer) -> int:
    """Of a token with a position; 0 where nothing grows, and of entries that stand for several tokens."""
    attention = layer.attention
    match attention:
        case MLA():
            made = attention.num_heads * (
                attention.qk_nope_head_dim + attention.qk_rope_head_dim + attention.v_head_dim
            )
            return min(made, attention.multiply_adds)
        case Compressed():
            return 0
        case _:
            return attention.multiply_adds


def _format(rank: Rank, layer: Layer) -> ElementFormat | None:
    """A prompt attends to what it has computed: in the format of computing, or in that of a cache in fp8."""
    kept_in = rank.settled.cache_format
    formats = [kept_in.of(layer, tensor) for tensor in layer.attention.cached()]
    return next((each for each in formats if each.name.startswith("fp8")), kept_in.computing) if formats else None
