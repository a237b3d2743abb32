"""What the layers of a rank are asked to hold."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvcalc.engines.load import Alike
from kvcalc.mechanisms import Role
from kvcalc.named_tuple import NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kvcalc.engines.cache_format import CacheFormat
    from kvcalc.model.layers import Layer

CACHE_ALONE = frozenset({Role.CACHE})


class RankLoad(NamedTuple):
    """Layers of one rank, and what they are asked to hold.

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
        mixed: the sequences by their lengths, where they differ.
        prefixes: how many prefixes are shared, each by some of the sequences.
        hot: of a layer that chooses positions, those of a sequence that are kept on the accelerator; None: all.
        in_turn: what of a token only one of the dcp ranks keeps.
    """

    layers: Mapping[Layer, int]
    tp: int
    sequences: int
    context: int
    cache_format: CacheFormat
    dcp: int = 1
    shared_prefix: int = 0
    read: bool = False
    mixed: tuple[Alike, ...] = ()
    prefixes: int = 1
    in_turn: frozenset[Role] = CACHE_ALONE
    hot: int | None = None

    @property
    def alike(self) -> tuple[Alike, ...]:
        """The sequences by their lengths."""
        return self.mixed or (Alike(self.sequences, self.context),)
