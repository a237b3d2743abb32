"""A row of a sweep, for Python."""

from __future__ import annotations

import json
from dataclasses import field
from html import escape
from typing import TYPE_CHECKING, Any

from kvcalc.noun import noun
from kvcalc.record import BESIDE, Record
from kvcalc.verbs.sweeping.columns import Chunk

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from kvcalc.record import Plain


@noun
class SweepRow(Record):
    """One scenario of a sweep and its figures; None is what was not given, not asked for, or not known.

    Figures are those of `estimate`, by their path in JSON: bytes are integers.

    Attributes:
        batch: as it was given where it is no number, and so with `context`, `tp` and `pp`.
        context: tokens of each sequence: the default that was taken where none was given.
        cache_bytes: one replica, every copy on every rank.
        cache_bytes_per_rank: of the fullest rank, as are the next two and `memory_per_rank_total_bytes`.
        most_sequences: `answer.sequences`: the most at this context on the deployment asked for, else on the smallest.
        error: why the scenario is wrong; then it has no figures.
        values: every column of the row: the axes and the fields asked for, other figures among them.
    """

    model: str | None
    batch: int | str
    context: int | str | None
    cache_dtype: str | None = None
    weight_dtype: str | None = None
    gpu: str | None = None
    tp: int | str | None = None
    pp: int | str | None = None
    engine: str | None = None
    cache_bytes: int | None = None
    cache_bytes_per_rank: int | None = None
    cache_bytes_per_sequence: int | None = None
    cache_bytes_per_token: int | None = None
    memory_total_bytes: int | None = None
    memory_per_rank_total_bytes: int | None = None
    gpus_fits: bool | None = None
    gpus_tight: bool | None = None
    gpus_by_memory: int | None = None
    gpus_count: int | None = None
    gpus_tp: int | None = None
    gpus_pp: int | None = None
    gpus_dp: int | None = None
    most_sequences: int | None = None
    error: str | None = None
    values: Mapping[str, Any] = field(default_factory=dict, metadata=BESIDE)

    def to_dict(self) -> dict[str, Plain]:
        """Its line of JSON Lines: the axes, and the fields asked for."""
        return dict(self.values)

    def to_json(self) -> str:
        """The same as text."""
        return json.dumps(self.to_dict(), allow_nan=False)

    def _repr_html_(self) -> str:
        """A table of its line, for notebooks."""
        told = {name: "" if value is None else escape(str(value)) for name, value in self.values.items()}
        rows = (f"<tr><th>{escape(name)}</th><td>{value}</td></tr>" for name, value in told.items())
        return f"<table>{''.join(rows)}</table>"


def rows_of(chunk: Chunk, columns: tuple[str, ...]) -> Iterator[SweepRow]:
    """The rows of a chunk.

    Args:
        chunk: with the column `error`.
        columns: those asked for.
    """
    names = [name for name in SweepRow.__match_args__ if name in chunk.columns and name != "values"]
    for row in zip(*chunk.columns.values(), strict=True):
        every = dict(zip(chunk.columns, row, strict=True))
        given = {name: every[name] for name in names}
        yield SweepRow(**given, values={name: every[name] for name in columns})
