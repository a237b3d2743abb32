"""Models whose windows llama.cpp does not use: their layers keep all positions.

As their load_arch_hparams have it (src/models/llama.cpp, starcoder2.cpp, qwen2.cpp, qwen2moe.cpp, phimoe.cpp); phi3's
is read and dropped (https://github.com/ggml-org/llama.cpp/pull/13676).
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from kvcalc.model.layers import with_groups

if TYPE_CHECKING:
    from kvcalc.model.model import Model

WHOLE = frozenset(
    {"mistral", "mixtral", "phi3", "phimoe", "starcoder2", "qwen2", "qwen2_moe", "qwen2_vl", "qwen2_5_vl"}
)
"""By model_type of config.json."""


FIXED = {"smallthinker": 4096}
"""Of these the window is llama.cpp's own number, whatever the file says (src/models/smallthinker.cpp, n_swa)."""


def with_fixed_windows(model: Model) -> Model:
    """The same, with the windows that llama.cpp has for its class."""
    tokens = FIXED.get(model.model_type or "")
    if tokens is None:
        return model
    fixed = with_groups(model.layers, lambda group: group if group.window is None else replace(group, window=tokens))
    return replace(model, layers=fixed)


def drops_windows(model: Model) -> bool:
    """Whether a model has windows that llama.cpp does not use."""
    return model.model_type in WHOLE and any(layer.span is not None for layer in model.layout.kinds)


def without_windows(model: Model) -> Model:
    """The same, whose layers keep all positions."""
    whole = with_groups(model.layers, lambda group: replace(group, window=None, chunk=None))
    return replace(model, layers=whole)
