"""What an engine is: a function from the layers of a rank and the workload to the bytes reserved, as terms."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kvcalc.engines.cache_format import CacheFormat
    from kvcalc.model.layers import Layer
    from kvcalc.term import Sum


class RankLoad(NamedTuple):
    """What one rank is asked to hold.

    Attributes:
        layers: each kind of cache on the rank, and how many.
        tp: tensor-parallel ranks that share each layer.
        sequences: sequences held at the same time.
        context: tokens of each; 0 asks for what a sequence costs before its first token.
        cache_format: element formats.
        dcp: ranks, among the tp, that share the tokens of a sequence.
        shared_prefix: first tokens of the context that all sequences share, kept once.
        read: whether to count what a step of decoding reads of it, instead of all that is kept: of a sparse layer the
            positions that are chosen.
    """

    layers: Mapping[Layer, int]
    tp: int
    sequences: int
    context: int
    cache_format: CacheFormat
    dcp: int = 1
    shared_prefix: int = 0
    read: bool = False


class Engine(Protocol):
    """How a serving engine lays out the cache: a frozen value, so that scenarios can be compared and pickled."""

    @property
    def name(self) -> str:
        """As `--engine` takes it."""

    @property
    def version(self) -> str | None:
        """Of the engine that this describes; None for a plain formula."""

    @property
    def about(self) -> str:
        """What it counts, in a sentence or two."""

    @property
    def source(self) -> str:
        """Where that is documented."""

    def rank_cache(self, load: RankLoad) -> Sum:
        """Bytes of one rank's cache, as a tree whose leaves are products.

        They never fall as sequences or tokens are added, and layers take no less apart, on several stages, than
        together on one: the searches rest on that.
        """

    def is_lower_bound(self, load: RankLoad) -> bool:
        """Whether serving engines are known to reserve more than this counts."""
