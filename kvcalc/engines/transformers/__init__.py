"""transformers: the cache classes of its `generate`, on whole layers."""

from __future__ import annotations

from kvcalc.engines.transformers.engine import Transformers

__all__ = ["Transformers"]
