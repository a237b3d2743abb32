"""Which tokens a layer attends to where it is not all of them, and how many of them it keeps."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

from kvcalc.noun import Noun, noun


@noun
class Span(Noun, ABC):
    """A stretch of the context.

    Attributes:
        tokens: how long it is at most.
    """

    name: ClassVar[str]
    """As model files and formulas call it."""

    tokens: int

    def kept(self, context: int) -> int:
        """Tokens that the layer keeps of each sequence: at its fullest, so that one more token is never less."""
        return min(context, self.tokens)

    @abstractmethod
    def first(self, context: int) -> int:
        """The earliest position that the last of `context` tokens attends to."""

    def __str__(self) -> str:
        return f"{self.name} {self.tokens:,}"


@noun
class Window(Span):
    """The last tokens, its own included (sliding-window attention)."""

    name: ClassVar[str] = "window"

    def first(self, context: int) -> int:
        return max(0, context - self.tokens)


@noun
class Chunk(Span):
    """The earlier tokens of its own chunk: the context is cut every `tokens` tokens (chunked local attention)."""

    name: ClassVar[str] = "chunk"

    def first(self, context: int) -> int:
        return max(0, context - 1) // self.tokens * self.tokens
