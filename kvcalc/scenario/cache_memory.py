"""What goes with memory that is given for the cache alone: no accelerator, and nothing that stands beside the cache."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvcalc.errors import KvcalcError
from kvcalc.note import Note, note

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_NO_PART = (
    "gpu",
    "gpu_memory",
    "utilization",
    "node_size",
    "allow_pp",
    "weights",
    "weight_dtype",
    "parameters",
    "temporary",
    "overhead",
    "reserve",
    "lora",
    "max_loras",
    "lora_modules",
    "draft_weights",
)

_ACCELERATOR = frozenset({"gpu", "gpu_memory"})
"""Those that an engine's own defaults may depend on."""


def beside_cache_memory(given: Iterable[str], *, plain: bool) -> Iterator[Note]:
    """A note on the options, among those given, that play no part where --cache-memory is given too.

    Args:
        given: the options' names.
        plain: whether the engine is one of plain formulas, where the accelerator plays no part.

    Raises:
        KvcalcError: one that needs what --cache-memory leaves out.
    """
    names = {*given}
    if "gpus" in names:
        raise KvcalcError(
            "--gpus: chooses a deployment by the memory of its GPUs, and --cache-memory leaves that out; give --tp N"
        )
    unused = [f"--{name.replace('_', '-')}" for name in _NO_PART if name in (names if plain else names - _ACCELERATOR)]
    if unused:
        plays = "plays" if len(unused) == 1 else "play"
        yield note(
            "unused-option",
            f"--cache-memory is all that a rank has for the cache: {' and '.join(unused)} {plays} no part",
            options=tuple(unused),
        )
