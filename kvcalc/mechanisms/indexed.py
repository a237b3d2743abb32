"""What a sparse indexer keeps: a key for each token, or one for several and a ring of what the next is made of."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvcalc.mechanisms.base import CachedTensor, Role
from kvcalc.term import Factor

if TYPE_CHECKING:
    from collections.abc import Iterator

TAIL_FORMAT = "bf16"
"""What waits for its key, whatever the cache's format: vLLM 0.33.0, vllm/models/glm5next/common/attention.py,
Glm5NextTailCache."""


def index_tensors(
    index_head_dim: int, index_kpool: int | None, element_format: str, waiting: tuple[Factor, ...]
) -> Iterator[CachedTensor]:
    """index_k, and index_tail where a key is pooled.

    Args:
        index_head_dim: width of a key.
        index_kpool: tokens that a key is pooled over; None where each token has its own.
        element_format: of a key, whatever the cache's format is.
        waiting: dims of what a token leaves until its key is made.
    """
    width = Factor("index_head_dim", index_head_dim)
    if index_kpool is None:
        yield CachedTensor("index_k", (width,), role=Role.INDEX, format=element_format)
        return
    pooled = Factor("index_kpool", index_kpool)
    yield CachedTensor("index_k", (width,), role=Role.INDEX, format=element_format, every=pooled)
    yield CachedTensor("index_tail", waiting, role=Role.INDEX, format=TAIL_FORMAT, last=pooled)
