"""Tables of rotations that engines keep beside the weights: cosines and sines of every position."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvcalc.mechanisms import GQA, MHA, MLA, MQA
from kvcalc.term import Factor, Product

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kvcalc.model.model import Model
    from kvcalc.model.stages import Stage


def rotary_tables(
    model: Model, stage: Stage, element: Factor, source: str, most: int | None = None
) -> Iterator[Product]:
    """A table for each width of heads that a stage rotates.

    A model's file tells how many positions all its tables have where they are more than one for each width, or scaled;
    its width where it is not the heads'.

    Args:
        model: of which the stage has layers.
        stage: of a pipeline.
        element: bytes of a number, as the engine keeps it.
        source: where the engine has it.
        most: positions that the engine keeps at most.
    """
    positions = model.rotary_positions or model.max_context
    positions = min(positions, most) if positions and most else positions
    widths = dict.fromkeys(
        layer.attention.qk_rope_head_dim if isinstance(layer.attention, MLA) else layer.attention.head_dim
        for layer in stage.kinds
        if isinstance(layer.attention, MHA | MQA | GQA | MLA)
    )
    if model.rotary_positions or model.rotary_dim:
        widths = dict.fromkeys([model.rotary_dim or next(iter(widths), 0)] if widths else [])
    for width in widths:
        if positions and width:
            factors = (Factor("positions", positions, "position"), Factor("rotary_dim", width), element)
            yield Product(f"rotary table of {width}", factors, source)
