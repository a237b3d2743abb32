"""Compressed attention in llama.cpp: what it serves. How many cells each part has is in layout.py.

src/llama-kv-cache-dsv4.cpp keeps four caches without V, of windows, of entries of either ratio and of an indexer's
keys, and in f32 what waits for the next entry; each slot has its own, also with kv-unified, and then as many as all.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvcalc.errors import KvcalcError
from kvcalc.mechanisms import Compressed

if TYPE_CHECKING:
    from kvcalc.engines.llama_cpp.options import Settings
    from kvcalc.engines.setup import Setup
    from kvcalc.mechanisms import Mechanism

BUILD = "b11549"
"""The one whose own sizes were compared."""
RATIOS = {4: True, 128: False}
"""compress_ratio -> whether entries overlap and have an indexer (DSV4_CSA_RATIO and DSV4_HCA_RATIO)."""


def check_compressed(setup: Setup, settings: Settings, build: str) -> None:
    """Refuses what it does not serve, or kvcalc does not follow.

    Raises:
        KvcalcError: another build or engine, other ratios, or layers that draft.
    """
    kinds = [layer.attention for layer in setup.model.layout.kinds]
    if not any(isinstance(each, Compressed) for each in kinds):
        return
    if settings.ollama_new_engine:
        raise KvcalcError(
            "--engine-option ollama-new-engine: kvcalc does not follow how it keeps compressed attention; leave it out"
        )
    if build != BUILD:
        raise KvcalcError(
            f"--engine: kvcalc follows how llama.cpp keeps compressed attention in {BUILD}; --engine llama-cpp@{BUILD}"
        )
    for each in kinds:
        if not _is_known(each):
            raise KvcalcError(
                f"--engine: llama.cpp has compressed attention with ratios of 4, with overlap and an indexer, and 128, "
                f"without: not {each.label} (src/models/deepseek4.cpp); --engine exact counts it"
            )
    if setup.draft is not None:
        raise KvcalcError(
            "--mtp, --draft: kvcalc does not follow how llama.cpp keeps what drafts for compressed attention; "
            "--engine exact counts it"
        )


def _is_known(attention: Mechanism) -> bool:
    if not isinstance(attention, Compressed) or attention.shared_entries:
        return False
    ratio = attention.compress_ratio
    if ratio is None:
        return True
    return ratio in RATIOS and attention.overlap == RATIOS[ratio] == (attention.index_head_dim is not None)
