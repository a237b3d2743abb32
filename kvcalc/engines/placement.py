"""Which of a model's weights lie on accelerators, where an engine keeps others in host memory."""

from __future__ import annotations

from kvcalc.named_tuple import NamedTuple


class Placement(NamedTuple):
    """What lies on accelerators; the rest is in host memory.

    Attributes:
        embedding: whether the table of token embeddings does.
        head: whether the output head does, or the copy of a table that is both.
        ngrams: whether tables of n-grams do.
        first_layer: the first layer that does.
        first_experts: the first layer whose routed experts do.
    """

    embedding: bool = True
    head: bool = True
    first_layer: int = 0
    first_experts: int = 0
    ngrams: bool = True
