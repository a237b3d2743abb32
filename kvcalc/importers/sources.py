"""Where models come from: a GGUF file, a config.json or a folder with one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kvcalc.importers.config_json.checkpoint import QUANTISED_FILE, quantised_beside
from kvcalc.importers.config_json.read import import_config
from kvcalc.importers.json_text import read_text

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from kvcalc.importers.imported import Imported

CONFIG_FILE, GGUF_SUFFIX = "config.json", ".gguf"


def import_path(path: Path, shown: str, assumed: Mapping[str, Any]) -> Imported:
    """The model of a GGUF file, a config.json, or the folder around one, whose *.safetensors tell of the weights.

    Args:
        path: of the file or the folder.
        shown: how messages call it.
        assumed: keys and values that decide what the file does not.

    Raises:
        KvcalcError: it cannot be read, or is not understood.
    """
    if path.suffix.lower() == GGUF_SUFFIX:
        from kvcalc.importers.gguf import import_gguf  # noqa: PLC0415  # for start-up time, as below

        return import_gguf(path, shown, assumed)
    headers = quantised = None
    if path.is_dir():
        from kvcalc.importers.safetensors import folder_headers  # noqa: PLC0415

        headers = folder_headers(path, shown.rstrip("/"))
        if (path / QUANTISED_FILE).is_file():
            beside = f"{shown.rstrip('/')}/{QUANTISED_FILE}"
            quantised = quantised_beside(read_text(path / QUANTISED_FILE, beside), beside)
        path, shown = path / CONFIG_FILE, f"{shown.rstrip('/')}/{CONFIG_FILE}"
    name = path.stem if path.name != CONFIG_FILE else path.resolve().parent.name
    return import_config(read_text(path, shown), shown, name, assumed, headers, quantised)
