"""How the values of engines' options are read: what several engines write alike."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from kvcalc.errors import KvcalcError
from kvcalc.units import parse_count

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")

AUTO = "auto"
"""What the engine chooses itself, by its version, the accelerator and the model."""


def or_auto(read: Callable[[str, str], T]) -> Callable[[str, str], T | None]:
    """A value, or AUTO, which is None."""
    return lambda text, what: None if text.strip().lower() == AUTO else read(text, what)


def flag(text: str, what: str) -> bool:
    """True or false, in words or as a digit.

    Raises:
        KvcalcError: it is neither.
    """
    known = {"true": True, "1": True, "false": False, "0": False}
    value = known.get(text.strip().lower())
    if value is None:
        raise KvcalcError(f"{what}: '{text[:40]}' is not true or false")
    return value


def count(limit: int, least: int = 1) -> Callable[[str, str], int]:
    """A count from `least` to `limit`."""
    return lambda text, what: parse_count(text, what, limit, least)
