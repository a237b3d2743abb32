"""Whether there may be colours, and words in them."""

from __future__ import annotations

import os


def has_colours(*, terminal: bool) -> bool:
    """Whether colours are shown: NO_COLOR, FORCE_COLOR and a dumb terminal are obeyed, in this order.

    Args:
        terminal: whether what is written goes to one.
    """
    if os.environ.get("NO_COLOR"):
        return False
    if os.environ.get("FORCE_COLOR"):
        return True
    return terminal and os.environ.get("TERM") != "dumb"


def painted(text: str, code: str) -> str:
    """The text as a terminal shows it in a style, which is given by its number in ECMA-48: '1;31' is bold and red."""
    return f"\x1b[{code}m{text}\x1b[0m" if code and text else text
