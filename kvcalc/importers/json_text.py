"""JSON that may be hostile, read to plain values: bounded in size and depth, no key twice."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from kvcalc.errors import KvcalcError, one_line
from kvcalc.files import read_bytes

if TYPE_CHECKING:
    from pathlib import Path

_NOT_TEXT: tuple[tuple[bytes, str], ...] = (
    (b"\x1f\x8b", "it is compressed; name the file that gunzip makes of it"),
    (b"PK\x03\x04", "it is a zip archive; name the file that unzip takes out of it"),
    (b"\xff\xfe\0\0", "it is UTF-32; save it as UTF-8, as iconv -f UTF-32 -t UTF-8 FILE does"),
    *(
        (mark, "it is UTF-16; save it as UTF-8, as iconv -f UTF-16 -t UTF-8 FILE does")
        for mark in (b"\xff\xfe", b"\xfe\xff")
    ),
)
"""How bytes begin that are no text in UTF-8, and what to do."""

_NOT_JSON: tuple[tuple[str, str], ...] = (
    ("version https://git-lfs", "a pointer of Git LFS; git lfs pull brings the file itself"),
    ("<", "a web page"),
)
"""The same of texts."""

MAX_BYTES = 4_000_000
MAX_DEPTH = 40
MAX_VALUES = 1_500_000
"""Numbers, words, lists and mappings: what a text takes when it is read does not follow from its length."""


def read_text(path: Path, shown: str, most: int = MAX_BYTES) -> str:
    """The text of a file that is not too large.

    Raises:
        KvcalcError: it is, or it cannot be read, or is no UTF-8.
    """
    return decoded(read_bytes(path, shown, most), shown, most)


def decoded(raw: bytes, shown: str, most: int = MAX_BYTES) -> str:
    """Bytes as text.

    Raises:
        KvcalcError: too many, or no UTF-8.
    """
    if len(raw) > most:
        raise KvcalcError(f"{shown}: larger than {most:,} bytes")
    if (what := next((what for begins, what in _NOT_TEXT if raw.startswith(begins)), None)) is not None:
        raise KvcalcError(f"{shown}: not UTF-8 text: {what}")
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise KvcalcError(f"{shown}: not UTF-8 text (byte {error.start})") from error


def parse_mapping(text: str, shown: str) -> dict[str, Any]:
    """The keys and values of a JSON text. Infinity and NaN are read, since published files hold them.

    Raises:
        KvcalcError: it is something else, too deep, of too many values, or has a key twice.
    """
    if sum(map(text.count, ",[{")) > MAX_VALUES:
        raise KvcalcError(f"{shown}: more than {MAX_VALUES:,} values")
    try:
        values = json.loads(text, object_pairs_hook=_unique)
    except RecursionError as error:
        raise KvcalcError(f"{shown}: nested more than {MAX_DEPTH} deep") from error
    except ValueError as error:
        raise KvcalcError(f"{shown}: not JSON: {_why_not(text, error)}") from error
    if not isinstance(values, dict):
        raise KvcalcError(f"{shown}: expected keys and values")
    level: list[Any] = [values]
    for _ in range(MAX_DEPTH):
        level = [inner for each in level if isinstance(each, (dict, list)) for inner in _inside(each)]
        if not level:
            return values
    raise KvcalcError(f"{shown}: nested more than {MAX_DEPTH} deep")


def parse_word(raw: bytes, shown: str) -> str:
    """A JSON string.

    Raises:
        KvcalcError: it is none.
    """
    try:
        return str(json.loads(raw))
    except ValueError as error:
        raise KvcalcError(f"{shown}: not JSON: {str(error)[:100]}") from error


def _why_not(text: str, error: ValueError) -> str:
    begins = text.lstrip()
    if not begins:
        return "it is empty"
    if "integer string conversion" in str(error):  # Python's words are about a limit of its own
        return "a number has thousands of digits"
    return next((what for beginning, what in _NOT_JSON if begins.startswith(beginning)), str(error)[:100])


def _inside(value: dict[str, Any] | list[Any]) -> list[Any]:
    return list(value.values()) if isinstance(value, dict) else value


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) < len(pairs):
        left = dict(pairs)
        twice = next(name for name, _ in pairs if left.pop(name, pairs) is pairs)
        raise ValueError(f"key '{one_line(twice, 40)}' is given twice")
    return values
