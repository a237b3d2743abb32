"""Notes of the rows of a comparison: each once, with the names of the rows that it is of."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvcalc.note import Note, note

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from kvcalc.verbs.comparing.row import AddNote


class RowNotes:
    """What is to be noted, and of which rows."""

    def __init__(self) -> None:
        self._rows: dict[Note, list[str]] = {}

    def add(self, row: str, noted: Note) -> None:
        rows = self._rows.setdefault(noted, [])
        if row not in rows:
            rows.append(row)

    def of_row(self, row: str) -> AddNote:
        """Takes what is to be noted of one row."""
        return lambda noted: self.add(row, noted)

    def notes(self, everyone: Iterable[str]) -> Iterator[Note]:
        """Each note, of its rows where it is not noted of every one."""
        names = set(everyone)
        for noted, rows in self._rows.items():
            yield noted if set(rows) == names else of_rows(noted, rows)


def of_rows(noted: Note, rows: Iterable[str]) -> Note:
    """A note that names the rows which it is of: before its text, and in its data."""
    names = tuple(rows)
    return Note(noted.code, f"{', '.join(names)}: {noted.text}", (*noted.figures, ("rows", names)))


def row_left_out(reason: str) -> Note:
    """Why there is no such row."""
    return note("row-left-out", f"left out: {reason}", reason=reason)
