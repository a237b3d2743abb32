"""The compute buffer of a card: what a step holds at its peak, which ggml reserves at the start.

    bytes = masks + the largest of what the points of a layer hold together

A mask has 2 bytes for each token of a micro-batch and each cell that it may see (4 without flash attention). A point is
where a layer holds most: within its feed-forward block, its experts or its attention, in numbers of f32 for each token
of the micro-batch. Attention also holds copies of K and V in f16 where they are kept in another type, and without flash
attention a score for each head and cell.

Found by varying one dim after another in graphs that llama.cpp b11549 reserves on a device that answers as CUDA's back
end does (tests/live/llama_cpp_sizes.py); tests/data/llama_cpp has its figures. Older builds differ (builds.py): up to
b9409 a mask is made in f32 beside its copy in f16, before anything else of the first attention is there, and up to
b9459 logits are held for every token:

    bytes = the largest of (6 x cells + what the first attention is given), of what is above, and of
            4 x (vocab_size + hidden_size), for each token of a micro-batch

Several cards that work on micro-batches in turn have copies of what they are given (in_turn.py). By
weights in host memory the first card multiplies with a copy that lies here: the largest matrix is added whole, which is
up to 4 % more than was reserved in the graphs tried with micro-batches of 512. The attention of layers that the host
keeps runs on the card too, on a copy of the cells of one of them: 424.00 MiB of Llama-3-8B in f32 at 32,768 tokens, of
which 128 are K and V. What of all that lies there at the same time differs: 248.01 MiB were printed where 224 are
counted (Llama-3.1-8B in q4_0, Ollama 0.30 on an RTX 2060), and the range ends where all of it does.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvcalc.engines.budget import Temporary
from kvcalc.engines.llama_cpp.attention import attention_of_host, attention_point, hidden_kept
from kvcalc.engines.llama_cpp.chosen import is_chosen, perhaps_more
from kvcalc.engines.llama_cpp.compressed import buffer_of_compressed
from kvcalc.engines.llama_cpp.feed_forward import feed_forward_points
from kvcalc.engines.llama_cpp.formats import has_kernel
from kvcalc.engines.llama_cpp.host import largest_on_host
from kvcalc.engines.llama_cpp.in_turn import masks_in_turn, most_in_turn
from kvcalc.engines.llama_cpp.levels import perhaps_beside, with_levels
from kvcalc.engines.llama_cpp.older_builds import LOGITS, place_in_older_build
from kvcalc.engines.llama_cpp.points import (
    LOGITS_OF_ALL,
    VULKAN,
    Point,
    grows,
    reordered,
    wanted_logits,
    within_a_state,
)
from kvcalc.engines.llama_cpp.pooled import buffer_of_pooled
from kvcalc.mechanisms import Compressed
from kvcalc.term import Factor, Product
from kvcalc.units import MIB

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kvcalc.engines.llama_cpp.layout import LlamaLayout
    from kvcalc.engines.load import Load
    from kvcalc.model.stages import Stage

_SOURCE = "llama.cpp: a graph of these dims as its ggml-alloc.c lays it out, kvcalc/engines/llama_cpp/compute.py"
_LOGS = "compute buffers in public start-up logs of llama.cpp, 52 MiB (4B) to 2,560 (253B over 4 cards)"

_NOT_COUNTED = frozenset({"t5"})
"""Classes whose steps attend to an encoder's tokens, as many as the model may have, with a bias for each score: 78 to
867 MiB at 512 to 8,192 cells in graphs of b11549 with T5-large's dims (src/models/t5.cpp)."""

SEEN = Temporary(Product("temporary", (Factor("seen_in_practice", 500 * MIB, "byte"),), _LOGS), 52 * MIB, 2560 * MIB)
"""Where the dims of the model are not known."""


def compute_buffer(layout: LlamaLayout, stage: Stage, load: Load, *, by_vulkan: bool | None = None) -> Temporary | None:
    """The compute buffer of a card; None where the model's file lacks the dims for it, or its class is not counted.

    Args:
        layout: of the model.
        stage: of it, which the card holds.
        load: what it is asked to hold.
        by_vulkan: whether Vulkan's back end may serve it; None: on cards of AMD and Intel. Where it is known to, no
            copies of K and V are counted (ggml-vulkan.cpp, ggml_backend_vk_buffer_type_get_alloc_size).
    """
    if any(isinstance(layer.attention, Compressed) for layer in layout.setup.model.layout.kinds):
        return buffer_of_compressed(layout, load)
    unknown = layout.settings.ollama_new_engine or layout.setup.model.model_type in _NOT_COUNTED
    hidden = None if unknown else layout.setup.model.hidden_size
    points = None if hidden is None else _points(layout, stage, load, hidden, copies=not by_vulkan)
    if hidden is None or points is None:
        return None
    tokens = layout.step_tokens(load)
    cells = sum(_mask_cells(layout, load))
    if layout.pools_keys:
        return buffer_of_pooled(layout.setup.model, points, tokens, cells, hidden)
    each, inputs, rules = layout.mask_bytes, 0, layout.rules
    nothing = Point("no layer", 0)
    point = max(points, key=lambda one: 4 * tokens * one.floats + one.bytes_beside, default=nothing)
    uploaded, others = largest_on_host(layout, stage, tokens), 0
    copied = None if stage.number else attention_of_host(layout, load, hidden)
    if layout.works_in_turn:
        each, inputs = masks_in_turn(layout, stage), rules.inputs[stage.number > 0] * hidden
        point, copied = most_in_turn(layout, stage, point, tokens, hidden), None
    elif rules.logits_of_all:
        older = place_in_older_build(layout, stage, load, [point, *points], each, cells, hidden, copied)
        point, each, uploaded = older.point, older.mask_bytes, older.uploaded
        copied = copied if older.with_layers else None
    else:
        point, each = _or_logits(layout, stage, point, each, cells, hidden, tokens)
    if copied is not None:
        sizes = [4 * tokens * one.floats + one.bytes_beside for one in (point, copied)]
        point, others = (point, 0) if sizes[0] >= sizes[1] else (copied, sizes[0])
    size = tokens * (each * cells + 4 * (point.floats + inputs)) + point.bytes_beside + uploaded
    words = f"ubatch x ({each} x mask_cells + 4 x {point.name})"
    numbers = f"{tokens:,} x ({each} x {cells:,} + 4 x {point.floats + inputs:,})"
    if point.bytes_beside:
        words, numbers = f"{words} + of all cells", f"{numbers} + {point.bytes_beside:,}"
    if uploaded:
        words, numbers = f"{words} + largest matrix of the host", f"{numbers} + {uploaded:,}"
    term = Product("temporary", (Factor("compute_buffer", size, "byte", (words, numbers)),), _SOURCE)
    of_masks = 6 if rules.masks_in_f32 else 2
    alone = point.name == LOGITS and layout.flash_attention and not layout.works_in_turn
    beside = tokens * of_masks * cells if alone else 0
    others += beside if beside < size else 0  # in some graphs side by side
    others = max(others, _reordered_beyond(layout, stage, load, each * cells, hidden, by_vulkan) - size)
    if any(is_chosen(layer.attention, pools_keys=False) for layer in stage.kinds):
        others = max(others, perhaps_more(size))
    others = max(others, 4 * tokens * perhaps_beside(layout.setup.model, hidden))
    return Temporary(term, size, size + others)


def _or_logits(
    layout: LlamaLayout, stage: Stage, point: Point, each: int, cells: int, hidden: int, tokens: int
) -> tuple[Point, int]:
    """Where most is held, or where logits are that an application or the class wants; and bytes of a mask's cell."""
    wanted = wanted_logits(layout, stage, tokens, hidden) if tokens else None
    if wanted is None:
        return point, each
    gone = not layout.rules.logits_with_masks or layout.setup.model.model_type in LOGITS_OF_ALL
    of_masks = 0 if gone else each
    both = (
        4 * one.floats + one.bytes_beside // tokens + per * cells for one, per in ((wanted, of_masks), (point, each))
    )
    return (wanted, of_masks) if next(both) > next(both) else (point, each)


def _reordered_beyond(
    layout: LlamaLayout, stage: Stage, load: Load, masks: int, hidden: int, by_vulkan: bool | None
) -> int:
    """What a step takes in Vulkan's order, where it may; masks are bytes of a token."""
    vulkan = layout.setup.gpu.vendor in VULKAN if by_vulkan is None else by_vulkan
    found = [reordered(layer.attention, load, hidden) for layer in stage.kinds if vulkan]
    point = max(found, default=Point("", 0))
    if layout.rules.logits_of_all or not point.floats:
        return 0
    return layout.step_tokens(load) * (masks + 4 * point.floats) + point.bytes_beside


def _mask_cells(layout: LlamaLayout, load: Load) -> Iterator[int]:
    """The cells that a token may see, of each cache with a mask of its own; none where the host computes attention."""
    kinds = layout.setup.model.layout.kinds
    by_host = (not has_kernel(layer.attention) for layer in kinds) if layout.flash_attention else ()
    if any(by_host):
        return
    spans = {layer.span for layer in kinds if grows(layer)}
    for windows in {span is not None for span in spans}:
        yield max(layout.cells(span, load).each for span in spans if (span is not None) == windows)
    indexed = [layer for layer in kinds if is_chosen(layer.attention, pools_keys=layout.pools_keys)]
    yield from {layout.cells(layer.span, load).each for layer in indexed}


def _points(layout: LlamaLayout, stage: Stage, load: Load, hidden: int, *, copies: bool) -> list[Point] | None:
    kept, tokens = hidden_kept(layout), layout.step_tokens(load)
    points = [attention_point(layout, layer, load, hidden, copies=copies) for layer in stage.kinds if grows(layer)]
    kind, states = layout.setup.model.model_type, (layer for layer in stage.kinds if not grows(layer))
    points += [within_a_state(layer.attention, load, hidden, tokens, kind) for layer in states]
    fed = feed_forward_points(layout, kept, hidden)
    if fed is None:
        return None
    return list(with_levels(layout.setup.model, [*points, *fed], hidden))
