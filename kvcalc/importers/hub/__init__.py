"""Models on the Hugging Face Hub: config.json and the headers of safetensors files, never the weights themselves."""

from __future__ import annotations

from kvcalc.importers.hub.read import PREFIX, import_hub

__all__ = ["PREFIX", "import_hub"]
