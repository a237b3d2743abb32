"""Where models come from: a GGUF file, a config.json or a folder with one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kvcalc.access import may_read
from kvcalc.errors import KvcalcError
from kvcalc.importers.config_json.quantisation import folder_quantisation
from kvcalc.importers.config_json.read import import_config
from kvcalc.importers.json_text import read_text
from kvcalc.note import note

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from kvcalc.importers.imported_model import ImportedModel
    from kvcalc.importers.safetensors import Headers

CONFIG_FILE, GGUF_SUFFIX, GGUF_MAGIC = "config.json", ".gguf", b"GGUF"


def is_gguf(path: Path) -> bool:
    """Whether a file is called a GGUF file, or begins like one, as Ollama's blobs do."""
    if path.suffix.lower() == GGUF_SUFFIX:
        return True
    try:
        if path.suffix or not may_read(path) or not path.is_file():
            return False
        with path.open("rb") as file:
            return file.read(len(GGUF_MAGIC)) == GGUF_MAGIC
    except (OSError, ValueError):
        return False


def import_path(path: Path, shown: str, assumed: Mapping[str, Any]) -> ImportedModel:
    """The model of a GGUF file, a config.json, or the folder around one, whose *.safetensors files hold the weights.

    A config.json reads what its folder reads, except files that do not belong together: those it leaves out, with a
    note.

    Args:
        path: of the file or the folder.
        shown: its name in messages.
        assumed: keys and values that decide what the file does not.

    Raises:
        KvcalcError: it cannot be read, or is not understood.
    """
    if is_gguf(path):
        from kvcalc.importers.gguf import import_gguf  # for start-up time, as below

        return import_gguf(path, shown, assumed)
    if path.is_dir():
        shown = shown.rstrip("/")
        return _import_folder(path, shown, f"{shown}/{CONFIG_FILE}", assumed)
    if path.name != CONFIG_FILE:
        return import_config(read_text(path, shown), shown, path.stem, assumed)
    folder = shown.removesuffix(CONFIG_FILE).rstrip("/") or "."
    try:
        return _import_folder(path.parent, folder, shown, assumed)
    except KvcalcError as error:
        unread = note("files-not-read", f"its *.safetensors files are not read: {error}", reason=str(error))
        alone = _import_beside(path, folder, shown, assumed, None)
        return alone._replace(notes=(*alone.notes, unread))


def _import_folder(folder: Path, shown: str, shown_config: str, assumed: Mapping[str, Any]) -> ImportedModel:
    from kvcalc.importers.safetensors import folder_headers

    return _import_beside(folder / CONFIG_FILE, shown, shown_config, assumed, folder_headers(folder, shown))


def _import_beside(
    path: Path, shown_folder: str, shown: str, assumed: Mapping[str, Any], headers: Headers | None
) -> ImportedModel:
    name, quantised = path.resolve().parent.name, folder_quantisation(path.parent, shown_folder)
    return import_config(read_text(path, shown), shown, name, assumed, headers, quantised)
