"""What every comparison needs: notes by row, the accelerators, what the model would keep with multi-head attention."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from kvcalc.errors import KvcalcError
from kvcalc.legality import check_legal
from kvcalc.note import Note, note
from kvcalc.verbs.comparing.result import ComparedRow, GivenGpus
from kvcalc.verbs.comparing.row import cache_bytes, why_not_kept
from kvcalc.verbs.comparing.what_if import as_mha, unchanged, with_unknown_heads

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from kvcalc.scenario import Scenario
    from kvcalc.verbs.comparing.row import AddNote


class RowNotes:
    """What is to be noted, and of which rows."""

    def __init__(self) -> None:
        self._rows: dict[Note, list[str]] = {}

    def add(self, row: str, told: Note) -> None:
        rows = self._rows.setdefault(told, [])
        if row not in rows:
            rows.append(row)

    def of_row(self, row: str) -> AddNote:
        """Takes what is to be noted of one row."""
        return lambda told: self.add(row, told)

    def notes(self, everyone: Iterable[str]) -> Iterator[Note]:
        """Each note, of its rows where it is not told of every one."""
        names = set(everyone)
        for told, rows in self._rows.items():
            yield told if set(rows) == names else of_rows(told, rows)


def of_rows(told: Note, rows: Iterable[str]) -> Note:
    """A note that names the rows which it is of: before its text, and in its data."""
    names = tuple(rows)
    return Note(told.code, f"{', '.join(names)}: {told.text}", (*told.figures, ("rows", names)))


def row_left_out(reason: str) -> Note:
    """Why there is no such row."""
    return note("row-left-out", f"left out: {reason}", reason=reason)


def mha_bytes(scenario: Scenario) -> int | None:
    """What the model would keep with multi-head attention; None where there is none, or the format cannot hold it."""
    model = as_mha(scenario.model)
    if model is None:
        return None
    mha = replace(scenario, model=model)
    return cache_bytes(mha) if why_not_kept(mha) is None else None


def mha_note(scenario: Scenario) -> Iterator[Note]:
    """Why that is not known, or what of it stays as it is."""
    model, kept = as_mha(scenario.model), unchanged(scenario.model)
    if layers := with_unknown_heads(scenario.model):
        yield _no_ratio(f": what {', '.join(layers)} would keep under another mechanism is not known")
    elif model is None:
        yield _no_ratio(": no layer has heads that multi-head attention would keep")
    elif (reason := why_not_kept(replace(scenario, model=model))) is not None:
        yield _no_ratio(f", for mha: {reason}")
    elif kept:
        yield note(
            "states-unchanged",
            f"states stay as they are under every mechanism, in mha too: {', '.join(kept)}",
            layers=tuple(kept),
        )


def _no_ratio(why: str) -> Note:
    return note("ratio-to-mha-unknown", f"ratio_to_mha is not known{why}", reason=why.lstrip(":, "))


def refuse_what_no_row_can_have(rows: Sequence[ComparedRow]) -> None:
    """A deployment that is illegal for every row is a mistake, not an answer.

    Raises:
        KvcalcError: it is; of the model as it is, or of the first.
    """
    refusals = []
    for row in sorted(rows, key=lambda row: not row.own):
        asked = row.scenario
        if asked.deployment is None:
            return
        try:
            check_legal(asked.deployment, asked.model)
        except KvcalcError as error:
            refusals.append(error)
    if len(refusals) == len(rows):
        raise refusals[0]


def given_gpus(scenario: Scenario, at_most: int | None) -> GivenGpus:
    """The accelerators that rows are compared on."""
    return GivenGpus(
        scenario.gpu.name, scenario.memory_bytes, float(scenario.utilization), scenario.usable_bytes, at_most
    )
