"""Models that a path names: YAML files, GGUF files, a config.json, and folders with one."""

from __future__ import annotations

import os
import re
import shlex
from errno import ENOENT
from typing import TYPE_CHECKING, Any

from kvcalc.access import check_path, may_read
from kvcalc.catalogue.address import is_address
from kvcalc.catalogue.building import described
from kvcalc.catalogue.found_model import GGUF_ENGINE, FoundModel
from kvcalc.errors import NEXT, KvcalcError
from kvcalc.files import is_there
from kvcalc.model.model import Model

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

MAX_SHOWN = 200
"""Characters of a path in messages."""

_YAML_SUFFIXES = {".yaml", ".yml"}
_IMPORTED_SUFFIXES = {".json", ".gguf"}
_OTHER_SUFFIXES = {".safetensors"}
_CONFIG_FILE = "config.json"
BESIDE = "name the config.json beside it"
"""Words of a refusal of a file that lies where a config.json does."""

_DRIVE = re.compile(r"[A-Za-z]:[\\/]")
"""How paths of Windows begin."""

_KEYS_OF_CONFIGS = {"model_type", "architectures", "text_config"}
"""Keys that a config.json has and no model file."""


def model_at(path: Path, text: str, assumed: Mapping[str, Any], is_model: Callable[[str], bool]) -> FoundModel:
    """The model of a path.

    Args:
        path: of a file, or of a folder with a config.json.
        text: as the user wrote it.
        assumed: keys and values that decide what the file does not.
        is_model: whether a name is one of the catalogue.

    Raises:
        KvcalcError: it cannot be read, or has mistakes.
    """
    shown = text if len(text) <= MAX_SHOWN else f"{text[: MAX_SHOWN // 2]}...{text[-MAX_SHOWN // 2 :]}"
    check_path(path, shown)
    if may_read(path) and not is_there(path) and not (path.suffix.lower() == ".gguf" and is_model(path.stem)):
        raise KvcalcError(f"{shown}: cannot be read: {os.strerror(ENOENT)}", f"{NEXT}kvcalc models list")
    return _imported_model(path, shown, assumed, is_model) if _is_imported(path) else _model_file(path, shown)


def is_path(text: str, path: Path) -> bool:
    """Whether a text is meant as a path: it is spelled as one, or something is there."""
    return is_spelled_as_path(text, path) or holds_model(path) or _is_folder(path)


def is_spelled_as_path(text: str, path: Path) -> bool:
    """Whether a text can be no name, whatever there is here."""
    if is_address(text):
        return False
    suffixes = _YAML_SUFFIXES | _OTHER_SUFFIXES | _IMPORTED_SUFFIXES
    return path.suffix.lower() in suffixes or text.startswith((".", "~", "/")) or _DRIVE.match(text) is not None


def holds_model(path: Path) -> bool:
    """Whether a file is there, or a folder with a config.json."""
    try:
        return may_read(path) and (path.is_file() or is_there(path / _CONFIG_FILE))
    except (OSError, ValueError):  # a name too long, or with a zero byte
        return False


def _is_imported(path: Path) -> bool:
    if _is_folder(path):
        return is_there(path / _CONFIG_FILE)
    if path.suffix.lower() in _IMPORTED_SUFFIXES:
        return True
    return not path.suffix and _begins_like_gguf(path)


def _begins_like_gguf(path: Path) -> bool:
    """Whether a file without a suffix is one of Ollama's blobs."""
    from kvcalc.importers.paths import is_gguf

    return is_gguf(path)


def _is_folder(path: Path) -> bool:
    try:
        return may_read(path) and path.is_dir()
    except (OSError, ValueError):
        return False


def _model_file(path: Path, shown: str) -> FoundModel:
    if path.suffix.lower() in _OTHER_SUFFIXES or _is_folder(path):
        inside = next((each.name for each in sorted(path.glob("*.gguf")) if "mmproj" not in each.name), None)
        hint = "" if inside is None else f"; it has no {_CONFIG_FILE}, but {inside} can be named"
        other, named = path.parent / _CONFIG_FILE, shown.removesuffix(path.name) + _CONFIG_FILE
        if _is_folder(path) and inside is not None:
            other, named = path / inside, f"{shown.rstrip('/')}/{inside}"
        step = f"estimate {shlex.quote(named)}" if _readable(other, named) else "models schema"
        raise KvcalcError(
            f"{shown}: only YAML model files, GGUF files, a config.json and folders that hold one can be read (kvcalc "
            f"models schema prints the format of model files, kvcalc models show llama-3-70b an example){hint}",
            f"{NEXT}kvcalc {step}",
        )
    from kvcalc.catalogue.yaml_reader import read_yaml

    document = read_yaml(path, shown)
    root, is_yaml = document.root, path.suffix.lower() in _YAML_SUFFIXES
    if not is_yaml and isinstance(root, dict) and not _KEYS_OF_CONFIGS.isdisjoint(root):
        raise KvcalcError(f"{shown}: it looks like a config.json, and is read as one where its name ends in .json")
    return FoundModel(described(Model, document), shown, path)


def _imported_model(path: Path, shown: str, assumed: Mapping[str, Any], is_model: Callable[[str], bool]) -> FoundModel:
    from kvcalc.importers import import_path, is_gguf

    try:
        found = import_path(path, shown, assumed)
    except KvcalcError as error:
        if not is_there(path):
            raise
        from kvcalc.catalogue.next_step import with_next_step  # only where something went wrong

        def attempt(more: Mapping[str, Any]) -> object:
            return import_path(path, shown, more)

        beside = _config_beside(path, shown, error)
        raise with_next_step(error, shown, attempt, assumed, is_model, beside) from error
    engine = GGUF_ENGINE if is_gguf(path) else None
    return FoundModel(found.model, shown, path, found, found.notes, engine)


def _config_beside(path: Path, shown: str, error: KvcalcError) -> str | None:
    """The config.json to name in place of a file that is refused for it, or of its folder whose weights are refused.

    None where that cannot be read, as the user would name it otherwise.
    """
    if _is_folder(path):
        other, named = path / _CONFIG_FILE, f"{shown.rstrip('/')}/{_CONFIG_FILE}"
    elif BESIDE in str(error) and path.name != _CONFIG_FILE:
        other, named = path.parent / _CONFIG_FILE, shown.removesuffix(path.name) + _CONFIG_FILE
    else:
        return None
    return named if _readable(other, named) else None


def _readable(path: Path, shown: str) -> bool:
    """Whether a model can be made of it as it is."""
    from kvcalc.importers import import_path

    try:
        import_path(path, shown, {})
    except (KvcalcError, OSError):
        return False
    return True
