"""Numbers and words within SVG."""

from __future__ import annotations

from html import escape


def place(value: float) -> str:
    """A place with a tenth of a pixel."""
    return f"{value:.1f}".removesuffix(".0")


def xml(text: str) -> str:
    """The text within XML."""
    return escape(text)
