"""The workspace of a prompt: what a pass over prefill-step-size tokens holds beside weights and cache.

    bytes = tokens of a pass x (4 x hidden_size + 3 x feed-forward width) + rows of windows + logits

The first part is what the point of a feed-forward block holds in any framework that computes it in this order, gate and
product at once; it is not measured on a Mac, where MLX may fuse some of it. Windows hold up to window - 1 +
prefill-step-size rows while a prompt is read (mlx_lm/models/cache.py, RotatingKVCache._update_concat).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvcalc.engines.budget import Temporary
from kvcalc.mechanisms import Role
from kvcalc.model.span import Chunk
from kvcalc.term import Factor, Product

if TYPE_CHECKING:
    from kvcalc.engines.load import Alike, Load
    from kvcalc.engines.mlx.options import Settings
    from kvcalc.engines.settled import Settled
    from kvcalc.model.layers import Layer
    from kvcalc.model.stages import Stage

_SOURCE = "dims of a pass over prefill-step-size tokens (mlx_lm/generate.py, generate_step); not measured on a Mac"


def prompt_workspace(layout: Settled, settings: Settings, stage: Stage, load: Load) -> Temporary | None:
    """What a pass over a prompt holds at its peak; None where dims are not known."""
    model, size = layout.setup.model, layout.cache_format.computing.block_bytes
    if model.hidden_size is None:
        return None
    tokens = sum(number * min(context, settings.prefill_step_size) for number, context in load.alike)
    experts = (model.num_experts_per_tok or 0) * (model.moe_intermediate_size or 0)
    width = 4 * model.hidden_size + 3 * max(model.intermediate_size or 0, experts)
    windows = sum(
        _pass_in_windows(layout, settings, layer, count, alike)
        for alike in load.alike
        for layer, count in stage.kinds.items()
    )
    logits = load.sequences * (model.vocab_size or 0) * 4
    held = tokens * width * size + windows + logits
    words = f"tokens of a pass x (4 x hidden_size + 3 x feed-forward width) x {size} + windows + logits"
    numbers = f"{tokens:,} x {width:,} x {size} + {windows:,} + {logits:,}"
    term = Product("temporary", (Factor("prompt_workspace", held, "byte", (words, numbers)),), _SOURCE)
    return Temporary(term, held, held)


def _pass_in_windows(layout: Settled, settings: Settings, layer: Layer, count: int, load: Alike) -> int:
    """Rows that a window holds until the next token, beyond those that it keeps."""
    span = layer.span
    if span is None or isinstance(span, Chunk) or not load.context:
        return 0
    prompt, most = load.context - 1, span.tokens - 1 + settings.prefill_step_size
    rows = max(0, min(prompt, most) - settings.rows(span, load.context))
    row = sum(tensor.row_elements for tensor in layer.attention.cached() if tensor.role is Role.CACHE)
    return load.sequences * count * rows * row * layout.cache_format.computing.block_bytes
