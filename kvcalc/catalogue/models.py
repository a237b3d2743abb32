"""Finding a model: a file of the user's, a name or a hub id of the catalogue, or a repository of the Hub."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from kvcalc.access import check_path, is_closed, may_read
from kvcalc.catalogue import shipped
from kvcalc.catalogue.building import described
from kvcalc.catalogue.hub_ids import paths_with_hub_id
from kvcalc.catalogue.typed_name import is_address, typed_name
from kvcalc.errors import NEXT, KvcalcError
from kvcalc.files import is_there
from kvcalc.model.model import Model
from kvcalc.named_tuple import NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from kvcalc.importers.imported_model import ImportedModel
    from kvcalc.note import Note

GGUF_ENGINE = "llama-cpp"
"""The engine that GGUF files are for."""

HUB = "hf:"
"""How names on the Hub begin."""

MAX_SHOWN = 200
"""Characters of a path in messages."""

_YAML_SUFFIXES = {".yaml", ".yml"}
_IMPORTED_SUFFIXES = {".json", ".gguf"}
_OTHER_SUFFIXES = {".safetensors"}
_CONFIG_FILE = "config.json"
_KEYS_OF_CONFIGS = {"model_type", "architectures", "text_config"}
"""Keys that a config.json has and no model file."""


class FoundModel(NamedTuple):
    """A model and where it was found.

    Attributes:
        origin: its name in messages.
        path: of its file, where it has one.
        imported: what was read from another format; None where the file is YAML itself.
        notes: of an import, or of how its name was understood.
        engine: that its format is for; None where it is for any.
        written: YAML that differs from the file's; None where it does not.
    """

    model: Model
    origin: str
    path: Path | None
    imported: ImportedModel | None = None
    notes: tuple[Note, ...] = ()
    engine: str | None = None
    written: str | None = None

    @property
    def text(self) -> str:
        """The YAML: the file's own, or what an import writes."""
        if self.written is not None:
            return self.written
        if self.imported is not None:
            return self.imported.text
        return "" if self.path is None else self.path.read_text(encoding="utf-8-sig")


def model_names() -> list[str]:
    """Every model of the catalogue."""
    return shipped.names_in(shipped.MODELS)


def shipped_models(paths: Iterable[Path] | None = None) -> Iterator[FoundModel]:
    """Every model of the catalogue, by name; of files that are given, those."""
    each = (shipped.MODELS / f"{name}.yaml" for name in model_names()) if paths is None else paths
    return (_shipped_model(path) for path in each)


def find_model(text: str, assumed: Mapping[str, Any] | None = None) -> FoundModel:
    """A YAML file, a GGUF file, a config.json or a folder with one; a name or a hub id of the catalogue; hf:ORG/NAME.

    Args:
        text: what names it.
        assumed: keys and values that decide what an imported file does not.

    Raises:
        KvcalcError: no such file or name (the nearest names are in the message), a name that is also a path, or a file
            with mistakes.
    """
    if text.lower().startswith(HUB):
        return _hub_model(text, assumed or {})
    path = Path(text)
    named = None if _is_spelled_as_path(text, path) else _named_model(text)
    if named is not None and _holds_model(path):
        raise KvcalcError(_both(text, named.model))
    if named is None and not _is_path(text, path):
        named = _meant_model(text)
    found = named or _model_at(path, text, assumed or {})
    if assumed and found.imported is None:
        raise KvcalcError(f"--assume: decides what an imported file does not say, and {found.origin} is a model file")
    return found


def named_model(text: str) -> Model | None:
    """The catalogue's model of that name or hub id, whatever files there are here; None where it has none."""
    found = _named_model(text)
    return None if found is None else found.model


def _named_model(text: str) -> FoundModel | None:
    name = (typed_name(text).repository if is_address(text) else text).lower()
    path = shipped.path_of(shipped.MODELS, name)
    found = (path,) if path is not None else paths_with_hub_id(name)
    if len(found) > 1:
        raise KvcalcError(f"model: '{text}' is the name of several: {', '.join(each.stem for each in found)}")
    return _shipped_model(found[0]) if found else None


def _is_named(text: str) -> bool:
    try:
        return _named_model(text) is not None
    except KvcalcError:
        return False


def meant_model(text: str) -> Model | None:
    """The catalogue's model that a name is meant for, whatever the name says of its weights; None where it has none.

    Raises:
        KvcalcError: it may be several that keep different caches.
    """
    from kvcalc.catalogue.by_name import by_name  # noqa: PLC0415  # for start-up time

    found = by_name(typed_name(text))
    return None if found is None else shipped.read_model(found.path)


def _meant_model(text: str) -> FoundModel | None:
    """The catalogue's model that a name is meant for, with what it says of the weights."""
    from kvcalc.catalogue.by_name import by_name  # noqa: PLC0415  # for start-up time
    from kvcalc.catalogue.derived import derived  # noqa: PLC0415  # likewise

    found = by_name(typed_name(text))
    return None if found is None else derived(_shipped_model(found.path), found, text)


def _shipped_model(path: Path) -> FoundModel:
    return FoundModel(shipped.read_model(path), f"the catalogue's {path.name}", path)


def _model_at(path: Path, text: str, assumed: Mapping[str, Any]) -> FoundModel:
    shown = text if len(text) <= MAX_SHOWN else f"{text[: MAX_SHOWN // 2]}...{text[-MAX_SHOWN // 2 :]}"
    if not text or not _is_path(text, path):
        raise KvcalcError(*_no_such_model(text))
    check_path(path, shown)
    return _imported_model(path, shown, assumed) if _is_imported(path) else _model_file(path, shown)


def _is_path(text: str, path: Path) -> bool:
    return _is_spelled_as_path(text, path) or _holds_model(path) or _is_folder(path)


def _is_spelled_as_path(text: str, path: Path) -> bool:
    if is_address(text):
        return False
    suffixes = _YAML_SUFFIXES | _OTHER_SUFFIXES | _IMPORTED_SUFFIXES
    return path.suffix.lower() in suffixes or text.startswith((".", "~", "/"))


def _holds_model(path: Path) -> bool:
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
    from kvcalc.importers.paths import is_gguf  # noqa: PLC0415  # for start-up time

    return is_gguf(path)


def _is_folder(path: Path) -> bool:
    try:
        return may_read(path) and path.is_dir()
    except (OSError, ValueError):
        return False


def _model_file(path: Path, shown: str) -> FoundModel:
    if path.suffix.lower() in _OTHER_SUFFIXES or _is_folder(path):
        inside = next((each.name for each in sorted(path.glob("*.gguf"))), None)
        hint = "" if inside is None else f"; it has no {_CONFIG_FILE}, but {inside} can be named"
        raise KvcalcError(
            f"{shown}: only YAML model files, GGUF files, a config.json and folders that hold one can be read (kvcalc "
            f"models schema prints the format of model files, kvcalc models show llama-3-70b an example){hint}"
        )
    from kvcalc.catalogue.yaml_reader import read_yaml  # noqa: PLC0415  # for start-up time

    document = read_yaml(path, shown)
    root, is_yaml = document.root, path.suffix.lower() in _YAML_SUFFIXES
    if not is_yaml and isinstance(root, dict) and not _KEYS_OF_CONFIGS.isdisjoint(root):
        raise KvcalcError(f"{shown}: it looks like a config.json, and is read as one where its name ends in .json")
    return FoundModel(described(Model, document), shown, path)


def _imported_model(path: Path, shown: str, assumed: Mapping[str, Any]) -> FoundModel:
    from kvcalc.importers import import_path, is_gguf  # noqa: PLC0415  # for start-up time

    try:
        found = import_path(path, shown, assumed)
    except KvcalcError as error:
        from kvcalc.catalogue.next_step import with_next_step  # noqa: PLC0415  # only where something went wrong

        raise with_next_step(error, shown, lambda more: import_path(path, shown, more), assumed, _is_named) from error
    engine = GGUF_ENGINE if is_gguf(path) else None
    return FoundModel(found.model, shown, path, found, found.notes, engine)


def _hub_model(text: str, assumed: Mapping[str, Any]) -> FoundModel:
    from kvcalc.importers.hub import import_hub  # noqa: PLC0415  # for start-up time, and it needs an extra

    found = import_hub(text, assumed)
    engine = GGUF_ENGINE if ":" in text[len(HUB) :] else None
    return FoundModel(found.model, text[:MAX_SHOWN], None, found, found.notes, engine)


def _no_such_model(text: str) -> tuple[str, ...]:
    from kvcalc.catalogue.not_here import why_not_here  # noqa: PLC0415  # only where something went wrong
    from kvcalc.catalogue.suggestions import nearest_names  # noqa: PLC0415  # likewise

    typed = typed_name(text)
    shown = (typed.repository if is_address(text) else text)[:100]
    reason = why_not_here(typed)
    if reason is not None:
        return (f"model: '{shown}' {reason}",)
    nearest = nearest_names(typed.name.rpartition("/")[2])
    if nearest:
        first, *more = nearest
        return (f"model: no file, name or hub id '{shown}'; {first}", *more)
    known = f"{len(model_names())} names are in the catalogue"
    if is_closed():
        return (f"model: no file, name or hub id '{shown}'; {known}; the text of a config.json works too",)
    path = "a path to a YAML file or a config.json works too"
    elsewhere = f"'hf:{shown}' asks the Hub" if typed.organisation else path
    return (f"model: no file, name or hub id '{shown}'; {known}; {elsewhere}", f"{NEXT}kvcalc models list")


def _both(text: str, model: Model) -> str:
    other = next((each for each in (model.name, *model.hub_ids) if each.lower() != text.lower()), None)
    catalogue = "" if other is None else f", {other} the catalogue's model"
    return f"model: '{text}' is a path here and a name of the catalogue: ./{text} is the path{catalogue}"
