"""What results are made of: frozen dataclasses whose field names are the keys of JSON.

What a result was computed from (scenarios and trees of terms) is held beside its figures, and stays out of JSON. A noun
may stand in JSON as some of its own fields, in its place (`flattened`), and a field within the object of another one
(`under`).
"""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from dataclasses import fields
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, cast

from kvcalc.named_tuple import NamedTuple
from kvcalc.note import Note
from kvcalc.noun import Noun
from kvcalc.scenario import Scenario
from kvcalc.term import Product, Share, Sum

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from dataclasses import Field

SCHEMA_VERSION = 2

Plain = bool | int | float | str | list["Plain"] | dict[str, "Plain"] | None

INNER = (Scenario, Share, Sum)
"""What results are computed from: it stays out of JSON."""

_LONGEST = 160
"""Characters of a record in a list or at a prompt."""

_FLATTENED, _UNDER, _BESIDE, _WHOLE = "flattened", "under", "beside", "whole"

BESIDE: Mapping[str, Any] = MappingProxyType({_BESIDE: True})
"""Metadata of a field that is for screens and for Python, and stays out of JSON."""

WHOLE: Mapping[str, Any] = MappingProxyType({_WHOLE: True})
"""Metadata of a field that is a result, and stands in JSON as its command prints it."""


def flattened(*names: str) -> Mapping[str, Any]:
    """Metadata of a field whose value stands in JSON as these fields of it; each is null where the value is None."""
    return {_FLATTENED: names}


def under(name: str) -> Mapping[str, Any]:
    """Metadata of a field that stands in JSON within the object of a later field of that name."""
    return {_UNDER: name}


class Place(NamedTuple):
    """Where a field stands in JSON: as itself, unless one of these says otherwise.

    Attributes:
        flattened: the keys that stand for it.
        under: the object that it stands within.
        beside: whether it stays out.
        whole: whether it is as its command prints it.
    """

    flattened: tuple[str, ...]
    under: str | None
    beside: bool
    whole: bool


def place_of(each: Field[Any]) -> Place:
    """Where a record's field stands in JSON, by its metadata."""
    about = each.metadata
    return Place(about.get(_FLATTENED, ()), about.get(_UNDER), _BESIDE in about, _WHOLE in about)


class Record(Noun):
    """A part of a result."""

    def to_dict(self) -> dict[str, Plain]:
        """Its object in JSON."""
        return _object(self)

    def __repr__(self) -> str:
        """One line: a list is told by its length, and what lies deeper by '...'."""
        told = ", ".join(f"{name}={_brief(value)}" for name, value in contents(self).items())
        told = told if len(told) <= _LONGEST else told[:_LONGEST] + "..."
        return f"{type(self).__name__}({told})"


class Result(Record, ABC):
    """What a command answers."""

    command: ClassVar[str]
    """The command that answers this."""

    @property
    @abstractmethod
    def brief(self) -> str:
        """The answer in a line."""

    def to_dict(self) -> dict[str, Plain]:
        """The object that the command prints with --json."""
        return {"schema_version": SCHEMA_VERSION, "command": self.command, **_object(self)}

    def to_json(self) -> str:
        """What the command prints with --json."""
        return json.dumps(self.to_dict(), indent=2, allow_nan=False)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.brief}>"

    def __str__(self) -> str:
        """What the command prints, without the notes."""
        return _faces().screen(self)

    def _repr_html_(self) -> str:
        """The same as tables, for notebooks."""
        return _faces().html(self)


class _Faces(Protocol):
    """How results look."""

    def screen(self, result: Result) -> str:
        """As text."""

    def html(self, result: Result) -> str:
        """As tables of HTML."""


def _faces() -> _Faces:
    """The renderer, by its name: it builds on results, which know nothing of it until one is shown."""
    from importlib import import_module  # only where a result is shown

    return cast("_Faces", import_module("kvcalc.render.faces"))


def plain(value: Any, of_note: Callable[[Note], Plain] | None = None) -> Plain:
    """Records become objects; products their path, bytes, formula and factors; notes their code, text and data.

    Args:
        value: to be made plain.
        of_note: what a note becomes instead.
    """
    if isinstance(value, Product):
        return {
            "path": value.path,
            "bytes": value.bytes,
            "formula": value.formula,
            "factors": [{"name": factor.name, "value": factor.value} for factor in value.factors],
        }
    if isinstance(value, Note):
        return of_note(value) if of_note else {"code": value.code, "text": value.text, "data": plain(value.data)}
    if isinstance(value, (tuple, list)):
        return [plain(item, of_note) for item in value]
    if isinstance(value, dict):
        return {str(key): plain(item, of_note) for key, item in value.items() if not isinstance(item, INNER)}
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, Noun):
        return plain(contents(value), of_note)
    raise TypeError(f"no plain form for {type(value).__name__}")


def contents(record: Noun) -> dict[str, Any]:
    """What JSON has of a record: its keys, with values that are not yet plain."""
    found: dict[str, Any] = {}
    for name, part in type(record).field_parts.items():  # which takes no making of dataclasses
        value, about = getattr(record, name), part.metadata
        if isinstance(value, INNER) or _BESIDE in about:
            continue
        if _FLATTENED in about:
            found |= {each: getattr(value, each, None) for each in about[_FLATTENED]}
        elif _UNDER in about:
            found.setdefault(about[_UNDER], {})[name] = value
        elif _WHOLE in about:
            found[name] = value.to_dict()
        else:
            found[name] = found[name] | contents(value) if name in found else value
    return found


def keys(record: type[Any]) -> tuple[str, ...]:
    """The keys of such a record in JSON, and the names of the trees that it was computed from."""
    in_json = (each for each in fields(record) if _BESIDE not in each.metadata)
    return tuple(name for each in in_json for name in each.metadata.get(_FLATTENED, (each.name,)))


def _object(record: Any) -> dict[str, Plain]:
    return {name: plain(value) for name, value in contents(record).items()}


def _brief(value: Any) -> str:
    if isinstance(value, (tuple, list, dict)):
        return f"[{len(value)}]"
    return "..." if isinstance(value, Noun) else repr(value)
