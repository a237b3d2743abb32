"""Where feed-forward blocks and experts hold most of a compute buffer, and what some classes hold beside.

Of each class graphs of b11549 with its models' own dims were laid out (tests/live/write_llama_cpp_classes.py).
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from kvcalc.engines.gated import is_gated
from kvcalc.engines.llama_cpp.latent_experts import in_layers_of_their_own, point_of_experts
from kvcalc.engines.llama_cpp.levels import PER_LAYER, has_inputs_per_layer
from kvcalc.engines.llama_cpp.points import Point, grows

if TYPE_CHECKING:
    from kvcalc.engines.llama_cpp.layout import LlamaLayout
    from kvcalc.model.model import Model

PARALLEL = {"cohere": 1, "cohere2": 1, "cohere2_moe": 1, "falcon": 1, "gpt_neox": 1, "plamo": 0}
"""Attention and feed-forward block stand side by side, and are added to the residual stream at the end: vectors of
hidden_size that are there with the block's own, by model_type."""
_KEPT_BESIDE = {"cogvlm": -2, "cohere2": 1, "cohere2_moe": 1, "phi": 1}
"""Vectors of hidden_size more, or fewer, than other classes hold beside, by model_type."""
_GEMMA3N = frozenset({"gemma3n", "gemma3n_text"})
_ALTUP = 5
"""Of Gemma 3n: vectors of hidden_size for what predicts and corrects four streams, beside each layer's own embedding,
for whose width llama.cpp takes its own number (src/models/gemma3n.cpp)."""
_HALF_AS_WIDE = 6144
"""intermediate_size of Gemma 4 E2B, whose layers that share caches have twice that (use_double_wide_mlp)."""
_INTERLEAVED = frozenset({"llama4", "llama4_text"})
"""Layers without experts stand between the others where intermediate_size is not the experts' width."""


def feed_forward_points(layout: LlamaLayout, kept: int, hidden: int) -> list[Point] | None:
    """Its places; None where the model's file lacks dims.

    Args:
        layout: of the model.
        kept: vectors of hidden_size that a layer holds beside.
        hidden: hidden_size.
    """
    model, points = layout.setup.model, []
    kept += _KEPT_BESIDE.get(model.model_type or "", 0)
    if model.is_mixture_of_experts:
        used, width = model.num_experts_per_tok, model.moe_intermediate_size
        if used is None or width is None:
            return None
        points.append(_experts(model, used, width, kept, hidden))
        if model.num_shared_experts:
            shared = model.num_shared_experts * width
            name = f"(3 x num_shared_experts x moe_intermediate_size + {kept + 1} x hidden_size)"
            points.append(Point(name, 3 * shared + (kept + 1) * hidden))
    if _has_dense_layers(model):
        if model.intermediate_size is not None:
            points.append(_dense(model, kept, hidden))
        elif any(grows(layer) for layer in model.layout.kinds):
            return None
    return points


def _has_dense_layers(model: Model) -> bool:
    between = model.model_type in _INTERLEAVED and model.intermediate_size not in {None, model.moe_intermediate_size}
    return not model.is_mixture_of_experts or model.first_with_experts > 0 or between


def _dense(model: Model, kept: int, hidden: int) -> Point:
    times = _widths(model)
    twice = 2 if has_inputs_per_layer(model) and model.intermediate_size == _HALF_AS_WIDE else 1
    name, floats = f"{times * twice} x intermediate_size", times * twice * (model.intermediate_size or 0)
    if model.model_type in _GEMMA3N:
        own = PER_LAYER * model.num_layers
        name = f"({name} + {kept + _ALTUP} x hidden_size + {PER_LAYER} x layers)"
        return Point(name, floats + (kept + _ALTUP) * hidden + own)
    return Point(f"({name} + {kept} x hidden_size)", floats + kept * hidden)


def _experts(model: Model, used: int, width: int, kept: int, hidden: int) -> Point:
    if in_layers_of_their_own(model):
        return point_of_experts(model, used, width, hidden)
    if used * width <= hidden:  # what is between gate, up and down lies in what the attention left free
        floats = used * max(2 * width, hidden) + kept * hidden
        return Point(f"(experts_used x max(2 x moe_intermediate_size, hidden_size) + {kept} x hidden_size)", floats)
    spill = used * hidden if hidden > 2 * width else 0  # their outputs do not fit where gate and up were
    name = f"(3 x experts_used x moe_intermediate_size + {kept} x hidden_size"
    name += " + experts_used x hidden_size)" if spill else ")"
    return Point(name, 3 * used * width + kept * hidden + spill)


def beside_attention(model: Model, hidden: int) -> int:
    """Numbers of f32 of a feed-forward block that was there before: copies of K and V lie behind it."""
    if model.model_type not in PARALLEL:
        return 0
    return _widths(model) * (model.intermediate_size or 0) + PARALLEL[model.model_type] * hidden


def _widths(model: Model) -> int:
    """Gate, up and what is made of both, or up alone."""
    return 3 if is_gated(replace(model, weights=())) else 1
