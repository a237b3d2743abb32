"""Hugging Face's config.json: a reader a family, in a table by model_type."""

from __future__ import annotations

from kvcalc.importers.config_json.read import import_config

__all__ = ["import_config"]
