"""llama.cpp: slots of one length, whose cells are reserved at the start."""

from __future__ import annotations

from kvcalc.engines.llama_cpp.engine import LlamaCpp

__all__ = ["LlamaCpp"]
