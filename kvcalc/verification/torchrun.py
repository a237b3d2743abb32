"""What torchrun tells the processes that it starts (https://docs.pytorch.org/docs/stable/elastic/run.html)."""

from __future__ import annotations

import os


def processes_started() -> int:
    """How many processes torchrun has started, of which this is one; 1 without torchrun."""
    return _number("WORLD_SIZE", 1)


def processes_here() -> int:
    """How many of them are on this machine."""
    return _number("LOCAL_WORLD_SIZE", 1)


def place_here() -> int:
    """Which of those this one is: the GPU that it takes."""
    return _number("LOCAL_RANK", 0)


def is_first() -> bool:
    """Whether this process reports for all."""
    return _number("RANK", 0) == 0


def _number(name: str, otherwise: int) -> int:
    if "TORCHELASTIC_RUN_ID" not in os.environ:  # other launchers set these names too, and mean other things
        return otherwise
    text = os.environ.get(name, "")
    return int(text) if text.isdecimal() else otherwise
