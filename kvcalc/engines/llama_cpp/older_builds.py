"""Where builds of llama.cpp before b9460 hold most of a compute buffer: they have logits of every token (builds.py)."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from kvcalc.engines.llama_cpp.host import head_on_host, largest_on_host
from kvcalc.engines.llama_cpp.points import Point, grows, has_gates, query_heads

if TYPE_CHECKING:
    from kvcalc.engines.llama_cpp.layout import LlamaLayout
    from kvcalc.engines.load import Load
    from kvcalc.model.layers import Layer
    from kvcalc.model.stages import Stage

LOGITS = "(vocab_size + hidden_size)"


class Older(NamedTuple):
    """A place where a build that has logits of every token may hold most.

    Attributes:
        mask_bytes: of a mask's cell.
        uploaded: bytes of the host's matrix that is multiplied there.
        with_layers: whether what the card does for layers of the host may be there too.
    """

    point: Point
    mask_bytes: int
    uploaded: int
    with_layers: bool = False


def place_in_older_build(
    layout: LlamaLayout,
    stage: Stage,
    load: Load,
    points: list[Point],
    each: int,
    cells: int,
    hidden: int,
    copied: Point | None,
) -> Older:
    """Where a build holds most that has logits for every token, or its masks twice too."""
    tokens = layout.step_tokens(load)
    kinds = stage.kinds or layout.setup.model.layout.kinds  # of layers of the host where none is on the card
    growing = [layer for layer in kinds if grows(layer)]
    found = [Older(points[0], each, largest_on_host(layout, stage, tokens), with_layers=True)]
    first = stage.number == 0  # the others are given masks in f16
    if growing and layout.flash_attention and layout.rules.masks_in_f32 and first:
        of_host = 0 if copied is None else copied.bytes_beside
        given = Point("what the first attention is given", _given(layout, growing[0], hidden), of_host)
        found.append(Older(given, each + 4, 0))
    if layout.setup.model.vocab_size and stage.layers.stop == layout.setup.model.num_layers:
        found.append(Older(Point(LOGITS, layout.setup.model.vocab_size + hidden), 0, head_on_host(layout)))
    return max(
        found,
        key=lambda one: (
            tokens * (one.mask_bytes * cells + 4 * one.point.floats) + one.point.bytes_beside + one.uploaded
        ),
    )


def _given(layout: LlamaLayout, layer: Layer, hidden: int) -> int:
    """Numbers of f32 that are there when the first attention's mask is made: its input and its queries."""
    of = {tensor.name: tensor for tensor in layer.attention.cached()}
    key = of.get("k") or next(iter(of.values()))
    wide, gates = query_heads(layer.attention) * key.head_elements, 2 if has_gates(layout) else 0
    half = all(layout.cache_format.of(layer, each).name == "fp16" for each in of.values())
    return 2 * hidden + wide * (2 + gates // 2 if half else 1 + gates + gates // 2)
