"""How wide a text is on a terminal. rich knows it of every script, and is imported for what is not Latin alone."""

from __future__ import annotations

_NARROW = str.maketrans("\u2588\u2026", "#.")
"""Letters of kvcalc's own screens that are as wide as any of ASCII."""


def cell_len(text: str) -> int:
    """The columns of a terminal that a text takes."""
    if text.isascii() or text.translate(_NARROW).isascii():
        return len(text)
    from rich.cells import cell_len as measured

    return measured(text)


def padded(text: str, width: int, *, right: bool = False) -> str:
    """The text in so many columns, at their left end or at their right."""
    space = " " * (width - cell_len(text))
    return space + text if right else text + space


def cut(text: str, width: int) -> str:
    """The text where it takes no more columns, else its beginning and an ellipsis."""
    if cell_len(text) <= width:
        return text
    if text.isascii():
        return f"{text[: width - 1].rstrip()}…"
    from rich.cells import set_cell_size

    return f"{set_cell_size(text, width - 1).rstrip()}…"
