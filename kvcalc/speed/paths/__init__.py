"""The fast paths, each once. Which one is best is measured, never written here."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvcalc.speed.paths.heads import HEAD_PATHS
from kvcalc.speed.paths.kernels import KERNEL_PATHS
from kvcalc.speed.paths.latents import LATENT_PATHS, NAIVE
from kvcalc.speed.paths.path import Attend, Facts, Kept, Path, Query

if TYPE_CHECKING:
    from kvcalc.speed.mechanism import Measured

PATHS: tuple[Path, ...] = (*KERNEL_PATHS, *HEAD_PATHS, *LATENT_PATHS)
"""In the order in which they are tried: those that may take long stand last."""

__all__ = ["NAIVE", "PATHS", "Attend", "Facts", "Kept", "Path", "Query", "paths_of"]


def paths_of(mechanism: Measured) -> tuple[Path, ...]:
    """Those that serve a mechanism."""
    return tuple(path for path in PATHS if mechanism.kind in path.kinds)
