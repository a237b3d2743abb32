"""GGUF files, llama.cpp's format: the header has the model's shape and what every tensor takes."""

from __future__ import annotations

from kvcalc.importers.gguf.read import import_gguf

__all__ = ["import_gguf"]
