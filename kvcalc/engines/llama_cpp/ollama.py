"""The cells of layers with windows in Ollama's own engine, 0.6 to 0.24 (kvcache/causal.go, Causal.Init).

It keeps as llama.cpp does where slots share cells, but for windows: of some models it remembers more than their window,
a token more for each of several requests, and whole contexts where they are no longer than that.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from kvcalc.model.span import Span

MEMORY = {"gpt_oss": 4096, "gemma4": 4096, "gemma4_text": 4096}
"""By model_type, tokens that windows keep at least: NewSWAMemCache in model/models, gptoss and gemma4."""


def cells_of_window(span: Span, model_type: str | None, slots: int, context: int, batch: int) -> int | None:
    """Cells of all requests together before padding; None where they keep the whole context.

    Args:
        span: of a layer.
        model_type: of the model's file.
        slots: requests at a time.
        context: tokens of each.
        batch: tokens of a step.
    """
    kept = max(span.tokens, MEMORY.get(model_type or "", 0))
    if slots > 1:
        kept = max(kept, span.tokens + 1)
    return None if kept >= context else slots * kept + batch
