"""Finding a model or an accelerator: a file of the user's, or a name of the catalogue that ships with kvcalc."""

from __future__ import annotations

import re
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from kvcalc.errors import KvcalcError, did_you_mean
from kvcalc.files import is_there
from kvcalc.gpu import Gpu
from kvcalc.mechanisms import KINDS
from kvcalc.model.layers import LayerGroup, Repeat
from kvcalc.model.model import Model, WeightPart
from kvcalc.yaml_reader import Document, read_yaml

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

T = TypeVar("T")

_HERE = Path(__file__).resolve().parent
CONFIGS = _HERE / "configs" if (_HERE / "configs").is_dir() else _HERE.parent / "configs"
"""Inside the package where it is installed, beside it in a checkout."""

_MODELS, _GPUS = CONFIGS / "models", CONFIGS / "gpus"
CATALOGUE = "the catalogue's"
"""How messages call the place of a shipped file."""

MAX_SHOWN = 200
"""Characters of a path in messages."""

_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,99}")
_YAML_SUFFIXES = {".yaml", ".yml"}
_IMPORTED_SUFFIXES = {".json", ".gguf"}
_OTHER_SUFFIXES = {".safetensors"}
_CONFIG_FILE = "config.json"
_OF_CONFIGS = {"model_type", "architectures", "text_config"}
"""Keys that no model file has."""

HUB = "hf:"
"""How names on the Hub begin."""


class FoundModel(NamedTuple):
    """A model and where it was found.

    Attributes:
        origin: how messages call the place.
        path: of its file, where it has one.
        written: the YAML that an import wrote; None where the file is YAML itself.
        notes: what an import says of it.
    """

    model: Model
    origin: str
    path: Path | None
    written: str | None = None
    notes: tuple[str, ...] = ()

    @property
    def text(self) -> str:
        """The YAML: as it stands in the file, or as the import wrote it."""
        if self.written is not None or self.path is None:
            return self.written or ""
        return self.path.read_text(encoding="utf-8-sig")


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
    found = named or _model_at(path, text, assumed or {})
    if assumed and found.written is None:
        raise KvcalcError(f"--assume: decides what an imported file does not say, and {found.origin} is a model file")
    return found


def _named_model(text: str) -> FoundModel | None:
    name = text.lower()
    shipped = _MODELS / f"{name}.yaml"
    if _NAME.fullmatch(name) and shipped.is_file():
        return _shipped_model(shipped)
    return _with_hub_id(name) if "/" in text else None


def _with_hub_id(name: str) -> FoundModel | None:
    """The model of a hub id. Where it was found is remembered, and looked at again."""
    for path in (_path_with_hub_id(name, _MODELS, _stamp(_MODELS)), None):
        found = _search_hub_id(name) if path is None or not path.is_file() else _shipped_model(path)
        if found is None or name in _hub_ids(found):
            return found
    return None


@lru_cache(maxsize=512)
def _path_with_hub_id(name: str, _folder: Path, _stamp: tuple[int, ...]) -> Path | None:
    found = _search_hub_id(name)
    return None if found is None else found.path


def _search_hub_id(name: str) -> FoundModel | None:
    for candidate in sorted(_MODELS.glob("*.yaml")):
        if name in _lower_text(candidate, _stamp(candidate)):
            found = _shipped_model(candidate)
            if name in _hub_ids(found):
                return found
    return None


def _hub_ids(found: FoundModel) -> list[str]:
    return [hub_id.lower() for hub_id in found.model.hub_ids]


@lru_cache(maxsize=512)
def _lower_text(path: Path, _stamp: tuple[int, ...]) -> str:
    return path.read_text(encoding="utf-8").lower()


def _model_at(path: Path, text: str, assumed: Mapping[str, Any]) -> FoundModel:
    shown = text if len(text) <= MAX_SHOWN else f"{text[: MAX_SHOWN // 2]}...{text[-MAX_SHOWN // 2 :]}"
    if not text or not (_is_spelled_as_path(text, path) or _holds_model(path) or _is_folder(path)):
        raise KvcalcError(_no_such_model(text))
    return _imported_model(path, shown, assumed) if _is_imported(path) else _model_file(path, shown)


def _is_spelled_as_path(text: str, path: Path) -> bool:
    suffixes = _YAML_SUFFIXES | _OTHER_SUFFIXES | _IMPORTED_SUFFIXES
    return path.suffix.lower() in suffixes or text.startswith((".", "~", "/"))


def _holds_model(path: Path) -> bool:
    try:
        return path.is_file() or is_there(path / _CONFIG_FILE)
    except (OSError, ValueError):  # a name too long, or with a zero byte
        return False


def _is_imported(path: Path) -> bool:
    if _is_folder(path):
        return is_there(path / _CONFIG_FILE)
    return path.suffix.lower() in _IMPORTED_SUFFIXES


def _is_folder(path: Path) -> bool:
    try:
        return path.is_dir()
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
    document = read_yaml(path, shown)
    root, is_yaml = document.root, path.suffix.lower() in _YAML_SUFFIXES
    if not is_yaml and isinstance(root, dict) and not _OF_CONFIGS.isdisjoint(root):
        raise KvcalcError(f"{shown}: it looks like a config.json, and is read as one where its name ends in .json")
    return FoundModel(_validated(Model, document), shown, path)


def _imported_model(path: Path, shown: str, assumed: Mapping[str, Any]) -> FoundModel:
    from kvcalc.importers import import_path  # noqa: PLC0415  # for start-up time

    found = import_path(path, shown, assumed)
    return FoundModel(found.model, shown, path, found.text, found.notes)


def _hub_model(text: str, assumed: Mapping[str, Any]) -> FoundModel:
    from kvcalc.importers.hub import import_hub  # noqa: PLC0415  # for start-up time, and it needs an extra

    found = import_hub(text, assumed)
    return FoundModel(found.model, text[:MAX_SHOWN], None, found.text, found.notes)


def _validated(noun: type[T], document: Document) -> T:
    from kvcalc.validation import validated  # noqa: PLC0415  # pydantic takes longer than all the rest together

    return validated(noun, document)


def _shipped_model(path: Path) -> FoundModel:
    """A file of the catalogue, read again only where it has changed."""
    return _read_model(path, _stamp(path))


def _shipped_gpu(path: Path) -> Gpu:
    """Likewise."""
    return _read_gpu(path, _stamp(path))


def _stamp(path: Path) -> tuple[int, ...]:
    """What differs where a file was changed or replaced."""
    found = path.stat()
    return found.st_mtime_ns, found.st_size, found.st_ino


@lru_cache(maxsize=512)
def _read_model(path: Path, _stamp: tuple[int, ...]) -> FoundModel:
    """Of the catalogue, which the tests have validated: built without pydantic, unless something is wrong."""
    document = read_yaml(path)
    try:
        model = _built_model(document.root)
    except (TypeError, KeyError, ValueError, AttributeError):
        model = _validated(Model, document)
    return FoundModel(model, f"{CATALOGUE} {path.name}", path)


@lru_cache(maxsize=512)
def _read_gpu(path: Path, _stamp: tuple[int, ...]) -> Gpu:
    document = read_yaml(path)
    try:
        return Gpu(**_with_tuples(document.root))
    except (TypeError, KeyError, ValueError, AttributeError):
        return _validated(Gpu, document)


def _built_model(values: Any) -> Model:
    parts = tuple(_built_layers(part) for part in values["layers"])
    weights = tuple(WeightPart(**part) for part in values.get("weights", ()))
    return Model(**{**_with_tuples(values), "layers": parts, "weights": weights})


def _built_layers(values: Any) -> LayerGroup | Repeat:
    if "repeat" in values:
        return Repeat(repeat=values["repeat"], of=tuple(_built_layers(part) for part in values["of"]))
    given = values["attention"]
    built = [KINDS[each["kind"]](**each) for each in (given if isinstance(given, list) else [given])]
    return LayerGroup(**{**values, "attention": tuple(built) if isinstance(given, list) else built[0]})


def _with_tuples(values: Any) -> dict[str, Any]:
    return {key: tuple(value) if isinstance(value, list) else value for key, value in values.items()}


def _no_such_model(text: str) -> str:
    shown = text[:100]
    names = model_names()
    organisation, _, last = text.lower().rpartition("/")
    hint = did_you_mean(last if organisation else text, names)
    else_where = f"'hf:{shown}' asks the Hub" if organisation else "a path to a YAML file or a config.json works too"
    hint = hint or f"; {len(names)} names are in 'kvcalc models list'; {else_where}"
    return f"model: no file, name or hub id '{shown}'{hint}"


def _both(text: str, model: Model) -> str:
    other = next((each for each in (model.name, *model.hub_ids) if each.lower() != text.lower()), None)
    catalogue = "" if other is None else f", {other} the catalogue's model"
    return f"model: '{text}' is a path here and a name of the catalogue: ./{text} is the path{catalogue}"


def model_names() -> list[str]:
    """Every model of the catalogue."""
    return sorted(path.stem for path in _MODELS.glob("*.yaml"))


def shipped_models() -> Iterator[FoundModel]:
    """Every model of the catalogue, by name."""
    return (_shipped_model(_MODELS / f"{name}.yaml") for name in model_names())


def find_gpu(text: str) -> Gpu:
    """An accelerator of the catalogue, by name or alias.

    Raises:
        KvcalcError: no such name; the nearest are in the message.
    """
    name = text.lower()
    path = _GPUS / f"{name}.yaml"
    if _NAME.fullmatch(name) and path.is_file():
        return _shipped_gpu(path)
    known = _paths_of_aliases(_GPUS, _stamp(_GPUS)).get(name)
    if known is not None and known.is_file() and name in (gpu := _shipped_gpu(known)).aliases:
        return gpu
    gpus = list(shipped_gpus())
    for gpu in gpus:
        if name in gpu.aliases:
            return gpu
    names = [name for gpu in gpus for name in (gpu.name, *gpu.aliases)]
    cards = [gpu.name for gpu in gpus if gpu.name.startswith(f"{name}-")]
    if len(cards) > 1:
        raise KvcalcError(f"gpu: '{text[:100]}' may be {', '.join(cards[:-1])} or {cards[-1]}; name one of them")
    hint = did_you_mean(text, names) or "; 'kvcalc gpus list' shows them all"
    raise KvcalcError(f"gpu: no accelerator '{text[:100]}'{hint}")


@lru_cache(maxsize=4)
def _paths_of_aliases(_folder: Path, _stamp: tuple[int, ...]) -> dict[str, Path]:
    """Where each alias was found; whether it is still there is for the caller to see."""
    return {alias: _GPUS / f"{gpu.name}.yaml" for gpu in shipped_gpus() for alias in gpu.aliases}


def gpu_names() -> list[str]:
    """Every accelerator of the catalogue."""
    return sorted(path.stem for path in _GPUS.glob("*.yaml"))


def shipped_gpus() -> Iterator[Gpu]:
    """Every accelerator of the catalogue, by name."""
    return (_shipped_gpu(_GPUS / f"{name}.yaml") for name in gpu_names())
