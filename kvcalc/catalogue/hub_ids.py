"""Finding a model that ships with kvcalc by one of its names on the Hub, such as `meta-llama/Meta-Llama-3-70B`."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

from kvcalc.catalogue import shipped

if TYPE_CHECKING:
    from pathlib import Path


def path_with_hub_id(hub_id: str) -> Path | None:
    """The file whose model has that name on the Hub, given in lower case; None where no file has it.

    Where an id was found is remembered, and that file is looked at again.
    """
    path = _remembered_path(hub_id, shipped.MODELS, shipped.stamp(shipped.MODELS))
    return path if path is not None and path.is_file() and _has(path, hub_id) else _search(hub_id)


@lru_cache(maxsize=512)
def _remembered_path(hub_id: str, _folder: Path, _stamp: tuple[int, ...]) -> Path | None:
    return _search(hub_id)


def _search(hub_id: str) -> Path | None:
    for path in sorted(shipped.MODELS.glob("*.yaml")):
        if hub_id in _lower_text(path, shipped.stamp(path)) and _has(path, hub_id):
            return path
    return None


def _has(path: Path, hub_id: str) -> bool:
    return hub_id in (each.lower() for each in shipped.read_model(path).hub_ids)


@lru_cache(maxsize=512)
def _lower_text(path: Path, _stamp: tuple[int, ...]) -> str:
    return path.read_text(encoding="utf-8").lower()
