"""What layers ask of vLLM's planner that drop tokens: windows, chunks and rings."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from kvcalc.engines.vllm.cache.specs import INTERFACE, Piece, Request, Spec
from kvcalc.noun import noun

if TYPE_CHECKING:
    from collections.abc import Iterator


@noun
class SlidingWindow(Spec):
    """The window, tokens before it, the tokens in flight, and a block more: SlidingWindowSpec.

    Attributes:
        window: tokens that are attended to.
        retained: tokens before it that several layers which draft read again (extra_retained_tokens).
    """

    family: ClassVar[str] = "sliding window"

    window: int = 0
    retained: int = 0

    @property
    def uniform(self) -> tuple[object, ...]:
        return self.family, self.block_size, self.window

    def _held(self, request: Request) -> int:
        return min(self.window - 1 + self.retained + request.in_flight, request.tokens)

    def blocks(self, request: Request) -> int:
        return -(-self._held(request) // self.block_size) + 1

    def grows(self, request: Request) -> bool:
        return request.tokens < self.window - 1 + self.retained + request.in_flight

    def pieces(self, request: Request) -> Iterator[Piece]:
        source = f"{INTERFACE}, SlidingWindowSpec.max_memory_usage_bytes"
        beside = self._held(request) - min(self.window, request.tokens)
        again = min(self.retained, beside)
        yield self._tokens("window tokens in flight", beside - again, source)
        if again:
            yield self._tokens("tokens before a window that several drafting layers read again", again, source)
        yield self._tokens("block in which the window starts", self.block_size, source)


@noun
class ChunkedLocal(Spec):
    """The chunk and the tokens in flight: ChunkedLocalAttentionSpec."""

    family: ClassVar[str] = "chunked local attention"

    chunk: int = 0

    @property
    def uniform(self) -> tuple[object, ...]:
        return self.family, self.block_size, self.chunk

    def _held(self, request: Request) -> int:
        return min(self.chunk + request.in_flight, request.tokens)

    def blocks(self, request: Request) -> int:
        return -(-self._held(request) // self.block_size)

    def grows(self, request: Request) -> bool:
        return request.tokens < self.chunk + request.in_flight

    def pieces(self, request: Request) -> Iterator[Piece]:
        source = f"{INTERFACE}, ChunkedLocalAttentionSpec.max_memory_usage_bytes"
        in_flight = self._held(request) - min(self.chunk, request.tokens)
        yield self._tokens("chunk tokens in flight", in_flight, source)


@noun
class Replayed(SlidingWindow):
    """A window that is computed again where a prefix is found: SlidingWindowMLASpec with bounded_replay."""

    family: ClassVar[str] = SlidingWindow.family

    @property
    def prefix_cacheable(self) -> bool:
        return False


@noun
class CircularBuffer(Spec):
    """The last tokens' rows in one block, for as long as a request lives: CircularBufferSpec."""

    family: ClassVar[str] = "circular buffer"

    @property
    def prefix_cacheable(self) -> bool:
        return False

    def blocks(self, request: Request) -> int:  # noqa: ARG002  # of Spec
        return 1

    def tokens_of_block(self, request: Request) -> int:
        return request.tokens

    def grows(self, request: Request) -> bool:  # noqa: ARG002  # of Spec
        return False

    def pieces(self, request: Request) -> Iterator[Piece]:
        held = min(request.tokens, *(each.tensor.last.value for each in self.rows if each.tensor.last))
        yield self._tokens(
            "places of a ring that do not wait", self.block_size - held, f"{INTERFACE}, CircularBufferSpec"
        )
