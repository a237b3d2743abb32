"""Named tuples whose classes are made in a fraction of the time.

`typing.NamedTuple` compiles every annotation and a constructor for each class at every start, which together takes
longer than an estimate does. Here annotations stay text, and a constructor is compiled where values have been given by
name or left out a few times. Modules that an estimate imports take it from here; elsewhere typing's does.
"""

from __future__ import annotations

from collections import _tuplegetter  # type: ignore[attr-defined]  # read in half the time of a property
from typing import TYPE_CHECKING, Any

_FEW = 12
"""Times: to compile a constructor takes longer than to do without it so often."""

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import NamedTuple as NamedTuple  # noqa: PLC0414  # type checkers know that one
else:

    class _NamedTuples(type):
        """Makes the classes."""

        def __new__(cls, name: str, bases: tuple[type, ...], body: dict[str, Any]) -> type:
            made = super().__new__(cls, name, bases, {"__slots__": (), **body})
            if made.__annotations__:
                made._fields = made.__match_args__ = tuple(made.__annotations__)
                made._not_compiled_for = _FEW
                made._field_defaults = {each: body[each] for each in made._fields if each in body}
                for place, each in enumerate(made._fields):
                    setattr(made, each, _tuplegetter(place, None))
            return made

    class NamedTuple(tuple, metaclass=_NamedTuples):
        """A subclass names its fields, with their types and defaults, as with typing's."""

        __slots__ = ()

        def __new__(cls, *values: Any, **given: Any) -> Any:
            if not given and len(values) == len(cls._fields):
                return tuple.__new__(cls, values)
            if cls._not_compiled_for:
                cls._not_compiled_for -= 1
                if (ordered := _ordered(cls, values, given)) is not None:
                    return tuple.__new__(cls, ordered)
            cls.__new__ = staticmethod(_compiled(cls))
            return cls.__new__(cls, *values, **given)

        @classmethod
        def _make(cls, values: Iterable[Any]) -> Any:
            return cls(*values)

        def _replace(self, /, **given: Any) -> Any:
            same = tuple.__new__(type(self), map(given.pop, self._fields, self))
            if given:
                raise TypeError(f"{type(self).__name__} has no field {', '.join(given)}")
            return same

        def _asdict(self) -> dict[str, Any]:
            return dict(zip(self._fields, self, strict=True))

        def __repr__(self) -> str:
            told = ", ".join(f"{name}={value!r}" for name, value in self._asdict().items())
            return f"{type(self).__name__}({told})"

        def __getnewargs__(self) -> tuple[Any, ...]:
            return tuple(self)


def _ordered(kind: Any, values: tuple[Any, ...], given: dict[str, Any]) -> list[Any] | None:
    """All values of one; None of what the class cannot be made of, which its constructor tells."""
    fields = kind._fields
    named = {**kind._field_defaults, **dict(zip(fields, values, strict=False)), **given}
    once = len(values) <= len(fields) and given.keys().isdisjoint(fields[: len(values)])
    return [named[each] for each in fields] if once and named.keys() == set(fields) else None


def _compiled(kind: Any) -> Callable[..., Any]:
    """A constructor of this class alone."""
    names = "".join(f"{each}, " for each in kind._fields)
    # Compiled first: Python ends by the signal where Ctrl-C comes while it evaluates text, whatever catches it.
    source = compile(f"lambda _cls, {names}: _new(_cls, ({names}))", "<named tuple>", "eval")
    make: Any = eval(source, {"_new": tuple.__new__})  # noqa: S307  # names alone
    make.__name__, make.__qualname__ = "__new__", f"{kind.__qualname__}.__new__"
    make.__defaults__ = tuple(kind._field_defaults.values())
    return make  # type: ignore[no-any-return]  # made by eval
