"""The models and accelerators that ship with kvcalc: where their files are, and reading each of them once."""

from __future__ import annotations

import re
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from kvcalc.access import own_files
from kvcalc.catalogue.compact import compact_values
from kvcalc.files import stamp
from kvcalc.gpu import Gpu
from kvcalc.mechanisms import KINDS
from kvcalc.model.layers import LayerGroup, Repeat
from kvcalc.model.model import Model, WeightPart

if TYPE_CHECKING:
    from kvcalc.catalogue.yaml_reader import Document

T = TypeVar("T")

_PACKAGE = Path(__file__).resolve().parent.parent
CONFIGS = _PACKAGE / "configs" if (_PACKAGE / "configs").is_dir() else _PACKAGE.parent / "configs"
"""Inside the package where it is installed, beside it in a checkout."""

MODELS, GPUS = CONFIGS / "models", CONFIGS / "gpus"

TRACES = CONFIGS / "traces"
"""Requests that are no one's, for a try."""

_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,99}")
_MISTAKES = (TypeError, KeyError, ValueError, AttributeError)
"""What building a noun raises where a file is wrong."""


def read_shipped(path: Path) -> Document:
    """A file that ships, with the places of its values."""
    from kvcalc.catalogue.yaml_reader import read_yaml  # noqa: PLC0415  # for start-up time

    with own_files():
        return read_yaml(path)


def names_in(folder: Path) -> list[str]:
    """The names of all files of a folder that ships, sorted."""
    return sorted(path.stem for path in folder.glob("*.yaml"))


def path_of(folder: Path, name: str) -> Path | None:
    """The file of a name, in a folder that ships; None where there is none."""
    path = folder / f"{name}.yaml"
    return path if _NAME.fullmatch(name) and path.is_file() else None


def trace_names() -> list[str]:
    """The names of the traces that ship, sorted."""
    return sorted(path.stem for path in TRACES.iterdir())


def trace_path(name: str) -> Path | None:
    """The file of a trace that ships; None where there is none of that name."""
    return next((path for path in TRACES.iterdir() if path.stem == name), None)


def read_model(path: Path) -> Model:
    """The model of a file that ships. A file is read again only where it has changed."""
    return _read_model(path, stamp(path))


def read_gpu(path: Path) -> Gpu:
    """The accelerator of a file that ships. A file is read again only where it has changed."""
    return _read_gpu(path, stamp(path))


@lru_cache(maxsize=512)
def _read_model(path: Path, _stamp: tuple[int, ...]) -> Model:
    """Built without pydantic, which is slow to import: the tests have validated what ships."""
    try:
        return _built_model(_values(path))
    except _MISTAKES:
        return _validated(Model, path)


@lru_cache(maxsize=512)
def _read_gpu(path: Path, _stamp: tuple[int, ...]) -> Gpu:
    try:
        return Gpu(**_with_tuples(_values(path)))
    except _MISTAKES:
        return _validated(Gpu, path)


def _values(path: Path) -> Any:
    """What the file says: of its line in the compact form, or else of itself."""
    found = compact_values(path)
    if found is not None:
        return found
    return read_shipped(path).root


def _validated(noun: type[T], path: Path) -> T:
    from kvcalc.catalogue.validation import validated  # noqa: PLC0415  # for start-up time

    return validated(noun, read_shipped(path))


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
