"""How a long verification says where it is."""

from __future__ import annotations

from collections.abc import Callable

Progress = Callable[[str, int, int], None]
"""What is being done, how much of it is done, of how much."""


def silent(what: str, done: int, total: int) -> None:
    """Say nothing."""
