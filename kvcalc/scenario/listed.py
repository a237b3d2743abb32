"""Scenarios that a file lists, one a line: CSV or JSON Lines whose columns are named as options.

A cell that is empty, or null, is an option that is not given. In a cell of CSV `;` parts what a repeatable option is
given several times, and a switch is true or false. Cells are parted by what the header has most of: commas, tabs, or
semicolons, as spreadsheets of some countries write them.
"""

from __future__ import annotations

import csv
import json
import sys
from contextlib import contextmanager
from io import TextIOWrapper
from itertools import chain, islice
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, NamedTuple

from kvcalc.errors import CannotRunError, KvcalcError, nearest_or_all
from kvcalc.files import open_file, why_no_lines
from kvcalc.scenario.option import options_of
from kvcalc.scenario.options import MODEL, ScenarioOptions

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from kvcalc.scenario.option import Option

LONGEST_LINE = 65_536
"""Characters."""
MOST_SKIPPED = 2**24
"""Characters of a line that is too long which are passed over."""

_DELIMITERS = ",\t;"
_LOOKED_AT = 8
"""Bytes by which it is told that a file is no text."""

_SWITCH = {"true": True, "false": False, "yes": True, "no": False, "1": True, "0": False}


class Line(NamedTuple):
    """A line of the file.

    Attributes:
        options: by keyword, as they are given.
        error: what is wrong with the line itself; None where it can be read.
    """

    options: Mapping[str, Any]
    error: str | None = None


class Listed(NamedTuple):
    """A file of scenarios.

    Attributes:
        columns: options that it gives, in its order.
        lines: each when it is asked for.
    """

    columns: tuple[str, ...]
    lines: Iterator[Line]


@contextmanager
def open_listed(file: str | Path) -> Iterator[Listed]:
    """The scenarios of a file, or of standard input where it is '-'.

    Raises:
        KvcalcError: the file cannot be read or is empty, or it has a column that is no option.
    """
    if str(file) == "-":
        _refuse_no_lines(getattr(sys.stdin, "buffer", None), "--from -")
        yield read_listed(sys.stdin)
        return
    opened = open_file(Path(file), f"--from: {file}")
    with TextIOWrapper(opened, encoding="utf-8-sig", errors="replace", newline="") as stream:
        _refuse_no_lines(opened, f"--from: {file}")
        yield read_listed(stream)


def _refuse_no_lines(source: Any, where: str) -> None:
    """Refuses what begins like no list, where that can be looked at without reading it."""
    begins = source.peek(_LOOKED_AT)[:_LOOKED_AT] if hasattr(source, "peek") else b""
    if (why := why_no_lines(begins, "kvcalc sweep --from -")) is not None:
        raise KvcalcError(f"{where}: {why}")


def read_listed(stream: IO[str]) -> Listed:
    """The scenarios of a stream.

    Raises:
        KvcalcError: it is empty, or has a column that is no option.
    """
    lines = _lines(stream)
    first = next(lines, None)
    if first is None:
        raise KvcalcError("--from: the file is empty; its first line names columns, or is an object of JSON")
    if first.lstrip().startswith("{"):
        return _json_lines(first, lines)
    return _csv(first, lines)


def _lines(stream: IO[str]) -> Iterator[str]:
    """Those that are not blank; of one that is too long, as much as shows that it is.

    Raises:
        KvcalcError: a line does not end.
    """
    try:
        while line := stream.readline(LONGEST_LINE + 1):
            if len(line) > LONGEST_LINE and not line.endswith("\n"):
                _skip_the_rest(stream)
            if line.strip("\ufeff \t\r\n"):
                yield line.lstrip("\ufeff")
    except (OSError, ValueError) as error:
        raise CannotRunError(f"--from: cannot be read: {error}") from error


def _skip_the_rest(stream: IO[str]) -> None:
    for _ in range(MOST_SKIPPED // LONGEST_LINE):
        rest = stream.readline(LONGEST_LINE)
        if not rest or rest.endswith("\n"):
            return
    raise KvcalcError(f"--from: a line of more than {MOST_SKIPPED:,} characters: no list of scenarios")


def _csv(header: str, lines: Iterable[str]) -> Listed:
    delimiter = max(_DELIMITERS, key=header.count)
    names = _cells(header, delimiter)
    columns = tuple(_keyword(name) for name in names)
    for column in columns:
        if columns.count(column) > 1:
            raise KvcalcError(f"--from: two columns are of option {_label(column)}")
    return Listed(columns, (_csv_line(line, columns, delimiter) for line in lines))


def _cells(line: str, delimiter: str) -> list[str]:
    return next(csv.reader([line], delimiter=delimiter), [])


def _csv_line(line: str, columns: Sequence[str], delimiter: str) -> Line:
    if len(line) > LONGEST_LINE:
        return Line({}, f"the line has more than {LONGEST_LINE:,} characters")
    try:
        cells = _cells(line, delimiter)
    except csv.Error as error:
        return Line({}, f"the line is no CSV: {error}")
    given = {name: cell.strip() for name, cell in zip(columns, cells, strict=False) if cell.strip()}
    if len(cells) > len(columns):
        return Line(given, f"the line has {len(cells)} cells, and there are {len(columns)} columns")
    try:
        return Line({name: _of_cell(name, cell) for name, cell in given.items()})
    except KvcalcError as error:
        return Line(given, str(error))


def _of_cell(name: str, cell: str) -> Any:
    option = _OPTIONS[name]
    if option.repeatable:
        return [part.strip() for part in cell.split(";")]
    if option.metavar:
        return cell
    if cell.lower() not in _SWITCH:
        raise KvcalcError(f"{option.label}: '{cell[:40]}' is neither true nor false")
    return _SWITCH[cell.lower()]


def _json_lines(first: str, rest: Iterator[str]) -> Listed:
    ahead = _json_line(first, None)
    if ahead.error is not None:
        raise KvcalcError(f"--from: the first line: {ahead.error}")
    columns = tuple(ahead.options)
    return Listed(columns, chain([ahead], (_json_line(line, columns) for line in rest)))


def _json_line(line: str, columns: Sequence[str] | None) -> Line:
    if len(line) > LONGEST_LINE:
        return Line({}, f"the line has more than {LONGEST_LINE:,} characters")
    try:
        value = json.loads(line)
        given = {_keyword(str(name)): each for name, each in value.items()}
    except (ValueError, RecursionError) as error:
        return Line({}, f"the line is no JSON: {error}")
    except AttributeError:
        return Line({}, "the line is no object of JSON")
    except KvcalcError as error:
        return Line({}, str(error))
    if columns is not None and (others := [name for name in given if name not in columns]):
        return Line(given, f"{_label(others[0])}: the first line has no such key; null stands for what is not given")
    return _single_values(given)


def _single_values(given: dict[str, Any]) -> Line:
    odd = [name for name, each in given.items() if isinstance(each, dict | list) and not _OPTIONS[name].repeatable]
    if odd:
        return Line({name: each for name, each in given.items() if name not in odd}, f"{_label(odd[0])}: one value")
    return Line(given)


def _names() -> Iterator[tuple[str, str]]:
    """What a column may be called, and the keyword of that option."""
    for keyword, option in _OPTIONS.items():
        yield keyword, keyword
        for flag in option.flags:
            yield flag.lstrip("-").replace("-", "_"), keyword


def _keyword(column: str) -> str:
    name = column.strip().lstrip("-").replace("-", "_")
    if name not in _KEYWORDS:
        known = sorted({_label(keyword) for keyword in _OPTIONS})
        raise KvcalcError(f"--from: no option '{column.strip()[:40]}'{nearest_or_all(name, known)}")
    return _KEYWORDS[name]


def _label(keyword: str) -> str:
    return _OPTIONS[keyword].label


_OPTIONS: dict[str, Option] = {
    "model": MODEL._replace(flags=("-m", "--model")),
    **options_of(ScenarioOptions),
}
_KEYWORDS = dict(_names())


def in_parts(lines: Iterator[Line], size: int) -> Iterator[list[Line]]:
    """Some lines at a time."""
    while part := list(islice(lines, size)):
        yield part
