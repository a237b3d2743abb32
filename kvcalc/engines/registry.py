"""Engines by name, each of which is imported when it is asked for: a start pays for the one that it uses."""

from __future__ import annotations

from collections.abc import MutableMapping
from importlib import import_module
from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from kvcalc.engines.base import Engine


class EngineRegistry(MutableMapping[str, "type[Engine]"]):
    """A mapping of names to engines.

    Args:
        places: name -> 'module:Class', where each is.
    """

    def __init__(self, places: Mapping[str, str]) -> None:
        self._known: dict[str, str | type[Engine]] = dict(places)

    def __getitem__(self, name: str) -> type[Engine]:
        found = self._known[name]
        if isinstance(found, str):
            module, _, attribute = found.partition(":")
            found = self._known[name] = cast("type[Engine]", getattr(import_module(module), attribute))
        return found

    def __setitem__(self, name: str, engine: type[Engine]) -> None:
        self._known[name] = engine

    def __delitem__(self, name: str) -> None:
        del self._known[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._known)

    def __len__(self) -> int:
        return len(self._known)

    def __contains__(self, name: object) -> bool:
        return name in self._known
