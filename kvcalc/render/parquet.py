"""Rows of a sweep as Parquet, by pyarrow (the extra `parquet`)."""

from __future__ import annotations

from contextlib import contextmanager
from importlib.util import find_spec
from typing import IO, TYPE_CHECKING, Any

from kvcalc.errors import CannotRunError
from kvcalc.verbs.sweeping.columns import ERROR, figures_in, kinds_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from kvcalc.verbs.sweeping.columns import Columns

LARGEST = 2**63 - 1
"""What an integer of Parquet holds."""

_TOLD = "kvcalc"
"""The key of metadata."""

_GROUP = 65_536
"""Rows of a row group."""


def refuse_missing() -> None:
    """Before anything is computed, refuse what cannot be written.

    Raises:
        CannotRunError: pyarrow is not installed.
    """
    if find_spec("pyarrow") is None:
        raise CannotRunError("parquet: needs pyarrow, which is not installed: python -m pip install 'pyarrow>=21.0'")


def within_integers(columns: Columns) -> Columns:
    """The same rows; of those with a figure that Parquet's integers do not hold, the error instead of figures."""
    beyond: set[int] = set()
    for name, kind in kinds_of(figures_in(columns)).items():
        values = columns[name]
        if kind is int and max(filter(None, values), default=0) > LARGEST:
            beyond |= {place for place, value in enumerate(values) if value is not None and value > LARGEST}
    if not beyond:
        return columns
    told = f"a figure is beyond {LARGEST:,}, the largest integer of Parquet; --format csv and jsonl have it"
    figures = {name: _without(columns[name], beyond, None) for name in figures_in(columns)}
    return {**columns, **figures, ERROR: _without(columns[ERROR], beyond, told)}


def _without(values: Sequence[Any], places: set[int], instead: Any) -> list[Any]:
    return [instead if place in places else value for place, value in enumerate(values)]


class ParquetRows:
    """Rows that go to a file in groups."""

    def __init__(self, writer: Any, schema: Any, kinds: Mapping[str, type]) -> None:
        self._writer, self._schema, self._kinds = writer, schema, kinds
        self._waiting: dict[str, list[Any]] = {name: [] for name in kinds}

    def write(self, columns: Columns) -> None:
        """Some more rows."""
        for name, waiting in self._waiting.items():
            waiting.extend(_typed(columns[name], self._kinds[name]))
        if len(next(iter(self._waiting.values()))) >= _GROUP:
            self.flush()

    def flush(self) -> None:
        """A group of what there is."""
        import pyarrow as pa  # large, and for Parquet only

        if next(iter(self._waiting.values())):
            self._writer.write_table(pa.table(self._waiting, schema=self._schema))
        for waiting in self._waiting.values():
            waiting.clear()


@contextmanager
def parquet_rows(stream: IO[bytes], columns: Sequence[str], told: str | None = None) -> Iterator[ParquetRows]:
    """A file of Parquet of so many columns, complete when this ends.

    Args:
        stream: where it goes.
        columns: their names.
        told: what its metadata says of it (`told_in`).
    """
    import pyarrow as pa  # large, and for Parquet only
    from pyarrow.parquet import ParquetWriter

    kinds = kinds_of(columns)
    types = {int: pa.int64(), float: pa.float64(), bool: pa.bool_(), str: pa.string()}
    metadata = None if told is None else {_TOLD: told}
    schema = pa.schema([(name, types[kind]) for name, kind in kinds.items()], metadata=metadata)
    with ParquetWriter(stream, schema) as writer:
        rows = ParquetRows(writer, schema, kinds)
        yield rows
        rows.flush()


def told_in(file: Path) -> str | None:
    """What the metadata of a file says of it, None where it says nothing or is no file of Parquet."""
    import pyarrow as pa  # large, and for Parquet only
    from pyarrow.parquet import read_metadata

    try:
        found = (read_metadata(file).metadata or {}).get(_TOLD.encode())
    except pa.ArrowInvalid:
        return None
    return None if found is None else found.decode(errors="replace")


def _typed(values: Sequence[Any], kind: type) -> Sequence[Any]:
    """What has another type is null, as text in a column of numbers, which the row's error names; texts are made so."""
    if kind is str:
        return [None if value is None else str(value) for value in values]
    if kind is float:
        return [None if value is None else float(value) for value in values]
    return [value if type(value) is kind else None for value in values]
