"""Named tuples whose classes are made in a fraction of the time.

`typing.NamedTuple` compiles every annotation and a constructor for each class at every start, which together takes
longer than an estimate does. Here annotations stay text, and one constructor serves all. Modules that an estimate
imports take it from here; elsewhere typing's does.
"""

from __future__ import annotations

from operator import itemgetter
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import NamedTuple as NamedTuple  # noqa: PLC0414  # type checkers know that one
else:

    class _NamedTuples(type):
        """Makes the classes."""

        def __new__(cls, name: str, bases: tuple[type, ...], body: dict[str, Any]) -> type:
            made = super().__new__(cls, name, bases, {"__slots__": (), **body})
            if made.__annotations__:
                made._fields = made.__match_args__ = tuple(made.__annotations__)
                made._field_defaults = {each: body[each] for each in made._fields if each in body}
                for place, each in enumerate(made._fields):
                    setattr(made, each, property(itemgetter(place)))
            return made

    class NamedTuple(tuple, metaclass=_NamedTuples):
        """A subclass names its fields, with their types and defaults, as with typing's."""

        __slots__ = ()

        def __new__(cls, *values: Any, **given: Any) -> Any:
            if given or len(values) != len(cls._fields):
                values = _all_values(cls, values, given)
            return tuple.__new__(cls, values)

        @classmethod
        def _make(cls, values: Iterable[Any]) -> Any:
            return cls(*values)

        def _replace(self, /, **given: Any) -> Any:
            return type(self)(**{**self._asdict(), **given})

        def _asdict(self) -> dict[str, Any]:
            return dict(zip(self._fields, self, strict=True))

        def __repr__(self) -> str:
            told = ", ".join(f"{name}={value!r}" for name, value in self._asdict().items())
            return f"{type(self).__name__}({told})"

        def __getnewargs__(self) -> tuple[Any, ...]:
            return tuple(self)


def _all_values(kind: Any, values: tuple[Any, ...], given: Mapping[str, Any]) -> list[Any]:
    """What is given by place and by name, and defaults for the rest, in the order of the fields."""
    names = kind._fields
    by_place = dict(zip(names, values, strict=False))
    held = {**kind._field_defaults, **by_place, **given}
    if len(values) > len(names) or by_place.keys() & given.keys() or held.keys() != set(names):
        raise TypeError(f"{kind.__name__}() takes each of {', '.join(names)} once")
    return [held[name] for name in names]
