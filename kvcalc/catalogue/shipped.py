"""The models and accelerators that ship with kvcalc: where their files are, and reading each of them once."""

from __future__ import annotations

import re
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from kvcalc.access import own_files
from kvcalc.catalogue.building import Refused, built, described
from kvcalc.catalogue.compact import compact_values
from kvcalc.files import stamp
from kvcalc.gpu import Gpu
from kvcalc.model.model import Model
from kvcalc.noun import Noun

if TYPE_CHECKING:
    from kvcalc.catalogue.yaml_reader import Document

T = TypeVar("T", bound=Noun)

_PACKAGE = Path(__file__).resolve().parent.parent
CONFIGS = _PACKAGE / "configs" if (_PACKAGE / "configs").is_dir() else _PACKAGE.parent / "configs"
"""Inside the package where it is installed, beside it in a checkout."""

MODELS, GPUS = CONFIGS / "models", CONFIGS / "gpus"

TRACES = CONFIGS / "traces"
"""Requests that are no one's, for a try."""

_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,99}")


def read_shipped(path: Path) -> Document:
    """A file that ships, with the places of its values."""
    from kvcalc.catalogue.yaml_reader import read_yaml

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
    found: Model = _read(Model, str(path), stamp(path))
    return found


def read_gpu(path: Path) -> Gpu:
    """The accelerator of a file that ships. A file is read again only where it has changed."""
    found: Gpu = _read(Gpu, str(path), stamp(path))
    return found


@lru_cache(maxsize=1024)
def _read(noun: type[T], path: str, _stamp: tuple[int, ...]) -> T:
    values = compact_values(Path(path))
    if values is not None:
        with suppress(Refused):
            return built(noun, values)
    return described(noun, read_shipped(Path(path)))
