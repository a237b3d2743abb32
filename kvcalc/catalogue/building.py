"""Nouns built of a file's plain values, by the types and limits of their fields.

This takes what pydantic takes and refuses what it refuses, and needs a hundredth of the time that importing pydantic
does. It does not say what is wrong: pydantic looks at what is refused here (`validation`), and tells every mistake with
its place. A test compares the two.
"""

from __future__ import annotations

import operator
import re
import sys
from functools import cache
from types import NoneType, UnionType
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar, Union, cast, get_args, get_origin

from kvcalc.fields import PRINTABLE, Limits, Tagged
from kvcalc.noun import Noun

if TYPE_CHECKING:
    from collections.abc import Callable

    from kvcalc.catalogue.yaml_reader import Document

    Read = Callable[[Any], Any]
    Limit = tuple[Callable[[Any, Any], bool], Any]

T = TypeVar("T", bound=Noun)

_PLAIN: dict[Any, tuple[type, ...]] = {int: (int,), float: (float, int), str: (str,), bool: (bool,)}
"""The types that a value may have for a field of a type: 1 is no bool, and true is no number."""


class Refused(Exception):  # noqa: N818  # not told to anybody
    """The values do not describe the noun."""


def built(noun: type[T], values: Any) -> T:
    """The noun that plain values describe.

    Raises:
        Refused: they do not.
    """
    try:
        found: T = _reader(cast("Any", noun))(values)
    except (TypeError, KeyError, ValueError, AttributeError) as error:
        raise Refused from error
    return found


def described(noun: type[T], document: Document) -> T:
    """The noun that a file describes.

    Raises:
        KvcalcError: every mistake found, each with its place, the line and a caret.
    """
    try:
        return built(noun, document.root)
    except Refused:
        from kvcalc.catalogue.validation import validated  # pydantic, which is slow to import

        return validated(noun, document)


@cache
def _reader(hint: Any) -> Read:
    """What reads a value of a type."""
    origin, inner = get_origin(hint), get_args(hint)
    if isinstance(hint, type) and issubclass(hint, Noun):
        return _of_noun(hint)
    if hint in _PLAIN:
        return _plain(_PLAIN[hint], [])
    if origin is Annotated:
        return _annotated(inner[0], inner[1:])
    if origin is Literal:
        return lambda value: _taken(value, isinstance(value, str) and value in inner)
    if origin in {Union, UnionType} and NoneType in inner and len(inner) == 2:  # noqa: PLR2004  # it, or nothing
        read = _reader(next(each for each in inner if each is not NoneType))
        return lambda value: None if value is None else read(value)
    if origin is tuple:
        read = _reader(inner[0])
        return lambda value: tuple(map(read, _taken(value, isinstance(value, list))))
    raise AssertionError(f"a field of type {hint}")


def _of_noun(noun: type[Noun]) -> Read:
    parts, names = noun.field_parts, vars(sys.modules[noun.__module__])
    readers: dict[str, Read] = {}

    def read(values: Any) -> Noun:
        given = {}
        for name, value in _taken(values, isinstance(values, dict)).items():
            if name not in readers:  # to evaluate all of them would take as long as to build a model
                # Compiled first: Python ends by the signal where Ctrl-C comes while it evaluates text.
                source = compile(parts[name].annotation, "<annotation>", "eval")
                hint = eval(source, names)  # noqa: S307  # a type in kvcalc's own source
                readers[name] = _reader(hint)
            given[name] = readers[name](value)
        return noun(**given)

    return read


def _plain(types: tuple[type, ...], limits: list[Limit]) -> Read:
    def plain(value: Any) -> Any:
        if type(value) not in types:
            raise ValueError
        for holds, limit in limits:
            if not holds(value, limit):
                raise ValueError
        return value

    return plain


def _annotated(hint: Any, about: tuple[Any, ...]) -> Read:
    for each in about:
        if isinstance(each, Tagged):
            return _tagged(each)
    limits = [
        (_HOLDS[name], limit) for each in about if isinstance(each, Limits) for name, limit in each.limits.items()
    ]
    if hint in _PLAIN:
        return _plain(_PLAIN[hint], limits)
    read = _reader(hint)

    def limited(value: Any) -> Any:
        found = read(value)
        return _taken(found, all(holds(found, limit) for holds, limit in limits))

    return limited


def _tagged(about: Tagged) -> Read:
    tag = about.discriminator if callable(about.discriminator) else operator.itemgetter(about.discriminator)
    return lambda value: _reader(about.tags[tag(value)])(value)


_HOLDS: dict[str, Callable[[Any, Any], bool]] = {
    "ge": operator.ge,
    "gt": operator.gt,
    "le": operator.le,
    "min_length": lambda value, limit: len(value) >= limit,
    "max_length": lambda value, limit: len(value) <= limit,
    "pattern": lambda value, limit: _is_plainly_printable(value, limit) or re.fullmatch(limit, value) is not None,
}
"""Limits by their names: of a value and of what it may be."""


def _is_plainly_printable(value: str, limit: str) -> bool:
    """As nearly all words are: to compile the pattern takes longer than to read the file."""
    return limit is PRINTABLE and value.isascii() and value.isprintable()


def _taken(value: Any, right: bool) -> Any:
    if not right:
        raise ValueError
    return value
