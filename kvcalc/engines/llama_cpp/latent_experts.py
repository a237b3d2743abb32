"""Nemotron-H's experts: in layers of their own, without gates, and at times in a space narrower than the model."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvcalc.engines.llama_cpp.points import Point
from kvcalc.mechanisms import NoAttention

if TYPE_CHECKING:
    from kvcalc.model.model import Model


def in_layers_of_their_own(model: Model) -> bool:
    """Whether a layer has experts or attention, never both."""
    return model.is_mixture_of_experts and _bare(model) > 0


def all_widths(model: Model) -> int:
    """Outputs that a layer's experts have together."""
    return (model.num_experts or 0) * (model.moe_intermediate_size or 0)


def width_of_inputs(model: Model, hidden: int) -> int:
    """What an expert works on: the hidden size, or what its parameters leave for it, as no key of a file has it."""
    routed = sum(part.parameters for part in model.weights if part.split == "ep" and part.place == "layers")
    if not (routed and in_layers_of_their_own(model) and all_widths(model)):
        return hidden
    return routed // (2 * _bare(model) * all_widths(model))


def point_of_experts(model: Model, used: int, width: int, hidden: int) -> Point:
    """Where a layer of experts holds most: src/models/nemotron-h.cpp, as b11549's own graphs are laid out.

    Of graphs of 20 layers with latents of 256 to 2,048 and without, 6 to 22 experts used and widths of 1,024 to 3,856.
    """
    inner = width_of_inputs(model, hidden)
    kept = 4 if inner < hidden else 5
    name = f"(experts_used x (moe_intermediate_size + {inner:,}) + {kept} x hidden_size)"
    return Point(name, used * (width + inner) + kept * hidden)


def _bare(model: Model) -> int:
    return sum(count for layer, count in model.layout.kinds.items() if isinstance(layer.attention, NoAttention))
