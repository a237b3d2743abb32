"""Where attention holds most of a compute buffer: on the card, or for layers whose cache the host keeps."""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING

from kvcalc.engines.llama_cpp.chosen import BYTES_OF_A_CELL, floats_of_chosen, is_chosen
from kvcalc.engines.llama_cpp.feed_forward import beside_attention
from kvcalc.engines.llama_cpp.formats import has_kernel
from kvcalc.engines.llama_cpp.points import Point, grows, has_gates, query_heads
from kvcalc.mechanisms import MLA, Role
from kvcalc.model.layers import count_layers

if TYPE_CHECKING:
    from kvcalc.engines.llama_cpp.layout import LlamaLayout
    from kvcalc.engines.load import Load
    from kvcalc.model.layers import Layer


def attention_point(layout: LlamaLayout, layer: Layer, load: Load, hidden: int, *, copies: bool = True) -> Point:
    """Of a layer; `copies`: whether the back end reserves those of K and V in f16, as Vulkan's does not."""
    attention, cells = layer.attention, layout.cells(layer.span, load)
    of = {tensor.name: tensor for tensor in attention.cached()}
    name, heads, kept, scored = "attention", query_heads(attention), hidden_kept(layout), 0
    match attention:
        case MLA():
            row = attention.kv_lora_rank + attention.qk_rope_head_dim
            floats = kept * hidden + heads * (attention.qk_nope_head_dim + attention.qk_rope_head_dim + 2 * row)
            if is_chosen(attention, pools_keys=layout.pools_keys):
                floats = floats_of_chosen(attention, hidden, cells.each)
                scored = (
                    layout.step_tokens(load)
                    * (BYTES_OF_A_CELL[layout.flash_attention] - 2 * layout.mask_bytes)
                    * cells.each
                )
            output = heads * attention.kv_lora_rank
            kv = 0
        case _:
            output = heads * (of["v"] if "v" in of else of["k"]).head_elements
            wide = heads * of["k"].head_elements
            floats = kept * hidden + wide + (output if wide > hidden else 0) + (3 * wide if has_gates(layout) else 0)
            output, kv = 0, sum(of[each].row_elements for each in ("k", "v") if each in of)
    if not layout.flash_attention:
        tokens = layout.step_tokens(load)
        scores = 4 * tokens * heads * cells.each + scored
        values = 0 if layout.transposes_values or "v" not in of else of["v"].row_elements
        return Point(f"{name} + scores", floats + kv - 2 * values, scores + 2 * values * cells.all)  # V, transposed now
    copied = sum(
        tensor.row_elements
        for tensor in of.values()
        if copies
        and layout.rules.copies_within
        and has_kernel(attention)
        and tensor.role is Role.CACHE
        and layout.cache_format.of(layer, tensor).name != "fp16"
    )
    if isinstance(attention, MLA) and copied * cells.all <= 2 * layout.step_tokens(load) * _left(attention, hidden):
        copied = 0
    if copied:
        output += beside_attention(layout.setup.model, hidden)
    types = {layout.cache_format.of(layer, tensor).name for tensor in of.values() if tensor.role is Role.CACHE}
    if "bf16" in types and not output and not has_gates(layout):
        floats += heads * of["k"].head_elements
    return Point(name, floats + (output if copied else 0), 2 * copied * cells.all + scored)


def _left(attention: MLA, hidden: int) -> int:
    """Numbers of f32 of a token whose place the copy of a latent cache may take, where it fits: queries as projected.

    Of b11549's own graphs of 20 to 128 heads, and micro-batches of 256 to 2,048 tokens.
    """
    rotated = attention.num_heads * attention.qk_rope_head_dim
    return attention.num_heads * attention.qk_nope_head_dim + rotated * (2 if rotated > hidden else 1)


def hidden_kept(layout: LlamaLayout) -> int:
    """Vectors of hidden_size that a layer holds beside what it computes."""
    return layout.rules.hidden_kept_gated if has_gates(layout) else layout.rules.hidden_kept


def attention_of_host(layout: LlamaLayout, load: Load, hidden: int) -> Point | None:
    """The attention of a layer that the host keeps: the card has a copy of its cells (ggml/src/ggml-backend.cpp).

    None where all layers lie on cards, or all caches with the host, which then computes the attention.
    """
    if layout.settings.no_kv_offload:
        return None
    found = []
    for layer in count_layers(layout.setup.model.layout.layers[: layout.placement.first_layer]):
        if not grows(layer):
            continue
        tensors = [tensor for tensor in layer.attention.cached() if tensor.role is Role.CACHE]
        rows = (layout.cache_format.of(layer, tensor).row(tensor.heads, tensor.dims) for tensor in tensors)
        row = sum(prod(factor.value for factor in factors) for factors in rows)
        point = attention_point(layout, layer, load, hidden)
        cells = row * layout.cells(layer.span, load).all
        found.append(point._replace(name="attention", bytes_beside=point.bytes_beside + cells))
    return max(found, key=lambda one: one.bytes_beside, default=None)
