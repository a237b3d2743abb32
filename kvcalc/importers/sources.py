"""Where models come from: a config.json or a folder with one. What is not one of these is not imported."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kvcalc.importers.json_text import read_text
from kvcalc.importers.read import import_config
from kvcalc.importers.safetensors import folder_headers

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from kvcalc.importers.imported import Imported

CONFIG_FILE = "config.json"


def import_path(path: Path, shown: str, assumed: Mapping[str, Any]) -> Imported:
    """The model of a config.json, or of the folder around it, whose *.safetensors then say what the weights take.

    Args:
        path: of the file or the folder.
        shown: how messages call it.
        assumed: keys and values that decide what the file does not.

    Raises:
        KvcalcError: it cannot be read, or is not understood.
    """
    headers = None
    if path.is_dir():
        headers = folder_headers(path, shown.rstrip("/"))
        path, shown = path / CONFIG_FILE, f"{shown.rstrip('/')}/{CONFIG_FILE}"
    name = path.stem if path.name != CONFIG_FILE else path.resolve().parent.name
    return import_config(read_text(path, shown), shown, name, assumed, headers)
