"""Rows of a sweep as lines of CSV or JSON, some at a time."""

from __future__ import annotations

import csv
import io
import json
from typing import TYPE_CHECKING, Any

from kvcalc.render.record import cell

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence


def csv_header(columns: Sequence[str]) -> str:
    """The first line."""
    return ",".join(columns) + "\n"


def csv_lines(columns: Mapping[str, Sequence[Any]], names: Sequence[str]) -> str:
    """A line for each row, of the columns of these names."""
    text = io.StringIO()
    cells = [_mapped(columns[name], cell) for name in names]
    csv.writer(text, lineterminator="\n").writerows(zip(*cells, strict=True))
    return text.getvalue()


def json_lines(columns: Mapping[str, Sequence[Any]], names: Sequence[str]) -> str:
    """An object for each row, of the columns of these names."""
    form = "{" + ", ".join(f"{json.dumps(name)}: %s".replace("%", "%%").replace("%%s", "%s") for name in names) + "}\n"
    cells = [_mapped(columns[name], json.dumps) for name in names]
    return "".join([form % row for row in zip(*cells, strict=True)])


def _mapped(values: Sequence[Any], write: Callable[[Any], Any]) -> Sequence[Any]:
    """Values as they are written. Integers are written as they are; whatever else comes often is written once."""
    kinds = set(map(type, values))
    if kinds <= {int}:
        return values
    if kinds <= {str, bool, type(None)}:  # of which none equals one of another kind, as 1 equals True
        once = {value: write(value) for value in set(values)}
        return [once[value] for value in values]
    known: dict[tuple[type, Any], Any] = {}
    written = []
    for value in values:
        key = type(value), value if value.__hash__ else str(value)
        if key not in known:
            known[key] = write(value)
        written.append(known[key])
    return written
