"""What is asked of a deployment: how many sequences, of how many tokens."""

from __future__ import annotations

from kvcalc.noun import Noun, noun
from kvcalc.units import MAX_BATCH, MAX_CONTEXT, check_count

DEFAULT_CONTEXT = 8192


@noun
class Workload(Noun):
    """Sequences held at the same time.

    Attributes:
        batch: sequences, over all replicas.
        context: tokens of each sequence in the cache.
    """

    batch: int = 1
    context: int = DEFAULT_CONTEXT

    def __post_init__(self) -> None:
        check_count(self.batch, "batch", MAX_BATCH)
        check_count(self.context, "context", MAX_CONTEXT)


def default_context(max_context: int | None) -> int:
    """8,192 tokens, or the model's own limit where that is less."""
    return min(DEFAULT_CONTEXT, max_context or DEFAULT_CONTEXT)
