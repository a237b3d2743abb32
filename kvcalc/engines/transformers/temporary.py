"""Temporary memory of a forward pass: what a layer holds at its peak while a prompt is read, and of a step after it.

    prompt: tokens of a pass x the largest of what the points of a layer hold together, and what windows hold until the
            next step
    step:   the copy of the largest tensor of the cache that grows, and of MLA the heads made of all latents

Elements of the format of computing, at the points of a layer where most tensors are alive. Found by tracking every
storage in forward passes of transformers 5.24.0 on torch's meta device, with an attention that returns its output and
holds nothing else, as flash attention does (tests/engines/test_transformers_memory.py). Eager attention holds scores
for each head, token and position as well. Of experts it is the grouped product that the class takes by default.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from kvcalc.engines.budget import Temporary
from kvcalc.mechanisms import MLA, Role
from kvcalc.term import Factor, Product

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kvcalc.engines.load import Load
    from kvcalc.engines.settled import Settled
    from kvcalc.engines.transformers.options import Settings
    from kvcalc.model.layers import Layer
    from kvcalc.model.stages import Stage

_SOURCE = (
    "transformers 5.24.0: a forward pass on torch's meta device, every storage tracked; of a prompt as long as the "
    "context, read in one pass unless prefill-chunk-size says otherwise"
)


class _Point(NamedTuple):
    """What a layer holds at one place: elements for each token of a pass, in words and as a number."""

    words: str
    elements: int


def prompt_and_step(layout: Settled, settings: Settings, stage: Stage, load: Load) -> Temporary | None:
    """The pass over a prompt as long as the context, or a step after it; None where dims are not known."""
    model = layout.setup.model
    if model.hidden_size is None or (model.intermediate_size is None and not model.is_mixture_of_experts):
        return None
    size = layout.cache_format.computing.block_bytes
    point = max(_points(layout, stage, model.hidden_size), key=lambda one: one.elements)
    chunk = settings.prefill_chunk_size
    tokens = load.sequences * min(load.context, chunk or load.context)
    logits = load.sequences * (model.vocab_size or 0) * (size + 4)
    step = logits + max((_step(layout, settings, layer, load) for layer in stage.kinds), default=0)
    windows = sum(_whole_in_windows(layout, settings, layer, count, load) for layer, count in stage.kinds.items())
    prompt = max(tokens * point.elements * size + windows, step)
    words = f"tokens of a pass x {point.words} x {size} + prompt in windows"
    numbers = f"{tokens:,} x {point.elements:,} x {size} + {windows:,}"
    if not windows:
        words, numbers = words.removesuffix(" + prompt in windows"), numbers.removesuffix(" + 0")
    if prompt == step:
        words, numbers = "a step of decoding", f"{step:,}"
    term = Product("temporary", (Factor("activations", prompt, "byte", (words, numbers)),), _SOURCE)
    return Temporary(term, prompt, prompt)


def _points(layout: Settled, stage: Stage, hidden: int) -> Iterator[_Point]:
    model = layout.setup.model
    experts, width = model.num_experts_per_tok, model.moe_intermediate_size
    if model.is_mixture_of_experts and experts is not None and width is not None:
        wide = max(4 * hidden, hidden + 4 * width)
        words = "4 x hidden_size" if wide == 4 * hidden else "(hidden_size + 4 x moe_intermediate_size)"
        yield _Point(f"(4 x hidden_size + experts_used x {words})", 4 * hidden + experts * wide)
    if model.intermediate_size is not None:
        yield _Point("(4 x hidden_size + 3 x intermediate_size)", 4 * hidden + 3 * model.intermediate_size)
    for layer in stage.kinds:
        attention = layer.attention
        match attention:
            case MLA():
                heads, nope, rope = attention.num_heads, attention.qk_nope_head_dim, attention.qk_rope_head_dim
                of_head = 4 * (nope + rope) + 2 * attention.v_head_dim
                words = "4 x qk_nope_head_dim + 4 x qk_rope_head_dim + 2 x v_head_dim"
                yield _Point(f"(4 x hidden_size + num_heads x ({words}))", 4 * hidden + heads * of_head)
            case _ if (query := _query_width(layer)) is not None:
                key = next(tensor.row_elements for tensor in attention.cached() if tensor.role is Role.CACHE)
                widest = max(4 * query, query + 4 * key)
                words = "4 x queries" if widest == 4 * query else "queries + 4 x keys"
                yield _Point(f"(3 x hidden_size + {words})", 3 * hidden + widest)
            case _:
                yield _Point("4 x hidden_size", 4 * hidden)


def _query_width(layer: Layer) -> int | None:
    heads = layer.attention.heads
    return None if heads is None else heads.num_heads * heads.head_dim


def _step(layout: Settled, settings: Settings, layer: Layer, load: Load) -> int:
    """Of one layer: the tensor that grows is there twice; heads are made of all latents (expand_kv)."""
    if not layer.attention.elements_per_token:
        return 0
    rows = load.sequences * (load.context if layer.span is None else min(load.context, layer.span.tokens + 1))
    own = layout.cache_format
    widest = max(tensor.row_elements for tensor in layer.attention.cached() if tensor.role is Role.CACHE)
    copied = 0 if settings.static else rows * widest * own.computing.block_bytes
    if own.default.name == "fp8":  # keys as computed with, beside values in fp32 and those times their scale
        return rows * widest * (own.computing.block_bytes + 2 * 4)
    attention = layer.attention
    if isinstance(attention, MLA):
        of_head = 2 * attention.qk_nope_head_dim + attention.qk_rope_head_dim + attention.v_head_dim
        return max(copied, rows * attention.num_heads * of_head * own.computing.block_bytes)
    return copied


def _whole_in_windows(layout: Settled, settings: Settings, layer: Layer, count: int, load: Load) -> int:
    """After a pass a window is a view of all that the pass gave it, until the next step makes a tensor of its own."""
    span = layer.span
    if span is None or settings.static:
        return 0
    passed = settings.prefill_chunk_size or load.context
    rows = max(0, min(load.context, span.tokens + passed) - span.tokens)
    row = sum(tensor.row_elements for tensor in layer.attention.cached() if tensor.role is Role.CACHE)
    return load.sequences * count * rows * row * layout.cache_format.computing.block_bytes
