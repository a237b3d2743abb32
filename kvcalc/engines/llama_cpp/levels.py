"""Inputs that several layers add (Qwen3-VL's deepstack, Gemma 4's per-layer embeddings), and parts side by side.

An input has a row of hidden_size for the embedding, and one more for each of three levels of an image's features, all
of which lie there until the third layer has added its own (src/models/qwen3vl.cpp). What else lies between differs: in
graphs of b11549 with the dims of its six models 5 to 10.2 vectors of hidden_size more than without, with copies of K
and V 8 to 14. With attention and a state-space block in each layer (Falcon-H1) it was up to 4.8.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvcalc.mechanisms import Shared

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from kvcalc.engines.llama_cpp.points import Point
    from kvcalc.model.model import Model

LEVELS = frozenset({"qwen3_vl", "qwen3_vl_moe", "qwen3_vl_text", "qwen3_vl_moe_text"})
_BESIDE, _BESIDE_COPIES, _MOST = 8, 13, 3
_SIDE_BY_SIDE = 5
PER_LAYER = 256
"""hidden_size_per_layer_input of Gemma 3n and of Gemma 4's E2B and E4B, whose last layers share caches."""
_GEMMA4 = frozenset({"gemma4", "gemma4_text"})


def with_levels(model: Model, points: Iterable[Point], hidden: int) -> Iterator[Point]:
    """The places, with what lies there of such inputs."""
    own = PER_LAYER * model.num_layers if has_inputs_per_layer(model) else 0
    for point in points:
        if own:
            name = f"({point.name} + hidden_size + 2 x {PER_LAYER} x layers)"
            yield point._replace(name=name, floats=point.floats + hidden + 2 * own)
            continue
        if model.model_type not in LEVELS:
            yield point
            continue
        more = _BESIDE_COPIES if point.bytes_beside else _BESIDE
        yield point._replace(name=f"({point.name} + {more} x hidden_size)", floats=point.floats + more * hidden)


def has_inputs_per_layer(model: Model) -> bool:
    """Whether each layer of a Gemma 4 has an embedding of its own: E2B and E4B, whose last layers keep nothing."""
    return model.model_type in _GEMMA4 and any(isinstance(layer.attention, Shared) for layer in model.layout.kinds)


def perhaps_beside(model: Model, hidden: int) -> int:
    """Numbers of f32 of a token that may be there too."""
    if any(len(blocks) > 1 for blocks in model.layout.layers):
        return _SIDE_BY_SIDE * hidden
    return _MOST * hidden if model.model_type in LEVELS else 0
