"""Numbers as people give them: integers, or the spellings of the command line."""

from __future__ import annotations

from fractions import Fraction

from kvcalc.errors import KvcalcError
from kvcalc.units import check_count, parse_count, parse_fraction, parse_positive, parse_size


def count_of(value: int | str, what: str, limit: int, least: int = 1) -> int:
    """A whole number from `least` to `limit`."""
    if isinstance(value, str):
        return parse_count(value, what, limit, least)
    if isinstance(value, bool) or not isinstance(value, int):
        raise KvcalcError(f"{what}: not a whole number: {value!r}")
    return check_count(value, what, limit, least)


def size_of(value: int | str, what: str) -> int:
    """Bytes."""
    return parse_size(str(value), what)


def share_of(value: float | str | Fraction) -> Fraction:
    """A share above 0 and up to 1."""
    if isinstance(value, Fraction) and 0 < value <= 1:
        return value
    return parse_fraction(str(value), "--utilization")


def positive(value: float | str | Fraction, what: str) -> Fraction:
    """Any number above 0."""
    return value if isinstance(value, Fraction) and value > 0 else parse_positive(str(value), what)
