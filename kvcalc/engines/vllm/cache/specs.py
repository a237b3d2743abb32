"""What each cached layer asks of vLLM's planner: its block, the bytes of a page, and the blocks of a request.

Named as in vllm/v1/kv_cache_interface.py. A page is what one layer keeps in one block.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, ClassVar, NamedTuple

from kvcalc.noun import Noun, noun

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kvcalc.engines.content_counter import TensorRows

INTERFACE = "vllm/v1/kv_cache_interface.py"


class Request(NamedTuple):
    """What a request is admitted with.

    Attributes:
        tokens: of its context.
        in_flight: tokens of steps that may be scheduled and not yet settled.
        dcp: ranks that share its tokens.
    """

    tokens: int
    in_flight: int
    dcp: int = 1


class Piece(NamedTuple):
    """What a sequence reserves in a layer beyond what the formula keeps and beside rounding to blocks.

    Attributes:
        name: why.
        number: of tokens or states.
        noun: which of them.
        size: bytes of one.
        source: where vLLM does so.
    """

    name: str
    number: int
    noun: str
    size: int
    source: str


@noun
class Spec(Noun, ABC):
    """One layer's cached tensors.

    Attributes:
        shape: what is equal in layers whose specs merge: the tensors' shapes and formats.
        rows: those tensors, as one layer keeps them on a rank.
        block_size: tokens of a block; 0 where a block lasts for any context.
        padded: bytes of a page, where it is padded.
        unused_row: bytes of a token's row that nothing fills.
        stride: what the bytes of a block that it lies in are a multiple of.
    """

    family: ClassVar[str]
    """Specs of one family need the same blocks where their block sizes are the same."""

    shape: str
    rows: tuple[TensorRows, ...]
    block_size: int
    padded: int | None = None
    unused_row: int = 0
    stride: int = 1

    @property
    def prefix_cacheable(self) -> bool:
        """Whether its blocks are found again by a prefix; of those that are, vLLM prints the smallest size."""
        return True

    @property
    def row_bytes(self) -> int:
        """Of a token."""
        return sum(each.row_bytes for each in self.rows)

    @property
    def content_page(self) -> int:
        """Bytes of a page without padding."""
        return self.block_size * self.row_bytes

    @property
    def page(self) -> int:
        """Bytes of a page."""
        return self.content_page + self.block_size * self.unused_row if self.padded is None else self.padded

    @property
    def uniform(self) -> tuple[object, ...]:
        """What is equal in layers that can be one group, whatever their pages are (UniformTypeKVCacheSpecs)."""
        return self.family, self.block_size

    @abstractmethod
    def blocks(self, request: Request) -> int:
        """The blocks that a request is admitted with."""

    def tokens_of_block(self, request: Request) -> int:
        """Tokens of a sequence that a block spans."""
        return self.block_size or request.tokens

    def grows(self, request: Request) -> bool:  # noqa: ARG002  # some do not
        """Whether a longer request takes more blocks."""
        return True

    def pieces(self, request: Request) -> Iterator[Piece]:  # noqa: ARG002  # some round only
        """What a sequence reserves beside rounding to blocks."""
        yield from ()

    def _tokens(self, name: str, number: int, source: str) -> Piece:
        return Piece(name, number, "token", self.row_bytes, source)


@noun
class FullAttention(Spec):
    """Every token: FullAttentionSpec and MLAAttentionSpec.

    Attributes:
        keeps: tokens that attention needs, where it has a window or chunks and vLLM keeps every token all the same.
    """

    family: ClassVar[str] = "full attention"

    keeps: int | None = None

    def blocks(self, request: Request) -> int:
        on_rank = -(-request.tokens // request.dcp)
        return -(-on_rank // self.block_size)

    def tokens_of_block(self, request: Request) -> int:
        return self.block_size * request.dcp

    def pieces(self, request: Request) -> Iterator[Piece]:
        if self.keeps is not None and self.keeps < request.tokens:
            source = "vllm/v1/core/kv_cache_utils.py, unify_hybrid_kv_cache_specs"
            yield self._tokens("tokens before the window", request.tokens - self.keeps, source)


@noun
class Entries(FullAttention):
    """Rows that stand for several tokens each: MLAAttentionSpec with tokens_per_state."""

    family: ClassVar[str] = FullAttention.family

    tokens_per_row: int = 1

    @property
    def content_page(self) -> int:
        return self.block_size // self.tokens_per_row * self.row_bytes


@noun
class CrossAttention(Spec):
    """The encoder's tokens: CrossAttentionSpec.

    Attributes:
        encoder_tokens: as many as a step may encode.
    """

    family: ClassVar[str] = "cross attention"

    encoder_tokens: int = 0

    def blocks(self, request: Request) -> int:  # noqa: ARG002  # of Spec
        return -(-self.encoder_tokens // self.block_size)

    def grows(self, request: Request) -> bool:  # noqa: ARG002  # of Spec
        return False

    def pieces(self, request: Request) -> Iterator[Piece]:  # noqa: ARG002  # of Spec
        (first, *_) = self.rows
        more = self.encoder_tokens - (first.constant_rows or 0)
        yield self._tokens("tokens that a step may encode", more, f"{INTERFACE}, CrossAttentionSpec")
