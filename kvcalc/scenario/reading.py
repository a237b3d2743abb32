"""Values of options as people give them: numbers, texts of the command line, or lists of NAME=VALUE.

A reader takes a value and the option's name, for the message, and gives what a scenario is made of. All of them raise
KvcalcError where the value cannot be.
"""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kvcalc.errors import KvcalcError
from kvcalc.gpu import Gpu
from kvcalc.units import MAX_CONTEXT, check_count, parse_count, parse_fraction, parse_positive, parse_size

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    Reader = Callable[[Any, str], Any]

MAX_CONTEXT_WORD = "max"
"""Stands for the model's own limit."""


def as_given(value: Any, what: str) -> Any:  # noqa: ARG001  # as every reader is called
    """The value itself."""
    return value


def word(value: str, what: str) -> str:
    """A name, which others look up."""
    if not isinstance(value, str):
        raise KvcalcError(f"{what}: not a name: {value!r:.60}")
    return value


def named_model(value: Any, what: str) -> Any:
    """A model, or what one is found by."""
    if not isinstance(value, Path) and not hasattr(value, "layers"):
        word(value, what)
    return value


def words(value: str | Sequence[str], what: str) -> str | Sequence[str]:
    """A name, or several."""
    several: list[Any] = list(value) if isinstance(value, list | tuple) else [value]
    for each in several:
        word(each, what)
    return value


def names(value: Any, what: str) -> tuple[str, ...]:
    """Several names, as 'A,B' or one by one."""
    several = value.split(",") if isinstance(value, str) else list(value)
    return tuple(dict.fromkeys(word(each, what).strip() for each in several))


def accelerator(value: Gpu | str, what: str) -> Gpu | str:
    """A name or an accelerator."""
    return value if isinstance(value, Gpu) else word(value, what)


def accelerators(value: Any, what: str) -> Any:
    """A name, an accelerator, or several of both."""
    for each in value if isinstance(value, list | tuple) else [value]:
        accelerator(each, what)
    return value


def count(limit: int, least: int = 1) -> Reader:
    """Whole numbers from `least` to `limit`."""

    def read(value: int | str, what: str) -> int:
        if isinstance(value, str):
            return parse_count(value, what, limit, least)
        if isinstance(value, bool) or not isinstance(value, int):
            raise KvcalcError(f"{what}: not a whole number: {value!r}")
        return check_count(value, what, limit, least)

    return read


def counts(limit: int) -> Reader:
    """One or several of them, as 4 or 4,8, ascending."""
    each = count(limit)

    def read(value: int | str | Sequence[int], what: str) -> tuple[int, ...]:
        if isinstance(value, str):
            return tuple(sorted({each(text, what) for text in value.split(",")}))
        several = value if isinstance(value, list | tuple) else [value]
        if not several:
            raise KvcalcError(f"{what}: names no size")
        return tuple(sorted({each(number, what) for number in several}))

    return read


_tokens = count(MAX_CONTEXT)


def context(value: int | str, what: str) -> int | str:
    """Tokens, or 'max'."""
    tokens: int | str = value if value == MAX_CONTEXT_WORD else _tokens(value, what)
    return tokens


def generated(value: int | str, what: str) -> int:
    """Tokens that are generated: none, or a count."""
    tokens: int = 0 if value in (0, "0") and value is not False else _tokens(value, what)
    return tokens


_FEW_BYTES = 10_000


def size(value: int | str, what: str) -> int:
    """Bytes. A few of them, typed without a unit, are gigabytes whose unit was forgotten: they are refused."""
    found = parse_size(str(value), what)
    if isinstance(value, str) and 1 < found < _FEW_BYTES and value.strip().isdigit():
        raise KvcalcError(f"{what}: '{value}' has no unit: write {value.strip()}GB, or {value.strip()}B for bytes")
    return found


def share(value: float | str | Fraction, what: str) -> Fraction:
    """A share above 0 and up to 1."""
    return value if isinstance(value, Fraction) and 0 < value <= 1 else parse_fraction(str(value), what)


def positive(value: float | str | Fraction, what: str) -> Fraction:
    """Any number above 0."""
    return value if isinstance(value, Fraction) and value > 0 else parse_positive(str(value), what)


def pairs(form: str) -> Reader:
    """Mappings: as they are, or 'NAME=VALUE' several times over.

    Args:
        form: what a text looks like, with an example.
    """

    def read(value: Any, what: str) -> dict[str, Any]:
        return dict(value) if hasattr(value, "keys") else _pairs(value, what, form)

    return read


def _pairs(texts: list[str], what: str, form: str) -> dict[str, str]:
    values: dict[str, str] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not (equals and name.strip() and value.strip() and name.isprintable()):
            raise KvcalcError(f"{what}: '{text[:60]}' is not {form}")
        if name in values:
            raise KvcalcError(f"{what}: '{name[:60]}' is given twice")
        values[name] = value
    return values


def sizes(form: str) -> Reader:
    """Bytes by name, in the order given."""
    named = pairs(form)

    def read(value: Any, what: str) -> tuple[tuple[str, int], ...]:
        return tuple((name, size(each, f"{what} {name}")) for name, each in named(value, what).items())

    return read


def assumptions(form: str) -> Reader:
    """Keys of a file and their values: of texts, each as JSON where it is some, else as a word."""
    named = pairs(form)

    def read(value: Any, what: str) -> dict[str, Any]:
        found: dict[str, Any] = named(value, what)
        if hasattr(value, "keys"):
            return found
        return {name.strip(): _json_or_word(text.strip()) for name, text in found.items()}

    return read


def _json_or_word(text: str) -> Any:
    from json import loads

    try:
        return loads(text)
    except (ValueError, RecursionError):
        return text


def engine_options(form: str) -> Reader:
    """Names and values as engines write them on a command line: dashes for underscores, true and false."""
    named = pairs(form)

    def read(value: Any, what: str) -> dict[str, str]:
        written: dict[str, str] = {}
        for name, each in named(value, what).items():
            option = name.strip().replace("_", "-")
            if option in written:
                raise KvcalcError(f"{what}: '{option[:60]}' is given twice")
            written[option] = str(each).lower() if isinstance(each, bool) else str(each)
        return written

    return read
