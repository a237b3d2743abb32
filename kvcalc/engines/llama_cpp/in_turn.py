"""Cards that work on micro-batches in turn: each has four copies of what it is given, which stay all the time.

GGML_SCHED_MAX_COPIES (ggml/src/ggml-backend.cpp); llama.cpp does so where all layers lie on cards. Masks are given, so
that they lie beside the logits too; up to b9409 the first card is given them in f32, and makes those in f16 that it and
the others compute with. Ollama printed 378.04 and 408.55 MiB of Llama-3.2-3B at 32,768 tokens, 9,952.25 and 6,276.28 of
Qwen3.6-27B at 262,144 with micro-batches of 2,048 (stored file 54749245065); with b10488 4,744.25 on both cards of
Qwen3.8-27B (stored file 65715519840). How many vectors of hidden_size are given with them is in builds.py.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvcalc.engines.llama_cpp.older_builds import LOGITS
from kvcalc.engines.llama_cpp.points import Point, wanted_logits

if TYPE_CHECKING:
    from kvcalc.engines.llama_cpp.layout import LlamaLayout
    from kvcalc.model.stages import Stage

COPIES = 4


def masks_in_turn(layout: LlamaLayout, stage: Stage) -> int:
    """Bytes of a mask's cell for each token."""
    if layout.rules.masks_in_f32 and layout.flash_attention and stage.number == 0:
        return COPIES * 4 + layout.mask_bytes
    return COPIES * layout.mask_bytes


def most_in_turn(layout: LlamaLayout, stage: Stage, point: Point, tokens: int, hidden: int) -> Point:
    """Where most is held: within a layer, or on the last card where logits of more tokens than one of a slot are."""
    model = layout.setup.model
    logits = wanted_logits(layout, stage, tokens, hidden)
    if layout.rules.logits_of_all and model.vocab_size and stage.layers.stop == model.num_layers:
        logits = Point(LOGITS, model.vocab_size + hidden)
    return point if logits is None else max(point, logits, key=lambda one: 4 * tokens * one.floats + one.bytes_beside)
