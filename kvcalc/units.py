"""Sizes and counts at the edge: what a person types becomes an integer, and back. Inside there are only bytes."""

from __future__ import annotations

import math
import re
from decimal import ROUND_HALF_UP, Decimal, localcontext
from fractions import Fraction

from kvcalc.errors import KvcalcError

KIB = 1024
MIB = 1024**2
GIB = 1024**3

SIZE_UNITS: dict[str, int] = {
    "B": 1,
    "KB": 1000,
    "MB": 1000**2,
    "GB": 1000**3,
    "TB": 1000**4,
    "KiB": KIB,
    "MiB": MIB,
    "GiB": GIB,
    "TiB": 1024**4,
}
_COUNT_SUFFIXES = {"": 1, "Ki": KIB, "Mi": MIB, "Gi": GIB}

MAX_CONTEXT = 10**12
MAX_BATCH = 10**9
MAX_SIZE = 10**18
"""An exabyte: beyond any machine, and far from where a number could cost time."""

_NUMBER = re.compile(
    r"(?P<number>(?:[0-9]+(?:_[0-9]+)*(?:\.[0-9]+)?|\.[0-9]+)(?:[eE][+-]?[0-9]{1,3})?) ?(?P<suffix>[A-Za-z]*)"
)
_MAX_CHARACTERS = 60


def parse_size(text: str, what: str) -> int:
    """'80GB', '1.5GiB', '123' -> bytes. A suffix that could mean two things ('80G') is refused.

    Args:
        text: what the user typed.
        what: the option or field, for the message.

    Raises:
        KvcalcError: not a size, negative, or beyond 10^18. A fraction of a byte is rounded away.
    """
    number, suffix = _split(text, what, "must not be negative")
    if suffix and suffix not in SIZE_UNITS:
        decimal_unit, binary_unit = f"{suffix[:1].upper()}B", f"{suffix[:1].upper()}iB"
        if suffix.upper().rstrip("B") in {"K", "M", "G", "T"}:
            readings = " or ".join(
                f"{_digits(text)}{unit} ({_rounded(number * SIZE_UNITS[unit]):,} bytes)"
                for unit in (decimal_unit, binary_unit)
            )
            raise KvcalcError(f"{what}: '{text}' could mean two sizes: write {readings}")
        raise KvcalcError(f"{what}: unknown unit '{suffix}' in '{text}'; units are {', '.join(SIZE_UNITS)}")
    size = _rounded(number * SIZE_UNITS[suffix]) if suffix else _whole(number, text, what)
    if size > MAX_SIZE:
        raise KvcalcError(f"{what}: '{text}' is beyond the limit of {MAX_SIZE:,} bytes")
    return size


def parse_count(text: str, what: str, limit: int, least: int = 1) -> int:
    """'8192', '131_072', '128Ki', '1e6' -> a whole number from `least` to `limit`.

    Raises:
        KvcalcError: not a whole positive number, beyond the limit, or '128k', which could be 128000 or 131072.
    """
    if "," in text or ".." in text:
        raise KvcalcError(
            f"{what}: '{text[:_MAX_CHARACTERS]}' is several values, and only one is accepted here; estimate, compare, "
            "capacity and sweep take lists and ranges (in Python kvcalc.ladder and kvcalc.sweep)"
        )
    number, suffix = _split(text, what, f"must be at least {least}")
    if suffix not in _COUNT_SUFFIXES:
        if suffix.lower() in {"k", "m", "g"}:
            binary = suffix.upper() + "i"
            decimal_power = {"K": 1000, "M": 1000**2, "G": 1000**3}[suffix.upper()]
            thousand = _whole(number * decimal_power, text, what)
            raise AmbiguousCountError(
                what,
                text,
                decimal=str(thousand),
                binary=f"{_digits(text)}{binary}",
                binary_value=_whole(number * _COUNT_SUFFIXES[binary], text, what),
            )
        raise KvcalcError(f"{what}: '{text}' is not a whole number (for example 8192, 131_072, 128Ki or 1e6)")
    count = _whole(number * _COUNT_SUFFIXES[suffix], text, what)
    return check_count(count, what, limit, least)


class AmbiguousCountError(KvcalcError):
    """'128k': thousands or 1024s. Carries both readings, so that the caller can print the command mended."""

    def __init__(self, what: str, text: str, *, decimal: str, binary: str, binary_value: int | str) -> None:
        self.text, self.decimal, self.binary, self.binary_value = text, decimal, binary, binary_value
        super().__init__(f"{what}: '{text}' could mean two numbers: write {decimal}, or {binary} for {binary_value}")


def check_count(count: int, what: str, limit: int, least: int = 1) -> int:
    """The count itself, if it lies from `least` to `limit`."""
    if count < least:
        raise KvcalcError(f"{what}: must be at least {least}, not {count}")
    if count > limit:
        raise KvcalcError(f"{what}: {_short(count)} is beyond the limit of {limit:,}")
    return count


def parse_fraction(text: str, what: str) -> Fraction:
    """'0.92' -> 23/25 exactly; more than 0 and at most 1."""
    try:
        number, suffix = _split(text, what, "must be above 0")
    except KvcalcError:
        number, suffix = Fraction(0), "?"
    if suffix or not 0 < number <= 1:
        raise KvcalcError(f"{what}: '{text}' is not a number above 0 and up to 1 (for example 0.92)")
    return number


def parse_positive(text: str, what: str) -> Fraction:
    """'2.5' -> 5/2 exactly; any number above 0 and up to 10^18."""
    number, suffix = _split(text, what, "must be above 0")
    if suffix or not 0 < number <= MAX_SIZE:
        raise KvcalcError(f"{what}: '{text[:_MAX_CHARACTERS]}' is not a number above 0 (for example 2.5)")
    return number


def format_size(size: int, unit: str, decimals: int = 2) -> str:
    """Bytes in a unit, rounded half up, with thousands separated: 1342177280 -> '1.25' (GiB).

    What is not nothing never looks like nothing: '<0.01'.
    """
    if unit == "B":
        return f"{size:,}"
    with localcontext() as context:
        context.prec = 60
        least = Decimal(1).scaleb(-decimals)
        value = (Decimal(size) / SIZE_UNITS[unit]).quantize(least, rounding=ROUND_HALF_UP)
        return f"<{least}" if size > 0 and not value else f"{value:,}"


def with_unit(text: str, unit: str) -> str:
    """A sentence whose bytes are told in a unit too: '1,342,177,280 bytes' -> '1,342,177,280 bytes (1.25 GiB)'.

    Bytes too few for the unit stay alone, and one is '1 byte'. Published figures in GiB are turned into the unit.
    """
    text = re.sub(_ONE, "1 byte", text)
    if unit != "GiB":
        text = re.sub(_PUBLISHED, lambda match: _in_unit(_rounded(Fraction(match[1]) * GIB), unit), text)
    return (
        text
        if unit == "B"
        else re.sub(_BYTES, lambda match: _beside(match[0], int(match[1].replace(",", "")), unit), text)
    )


_BYTES = r"(?<![\d.,])([0-9]{1,3}(?:,[0-9]{3})*) bytes\b(?! ?[()])"
_ONE = r"(?<![\d.,])1 bytes\b"
_PUBLISHED = r"(?<![\d.,])([0-9]+\.[0-9]+) GiB\b"


def _in_unit(size: int, unit: str) -> str:
    return f"{format_size(size, unit)} {unit}"


def _beside(bytes_in_words: str, size: int, unit: str) -> str:
    shown = _in_unit(size, unit)
    return bytes_in_words if not size or shown.startswith("<") else f"{bytes_in_words} ({shown})"


def _split(text: str, what: str, least: str) -> tuple[Fraction, str]:
    stripped = text.strip()
    match = _NUMBER.fullmatch(stripped) if len(stripped) <= _MAX_CHARACTERS else None
    if match is None:
        shown = stripped if len(stripped) <= _MAX_CHARACTERS else stripped[:_MAX_CHARACTERS] + "..."
        hint = least if re.match(r"-[0-9]", stripped) else "not a number"
        raise KvcalcError(f"{what}: {hint}: '{shown}'")
    number, suffix = match["number"], match["suffix"]
    return Fraction(number.replace("_", "")), suffix


def _digits(text: str) -> str:
    return text.strip().rstrip("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ ")


def _rounded(value: Fraction) -> int:
    return math.floor(value + Fraction(1, 2))


def _whole(value: Fraction, text: str, what: str) -> int:
    if value.denominator != 1:
        raise KvcalcError(f"{what}: '{text}' is not a whole number")
    return value.numerator


def _short(count: int) -> str:
    """Large numbers as a power: a message must not carry a thousand digits."""
    return f"{count:,}" if count < 10**21 else f"about 10^{len(str(count)) - 1}"
