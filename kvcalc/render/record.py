"""A result as CSV: its field names, joined by '_', are the columns."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kvcalc.errors import one_line
from kvcalc.record import plain

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kvcalc.record import Plain


_FORMULA = ("=", "+", "-", "@", "\uff1d", "\uff0b", "\uff0d", "\uff20")
"""What a formula begins with in a spreadsheet; the last four are wide letters (OWASP, CSV Injection)."""


def to_csv(rows: Sequence[Any], columns: tuple[str, ...] = ()) -> str:
    """A line for each row under one header. Lists of words or notes are joined by ';', other lists left out.

    Args:
        rows: records.
        columns: those that the header has without any row too.
    """
    import csv
    import io

    flat = [_flat(plain(row, str)) for row in rows]
    header = list(dict.fromkeys([*columns, *(column for row in flat for column in row)]))
    text = io.StringIO()
    writer = csv.DictWriter(text, header, lineterminator="\n", restval="")
    writer.writeheader()
    writer.writerows(flat)
    return text.getvalue()


def _flat(value: Plain, prefix: str = "") -> dict[str, Plain]:
    if isinstance(value, dict):
        columns: dict[str, Plain] = {}
        for key, item in value.items():
            columns |= _flat(item, f"{prefix}_{key}" if prefix else key)
        return columns
    if isinstance(value, list):
        return {prefix: _text(";".join(map(str, value)))} if all(not isinstance(item, dict) for item in value) else {}
    if isinstance(value, bool):
        return {prefix: str(value).lower()}
    return {prefix: _text(value) if isinstance(value, str) else value}


def cell(value: Any) -> Any:
    """A single value as a cell of CSV: nothing of None, true or false, a word that no spreadsheet computes."""
    if isinstance(value, bool):
        return str(value).lower()
    return value if value is None or isinstance(value, int | float) else _text(str(value))


def _text(value: str) -> str:
    """A word on one line that no spreadsheet computes, wherever it is from. Numbers keep their sign."""
    line = one_line(value)
    return f"'{line}" if line.startswith(_FORMULA) else line
