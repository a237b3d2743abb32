"""Models as people have them, a folder a format: each becomes a model whose fields say where they came from."""

from __future__ import annotations

from kvcalc.importers.config_json import import_config
from kvcalc.importers.imported import Imported
from kvcalc.importers.sources import import_path

__all__ = ["Imported", "import_config", "import_path"]
