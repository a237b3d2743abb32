"""A bar of blocks: parts side by side where a line holds them with their names, else one under the other."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvcalc.render.view import Bar, BarPart, Span

if TYPE_CHECKING:
    from collections.abc import Iterator

BLOCK = "█"
_GAP = "   "
_LEAST_BLOCKS = 20
"""Fewer of them on one line show no lengths."""


def bar_lines(bar: Bar, width: int) -> Iterator[tuple[Span, ...]]:
    """The bar as lines of spans, none wider than `width` as long as its names fit."""
    words = sum(len(part.name) + len(part.figure) + 2 for part in bar.parts) + len(_GAP) * (len(bar.parts) - 1)
    blocks = width - 2 - words
    if blocks >= _LEAST_BLOCKS:
        spans = [Span("  ")]
        for index, (part, length) in enumerate(zip(bar.parts, _lengths(bar, blocks), strict=True)):
            spans += [Span(_GAP)] if index else []
            spans += _part(part, part.name, length)
        yield tuple(spans)
        return
    names = max(len(part.name) for part in bar.parts)
    figures = max(len(part.figure) for part in bar.parts)
    for part, length in zip(bar.parts, _lengths(bar, max(1, width - names - figures - 4)), strict=True):
        yield (Span("  "), *_part(part, part.name.ljust(names), length))


def _part(part: BarPart, name: str, length: int) -> tuple[Span, ...]:
    blocks = Span(f"{BLOCK * length} ", part.tone) if length else Span("")
    return Span(f"{name} "), blocks, Span(part.figure)


def _lengths(bar: Bar, blocks: int) -> list[int]:
    """Blocks of each part, in proportion, and at least one of what is there."""
    whole = sum(part.size for part in bar.parts) or 1
    lengths = [max(part.size > 0, part.size * blocks // whole) for part in bar.parts]
    while sum(lengths) > blocks:
        lengths[lengths.index(max(lengths))] -= 1
    return lengths
