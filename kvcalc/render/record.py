"""A result as plain data: its field names are the keys of JSON, and joined by '_' the columns of CSV."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from kvcalc.scenario import Scenario
from kvcalc.term import Product, Share, Sum

if TYPE_CHECKING:
    from collections.abc import Sequence

SCHEMA_VERSION = 1

_INNER = (Scenario, Share, Sum)

Plain = bool | int | float | str | list["Plain"] | dict[str, "Plain"] | None


def plain(value: Any) -> Plain:
    """Records become objects; products their path, bytes, formula and factors. Sums and scenarios, from which a result
    was computed, stay out.
    """
    if isinstance(value, Product):
        return {
            "path": value.path,
            "bytes": value.bytes,
            "formula": value.formula,
            "factors": [{"name": factor.name, "value": factor.value} for factor in value.factors],
        }
    if isinstance(value, tuple) and hasattr(value, "_asdict"):
        return {key: plain(item) for key, item in value._asdict().items() if not isinstance(item, _INNER)}
    if isinstance(value, (tuple, list)):
        return [plain(item) for item in value]
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items() if not isinstance(item, _INNER)}
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    raise TypeError(f"no plain form for {type(value).__name__}")


def to_json(command: str, result: Any) -> str:
    """One object, with the version of its layout and the command that made it."""
    body = plain(result)
    if not isinstance(body, dict):
        raise TypeError("a result is a record")
    return json.dumps({"schema_version": SCHEMA_VERSION, "command": command, **body}, indent=2, allow_nan=False) + "\n"


def to_csv(rows: Sequence[Any], columns: tuple[str, ...] = ()) -> str:
    """A line for each row under one header. Lists of words are joined by ';', other lists left out.

    Args:
        rows: records.
        columns: those that the header has without any row too.
    """
    import csv  # noqa: PLC0415  # for start-up time
    import io  # noqa: PLC0415  # likewise

    flat = [_flat(plain(row)) for row in rows]
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
        return {prefix: ";".join(map(str, value))} if all(not isinstance(item, dict) for item in value) else {}
    if isinstance(value, bool):
        return {prefix: str(value).lower()}
    return {prefix: value}
