"""What is asked of a deployment: how many sequences, of how many tokens."""

from __future__ import annotations

from kvcalc.noun import Noun, noun
from kvcalc.scenario.mix import Lengths, Mix
from kvcalc.units import MAX_BATCH, MAX_CONTEXT, check_count

DEFAULT_CONTEXT = 8192


@noun
class Workload(Noun):
    """Sequences held at the same time.

    Attributes:
        batch: sequences, over all replicas.
        context: tokens of each sequence in the cache; where they differ, of the longest.
        mix: the requests, where they differ.
        output: tokens of the context that are generated; 0 where the context is not told apart.
    """

    batch: int = 1
    context: int = DEFAULT_CONTEXT
    mix: Mix | None = None
    output: int = 0

    def __post_init__(self) -> None:
        check_count(self.batch, "batch", MAX_BATCH)
        check_count(self.context, "context", MAX_CONTEXT)
        if self.mix is not None and self.mix.longest != self.context:
            raise ValueError("context: the longest request of a mix has another")

    @property
    def lengths(self) -> Lengths:
        """Tokens of each sequence with its last, or the requests that they are."""
        return self.context if self.mix is None else self.mix

    @property
    def average(self) -> Lengths:
        """The same, on average while requests generate."""
        return self.context if self.mix is None else self.mix.averaged


def default_context(max_context: int | None) -> int:
    """8,192 tokens, or the model's own limit where that is less."""
    return min(DEFAULT_CONTEXT, max_context or DEFAULT_CONTEXT)
