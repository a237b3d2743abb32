"""MLX: mlx_lm on Apple silicon, one sequence's cache in steps of 256 tokens."""

from __future__ import annotations

from kvcalc.engines.mlx.engine import Mlx

__all__ = ["Mlx"]
