"""Results to text: a report on one result, rendered as a table, JSON, CSV or Markdown."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Any, assert_never

from kvcalc.named_tuple import NamedTuple
from kvcalc.render.record import to_csv

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from kvcalc.note import Note
    from kvcalc.record import Result
    from kvcalc.render.view import View


class Format(StrEnum):
    """How a result is printed."""

    TABLE = "table"
    JSON = "json"
    CSV = "csv"
    MARKDOWN = "markdown"

    @property
    def is_read(self) -> bool:
        """Whether people read it, and want to know what to type next."""
        return self in {Format.TABLE, Format.MARKDOWN}


class Report(NamedTuple):
    """A result and its faces.

    Attributes:
        result: what a command answers.
        rows: what CSV has a line for each of, or a function that makes them where they cost something.
        view: what people see; a function, since it is not always wanted.
        notes: for stderr, where the result does not carry them itself.
        columns: of CSV, where there may be no rows.
        unit: of sizes in the notes.
    """

    result: Result
    rows: Sequence[Any] | Callable[[], Sequence[Any]]
    view: Callable[[], View]
    notes: tuple[Note, ...] = ()
    columns: tuple[str, ...] = ()
    unit: str = "GiB"

    @property
    def lines(self) -> Sequence[Any]:
        """What CSV has a line for each of."""
        return self.rows() if callable(self.rows) else self.rows


def render(report: Report, how: Format, *, terminal: bool = False) -> str:
    """A report as text; `terminal` says whether a table goes to one."""
    match how:
        case Format.JSON:
            return report.result.to_json() + "\n"
        case Format.CSV:
            return to_csv(report.lines, report.columns)
        case Format.TABLE:
            from kvcalc.render.terminal.table import draw

            return draw(report.view(), terminal=terminal)
        case Format.MARKDOWN:
            from kvcalc.render.markdown import write

            return write(report.view())
        case _:
            assert_never(how)
