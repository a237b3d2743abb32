"""Compressed attention in llama.cpp: what it serves. How many cells each part has is in layout.py.

src/llama-kv-cache-dsv4.cpp keeps four caches without V, of windows, of entries of either ratio and of an indexer's
keys, and in f32 what waits for the next entry; each slot has its own, also with kv-unified, and then as many as all.
"""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING

from kvcalc.engines.budget import Temporary
from kvcalc.errors import KvcalcError
from kvcalc.mechanisms import Compressed
from kvcalc.term import Factor, Product

if TYPE_CHECKING:
    from kvcalc.engines.llama_cpp.layout import LlamaLayout
    from kvcalc.engines.llama_cpp.options import Settings
    from kvcalc.engines.load import Load
    from kvcalc.engines.setup import Setup
    from kvcalc.mechanisms import Mechanism

BUILD = "b11549"
"""The one whose own sizes were compared."""
_SOURCE = f"fitted to graphs of llama.cpp {BUILD}, kvcalc/engines/llama_cpp/compressed.py"
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


_PER_CELL, _PER_HEAD, _STREAMS = Fraction(32, 10), Fraction(5, 2), 7
"""Bytes of a token and a cell of the context; numbers of f32 of a token for each element of all heads' queries, and
vectors of hidden_size for residual streams and feed-forward blocks."""
_LEAST, _MOST = Fraction(3, 4), Fraction(106, 100)
"""Of that, in 40 graphs of b11549 with the dims of DeepSeek-V4-Flash, or twice its heads, or a hidden_size of 7,168:
4,096 to 1,048,576 cells, micro-batches of 512 to 2,048."""


def buffer_of_compressed(layout: LlamaLayout, load: Load) -> Temporary | None:
    """The compute buffer of a card, as a range fitted to graphs of b11549; None without flash attention, or sizes."""
    hidden, tokens = layout.setup.model.hidden_size, layout.step_tokens(load)
    kinds = [layer.attention for layer in layout.setup.model.layout.kinds]
    queries = max(each.num_heads * each.head_dim for each in kinds if isinstance(each, Compressed))
    if hidden is None or not layout.flash_attention:
        return None
    cells = layout.cells(None, load).each
    size = int(tokens * (_PER_CELL * cells + 4 * (_PER_HEAD * queries + _STREAMS * hidden)))
    words = "ubatch x (3.2 x cells + 4 x (2.5 x num_heads x head_dim + 7 x hidden_size))"
    term = Product("temporary", (Factor("compute_buffer", size, "byte", (words, f"{size:,}")),), _SOURCE)
    return Temporary(term, int(size * _LEAST), int(size * _MOST))
