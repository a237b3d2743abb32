"""What values are made of: frozen dataclasses.

Those that `dataclass` makes have methods that are compiled anew for each class at every start, which takes longer than
an estimate does. Here the methods are in the base, and `dataclass` only collects the fields, where something asks for
them (`dataclasses.fields`, `replace`).
"""

from __future__ import annotations

from dataclasses import MISSING, Field, FrozenInstanceError, dataclass, field
from threading import RLock
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar, dataclass_transform, overload

from kvcalc.named_tuple import NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

T = TypeVar("T", bound="Noun")

_HASH = "its hash"
"""Where a noun keeps its own: those with many parts are asked for it again and again."""
_OF_THE_CLASS = ("ClassVar", "typing.ClassVar")
"""What begins an annotation that is of no field."""
_NONE: Mapping[str, Any] = MappingProxyType({})
_MAKING = RLock()
"""Held while a dataclass is made: `dataclass` takes from the class what it has read."""


class _Part(NamedTuple):
    """A field of a noun, as the noun's own methods know it."""

    annotation: str
    default: Any
    maker: Any
    compared: bool
    kw_only: bool
    metadata: Mapping[str, Any]


class _DataclassFields:
    """`__dataclass_fields__` of a noun until something asks for it."""

    def __get__(self, _: object, kind: type[Noun]) -> dict[str, Field[Any]]:
        made: Any = next(each for each in kind.__mro__ if "field_parts" in vars(each))
        with _MAKING:
            if vars(made)["__dataclass_fields__"] is self:
                dataclass(init=False, repr=False, eq=False, kw_only=made.field_kw_only)(made)
        found: dict[str, Field[Any]] = vars(made)["__dataclass_fields__"]
        return found


class Noun:
    """A frozen dataclass, whose methods are here. A subclass is decorated with `noun`.

    What it works out of its fields (`functools.cached_property`) is kept beside them: comparisons, copies and pickles
    are without it.
    """

    __dataclass_fields__: ClassVar[dict[str, Field[Any]]]
    __match_args__: ClassVar[tuple[str, ...]]
    field_parts: ClassVar[dict[str, _Part]]
    field_kw_only: ClassVar[bool]
    field_names: ClassVar[frozenset[str]]
    field_defaults: ClassVar[dict[str, Any]]
    field_makers: ClassVar[dict[str, Any]]
    compared: ClassVar[tuple[str, ...]]

    def __init__(self, *values: Any, **given: Any) -> None:
        kind, held = type(self), self.__dict__
        held.update(kind.field_defaults)
        if values:
            places = kind.__match_args__
            if len(values) > len(places) or (given and not given.keys().isdisjoint(places[: len(values)])):
                raise TypeError(f"{kind.__name__}() takes each of {', '.join(places)} once")
            held.update(zip(places, values, strict=False))
        held.update(given)
        for name, make in kind.field_makers.items():
            if name not in held:
                held[name] = make()
        if held.keys() != kind.field_names:
            raise TypeError(_mismatch(kind, held))
        self.__post_init__()

    def __post_init__(self) -> None:
        """Refuses values that do not go together."""

    def __setattr__(self, name: str, value: object) -> None:
        raise FrozenInstanceError(f"cannot assign to field {name!r}")

    def __delattr__(self, name: str) -> None:
        raise FrozenInstanceError(f"cannot delete field {name!r}")

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name in self.field_names}

    def __eq__(self, other: object) -> bool:
        if type(other) is not type(self):
            return NotImplemented
        mine, others = self.__dict__, other.__dict__
        for name in self.compared:
            own, its = mine[name], others[name]
            if own is not its and own != its:
                return False
        return True

    def __hash__(self) -> int:
        held = self.__dict__
        found: int | None = held.get(_HASH)
        if found is None:
            compared = [held[name] for name in self.compared if type(held[name]) is not dict]
            found = held[_HASH] = hash((type(self), *compared))
        return found

    def __repr__(self) -> str:
        told = ", ".join(f"{name}={getattr(self, name)!r}" for name in self.field_parts)
        return f"{type(self).__name__}({told})"


def every_field(value: object) -> str:
    """A value as text that two values share only if they are equal, whatever their own reprs leave out."""
    if isinstance(value, Noun):
        told = ", ".join(f"{name}={every_field(getattr(value, name))}" for name in value.field_parts)
        return f"{type(value).__name__}({told})"
    if isinstance(value, (tuple, list)):
        return f"({', '.join(map(every_field, value))})"
    if isinstance(value, dict):
        return every_field(tuple(value.items()))
    return repr(value)


@overload
def noun(kind: type[T], /) -> type[T]: ...
@overload
def noun(*, kw_only: bool) -> Callable[[type[T]], type[T]]: ...
@dataclass_transform(frozen_default=True, field_specifiers=(field,))
def noun(kind: type[T] | None = None, /, *, kw_only: bool = False) -> type[T] | Callable[[type[T]], type[T]]:
    """Makes a dataclass of a Noun, without what `dataclass` would compile for it.

    Args:
        kind: the class.
        kw_only: whether its values are given by name alone.
    """

    def made(kind: type[T]) -> type[T]:
        parts: dict[str, _Part] = {}
        for base in reversed(kind.__mro__[1:]):
            parts |= vars(base).get("field_parts", {})
        parts |= {
            name: _part(annotation, getattr(kind, name, MISSING), kw_only=kw_only)
            for name, annotation in kind.__annotations__.items()
            if not str(annotation).startswith(_OF_THE_CLASS)
        }
        kind.field_parts, kind.field_kw_only, kind.field_names = parts, kw_only, frozenset(parts)
        kind.field_defaults = {name: part.default for name, part in parts.items() if part.default is not MISSING}
        kind.field_makers = {name: part.maker for name, part in parts.items() if part.maker is not MISSING}
        kind.compared = tuple(name for name, part in parts.items() if part.compared)
        kind.__dataclass_fields__ = _DataclassFields()  # type: ignore[assignment]  # which becomes them
        kind.__match_args__ = tuple(name for name, part in parts.items() if not part.kw_only)  # type: ignore[misc]  # of this class
        return kind

    return made if kind is None else made(kind)


def _part(annotation: str, value: Any, *, kw_only: bool) -> _Part:
    """A field, of what the class gives it."""
    if isinstance(value, Field):
        return _Part(annotation, value.default, value.default_factory, value.compare, kw_only, value.metadata)
    return _Part(annotation, value, MISSING, True, kw_only, _NONE)  # by name would be slower


def _mismatch(kind: type[Noun], held: Mapping[str, Any]) -> str:
    missing = [name for name in kind.field_parts if name not in held]
    if missing:
        return f"{kind.__name__}() lacks {', '.join(missing)}"
    return f"{kind.__name__}() has no field {', '.join(sorted(held.keys() - kind.field_names))}"
