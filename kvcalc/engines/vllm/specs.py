"""What each cached layer asks of vLLM's planner: its block, the bytes of a page, and the blocks of a request.

Named as in vllm/v1/kv_cache_interface.py. A page is what one layer keeps in one block.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kvcalc.engines.content import TensorRows

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
    """Tokens that a sequence reserves beyond those that the formula keeps.

    Attributes:
        name: why.
        tokens: of each sequence.
        source: where vLLM does so.
    """

    name: str
    tokens: int
    source: str


@dataclass(frozen=True)
class Spec(ABC):
    """One layer's cached tensors.

    Attributes:
        shape: what is equal in layers whose specs merge: the tensors' shapes and formats.
        rows: those tensors, as one layer keeps them on a rank.
        block_size: tokens of a block.
        padded: bytes of a page, where it is padded.
    """

    family: ClassVar[str]
    """Specs of one family need the same blocks where their block sizes are the same."""

    shape: str
    rows: tuple[TensorRows, ...]
    block_size: int
    padded: int | None = None

    @property
    def row_bytes(self) -> int:
        """Of a token, or of a state."""
        return sum(each.row_bytes * (each.constant_rows or 1) for each in self.rows)

    @property
    def content_page(self) -> int:
        """Bytes of a page without padding."""
        return self.block_size * self.row_bytes

    @property
    def page(self) -> int:
        """Bytes of a page."""
        return self.content_page if self.padded is None else self.padded

    @property
    def uniform(self) -> tuple[object, ...]:
        """What is equal in layers that can be one group, whatever their pages are (UniformTypeKVCacheSpecs)."""
        return self.family, self.block_size

    @abstractmethod
    def blocks(self, request: Request) -> int:
        """The blocks that a request is admitted with."""

    def tokens_of_block(self, request: Request) -> int:  # noqa: ARG002  # where ranks share tokens, more
        """Tokens of a sequence that a block spans."""
        return self.block_size

    def grows(self, request: Request) -> bool:  # noqa: ARG002  # most do
        """Whether a longer request takes more blocks."""
        return True

    def pieces(self, request: Request) -> Iterator[Piece]:  # noqa: ARG002  # most round only
        """What a sequence reserves beside rounding to blocks."""
        yield from ()


@dataclass(frozen=True)
class FullAttention(Spec):
    """Every token: FullAttentionSpec and MLAAttentionSpec.

    Attributes:
        keeps: tokens that attention needs, where it is a window or a chunk that vLLM gives every token (promoted).
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
            yield Piece("tokens before the window", request.tokens - self.keeps, source)


@dataclass(frozen=True)
class SlidingWindow(Spec):
    """The window, the tokens in flight, and a block more: SlidingWindowSpec."""

    family: ClassVar[str] = "sliding window"

    window: int = 0

    @property
    def uniform(self) -> tuple[object, ...]:
        return self.family, self.block_size, self.window

    def _tokens(self, request: Request) -> int:
        return min(self.window - 1 + request.in_flight, request.tokens)

    def blocks(self, request: Request) -> int:
        return -(-self._tokens(request) // self.block_size) + 1

    def grows(self, request: Request) -> bool:
        return request.tokens < self.window - 1 + request.in_flight

    def pieces(self, request: Request) -> Iterator[Piece]:
        source = f"{INTERFACE}, SlidingWindowSpec.max_memory_usage_bytes"
        yield Piece("window tokens in flight", self._tokens(request) - min(self.window, request.tokens), source)
        yield Piece("block in which the window starts", self.block_size, source)


@dataclass(frozen=True)
class ChunkedLocal(Spec):
    """The chunk and the tokens in flight: ChunkedLocalAttentionSpec."""

    family: ClassVar[str] = "chunked local attention"

    chunk: int = 0

    @property
    def uniform(self) -> tuple[object, ...]:
        return self.family, self.block_size, self.chunk

    def _tokens(self, request: Request) -> int:
        return min(self.chunk + request.in_flight, request.tokens)

    def blocks(self, request: Request) -> int:
        return -(-self._tokens(request) // self.block_size)

    def grows(self, request: Request) -> bool:
        return request.tokens < self.chunk + request.in_flight

    def pieces(self, request: Request) -> Iterator[Piece]:
        source = f"{INTERFACE}, ChunkedLocalAttentionSpec.max_memory_usage_bytes"
        yield Piece("chunk tokens in flight", self._tokens(request) - min(self.chunk, request.tokens), source)
