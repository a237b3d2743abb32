"""Models as people have them: a published config.json becomes a model, each of its fields with where it came from."""

from __future__ import annotations

from kvcalc.importers.imported import Imported
from kvcalc.importers.read import import_config
from kvcalc.importers.sources import import_path

__all__ = ["Imported", "import_config", "import_path"]
