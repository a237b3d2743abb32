"""Collecting garbage while something is verified: of what the run itself makes, not of all that torch has imported."""

from __future__ import annotations

import gc
from contextlib import contextmanager
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from collections.abc import Iterator


def load_lazily() -> None:
    """Let torch import what its first operation on the meta device does: eight hundred modules."""
    row = torch.empty(1, 1, device="meta")
    torch.nn.functional.linear(row, row)


@contextmanager
def only_new_garbage() -> Iterator[None]:
    """Let collections pass over the objects that are there now, after one that has found the garbage among them.

    Every rank's memory is measured between two collections, and torch's modules alone are a quarter of a million
    objects. Where the process has frozen what it has already, that is left as it is.
    """
    load_lazily()
    if gc.get_freeze_count():
        yield
        return
    gc.collect()
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()
