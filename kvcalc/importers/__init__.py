"""Models in other formats, a folder for each: an import gives a model whose every field says where it comes from."""

from __future__ import annotations

from kvcalc.importers.config_json import import_config
from kvcalc.importers.imported_model import ImportedModel
from kvcalc.importers.paths import import_path, is_gguf

__all__ = ["ImportedModel", "import_config", "import_path", "is_gguf"]
