"""Values in words: exactly where one value is told, and short at the ticks of an axis."""

from __future__ import annotations

import unicodedata
from fractions import Fraction
from typing import TYPE_CHECKING

from kvcalc.units import SIZE_UNITS, format_size

if TYPE_CHECKING:
    from kvcalc.charts.chart import Axis, Number

_BINARY = ("TiB", "GiB", "MiB", "KiB")
_DECIMAL = ("TB", "GB", "MB", "KB")
_COUNTS = (("Gi", 1024**3), ("Mi", 1024**2), ("Ki", 1024))
_WIDE = {"W", "F"}


def exact(value: Number, axis: Axis) -> str:
    """A value with its unit, as it is said of one point: '2.50 GiB', '8,192 tokens', '3 GPUs', 'USD 12.50'."""
    if axis.unit in SIZE_UNITS:
        return f"{format_size(int(value), axis.unit)} {axis.unit}" if axis.unit != "B" else f"{int(value):,} bytes"
    if axis.unit == "USD":
        return f"USD {_decimal(value)}"
    number = f"{value:,}" if isinstance(value, int) else _decimal(value)
    return f"{number} {axis.unit.removesuffix('s') if value == 1 else axis.unit}".rstrip()


def raw(value: Number) -> str:
    """A value as a script reads it: an integer, or a fraction's decimal."""
    return str(value) if isinstance(value, int) else _plain(value)


def tick(value: Number, axis: Axis) -> str:
    """A value beside an axis, whose title has the unit: '8Ki', '40', '512 MiB' where another unit is needed."""
    if axis.unit in SIZE_UNITS:
        return _size(value, axis.unit)
    if axis.unit == "tokens" and isinstance(value, int):
        for suffix, each in _COUNTS:
            if value >= each and value % each == 0:
                return f"{value // each}{suffix}"
    return f"{value:,}" if isinstance(value, int) else _decimal(value)


def titled(axis: Axis) -> str:
    """The axis's title with its unit, unless that is one of its words: 'cache of a sequence (GiB)'."""
    return axis.title if not axis.unit or axis.unit in axis.title.split() else f"{axis.title} ({axis.unit})"


def cells(text: str) -> int:
    """How wide a text is in columns of a terminal: letters of East Asia are two wide, accents beside a letter none."""
    return sum(0 if unicodedata.combining(each) else 1 + (unicodedata.east_asian_width(each) in _WIDE) for each in text)


def fold(text: str, columns: int) -> list[str]:
    """Lines of words; a word that is longer than a line is broken."""
    lines = [""]
    for word in text.split():
        while cells(word) > columns:
            if lines[-1]:
                lines.append("")
            lines[-1], word = word[:columns], word[columns:]  # noqa: PLW2901  # the rest of the word
            lines.append("")
        joined = f"{lines[-1]} {word}".strip()
        if cells(joined) > columns:
            lines.append(word)
        else:
            lines[-1] = joined
    return [line for line in lines if line]


def _size(value: Number, unit: str) -> str:
    """In the axis's own unit where that is short, else in the one in which it is."""
    if value == 0:
        return "0"
    own = Fraction(value) / SIZE_UNITS[unit]
    if own >= Fraction(1, 10) and len(_plain(own)) <= len("1024.5"):
        return _grouped(own)
    for other in _BINARY if unit.endswith("iB") or unit == "B" else _DECIMAL:
        found = Fraction(value) / SIZE_UNITS[other]
        if found >= 1:
            return f"{_grouped(found)} {other}"
    return f"{_grouped(Fraction(value))} B"


def _grouped(value: Fraction) -> str:
    whole, _, rest = _plain(value).partition(".")
    return f"{int(whole):,}{'.' + rest if rest else ''}"


def _plain(value: Number) -> str:
    """Up to four decimals, without zeros at the end."""
    scaled = round(Fraction(value) * 10_000)
    whole, rest = divmod(scaled, 10_000)
    return f"{whole}.{rest:04}".rstrip("0").rstrip(".")


def _decimal(value: Number) -> str:
    if Fraction(value).denominator == 1:
        return f"{int(value):,}"
    hundredths = round(Fraction(value) * 100)
    return f"{hundredths // 100:,}.{hundredths % 100:02}"
