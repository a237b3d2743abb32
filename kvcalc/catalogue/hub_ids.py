"""Finding a model that ships with kvcalc by one of its names on the Hub, with its organisation or without.

Such as `meta-llama/Meta-Llama-3-70B`, or `Meta-Llama-3-70B` where one model alone has that name.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

from kvcalc.catalogue import shipped
from kvcalc.files import stamp, stamps

if TYPE_CHECKING:
    from pathlib import Path


def paths_with_hub_id(name: str) -> tuple[Path, ...]:
    """The files whose models have that name on the Hub, given in lower case; several only without an organisation.

    Where a name was found is remembered, and those files are looked at again.
    """
    try:
        paths = _remembered_paths(name, shipped.MODELS, stamp(shipped.MODELS))
        return paths if all(path.is_file() and _has(path, name) for path in paths) else _search(name)
    except LookupError:
        return ()


@lru_cache(maxsize=512)
def _remembered_paths(name: str, _folder: Path, _stamp: tuple[int, ...]) -> tuple[Path, ...]:
    return _search(name)


def _search(name: str) -> tuple[Path, ...]:
    """The files with that name. That there is none is an error, since errors are not remembered."""
    found = tuple(path for path, text in model_texts() if name in text and _has(path, name))
    if not found:
        raise LookupError(name)
    return found


def _has(path: Path, name: str) -> bool:
    ids = [each.lower() for each in shipped.read_model(path).hub_ids]
    return name in ids or name in (each.rpartition("/")[2] for each in ids)


def model_texts() -> tuple[tuple[Path, str], ...]:
    """The files of all models, sorted, each with its text in lower case. A file is read again only where it changed."""
    return _texts(shipped.MODELS, stamps(shipped.MODELS, ".yaml"))


@lru_cache(maxsize=2)
def _texts(folder: Path, files: tuple[tuple[str, tuple[int, ...]], ...]) -> tuple[tuple[Path, str], ...]:
    paths = ((folder / name, its_stamp) for name, its_stamp in files)
    return tuple((path, _lower_text(path, its_stamp)) for path, its_stamp in paths)


@lru_cache(maxsize=1024)
def _lower_text(path: Path, _stamp: tuple[int, ...]) -> str:
    return path.read_text(encoding="utf-8").lower()
