"""kvcalc sweep: grids of scenarios as rows."""

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import IO, Annotated, Any, Protocol

import typer

from kvcalc.cli.colour import labelled
from kvcalc.cli.output_options import Destination
from kvcalc.cli.parameters import given_on_line, takes
from kvcalc.cli.text_command import TextCommand
from kvcalc.errors import KvcalcError, nearest_or_all
from kvcalc.render.terminal.progress import progress_bar
from kvcalc.scenario.option import Option
from kvcalc.scenario.options import SweepOptions
from kvcalc.verbs.sweeping.columns import ERROR, Chunk, Columns
from kvcalc.verbs.sweeping.sweep import sweep

FORMATS: Mapping[str, tuple[str, ...]] = {
    "csv": (".csv",),
    "jsonl": (".jsonl", ".ndjson"),
    "parquet": (".parquet", ".pq"),
}
"""Each with the endings of its files."""

_OF_OTHERS = (".json", ".tsv", ".xlsx", ".xls", ".md", ".html", ".gz", ".zst")
"""Endings of what rows are not written as: a file would not be what its name says."""


class SweepOutput(Destination, total=False):
    """How rows are written."""

    how: Annotated[
        str | None,
        Option(
            "|".join(FORMATS),
            "How to write the rows (as FILE ends, else csv); parquet needs -o.",
            flags=("--format",),
            values=lambda: FORMATS,
        ),
    ]
    scheduler: Annotated[
        str | None,
        Option(
            "ADDRESS",
            "Have a Dask cluster make the rows; FILE of -o is then a folder of Parquet.",
            panel="Rows",
        ),
    ]


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("sweep", cls=TextCommand)(sweep_command)


@takes(SweepOptions, SweepOutput)
def sweep_command(**given: Any) -> None:
    """Many scenarios as rows: every combination of the values of some axes.

    Axes take comma lists, and ranges of counts: 1Ki..1Mi*2 doubles, 8..64+8 adds 8.
    """
    file = None if given["output_file"] in (None, "-") else str(given["output_file"])
    if given["scheduler"] is not None:
        _on_cluster(given, file)
        return
    how = _format(given["how"], file)
    rows = wrong = 0
    with (
        sweep(None, given_on_line(given, SweepOptions)) as asked,
        _sink(how, file, asked.columns) as sink,
        progress_bar() as progress,
    ):
        for chunk in asked.chunks:
            columns = _checked(chunk, how)
            sink.write(columns)
            rows += chunk.rows
            wrong += chunk.rows - list(columns[ERROR]).count(None)
            if progress is not None and asked.number is not None:
                progress("scenarios", rows, asked.number)
    _tell(rows, wrong)


def _tell(rows: int, wrong: int) -> None:
    if wrong:
        told = f"{wrong:,} of {rows:,} scenarios are wrong: their rows have an error and no figures"
        sys.stderr.write(labelled("note", told, sys.stderr) + "\n")


def _on_cluster(given: dict[str, Any], folder: str | None) -> None:
    """Rows that others make, as a folder of Parquet."""
    from kvcalc.cluster.run import sweep_on_cluster  # for clusters only

    if given["how"] not in (None, "parquet"):
        raise KvcalcError(f"--format: --scheduler makes a folder of parquet, and {given['how'][:40]} is asked for")
    if folder is None:
        raise KvcalcError("--scheduler: makes a folder of Parquet; give -o FOLDER")
    with progress_bar() as progress:
        rows, wrong = sweep_on_cluster(given["scheduler"], given_on_line(given, SweepOptions), folder, progress)
    _tell(rows, wrong)


class _Sink(Protocol):
    """What takes rows."""

    def write(self, columns: Columns) -> None:
        """Some more of them."""


def _format(asked: str | None, file: str | None) -> str:
    if asked is not None and asked not in FORMATS:
        raise KvcalcError(f"--format: no format '{asked[:40]}' of rows{nearest_or_all(asked, FORMATS)}")
    ends = "" if file is None else file.lower()
    if asked is None and (other := next((each for each in _OF_OTHERS if ends.endswith(each)), None)):
        raise KvcalcError(f"-o: {file}: no rows are written as {other}; --format {'|'.join(FORMATS)} says how")
    how = asked or next((name for name, endings in FORMATS.items() if ends.endswith(endings)), "csv")
    if how == "parquet" and file is None:
        raise KvcalcError("--format: parquet is no text for stdout; give -o FILE.parquet")
    return how


def _checked(chunk: Chunk, how: str) -> Columns:
    if how != "parquet":
        return chunk.columns
    from kvcalc.render.parquet import within_integers

    return within_integers(chunk.columns)


@contextmanager
def _sink(how: str, file: str | None, columns: tuple[str, ...]) -> Iterator[_Sink]:
    """What writes rows in a format to stdout, or to a file that is there when all of them are."""
    if how == "parquet":
        from kvcalc.render.parquet import parquet_rows, refuse_missing

        refuse_missing()
    if file is None:
        sink = _Lines(how, columns, None)
        sink.begin()
        yield sink
        sys.stdout.flush()
        return
    from kvcalc.cli.destination import streamed

    with streamed(file) as stream:
        if how == "parquet":
            with parquet_rows(stream, columns) as rows:
                yield rows
            return
        sink = _Lines(how, columns, stream)
        sink.begin()
        yield sink


class _Lines:
    """Rows as lines of text."""

    def __init__(self, how: str, columns: tuple[str, ...], stream: IO[bytes] | None) -> None:
        self._csv, self._columns, self._stream = how == "csv", columns, stream

    def begin(self) -> None:
        """The header, where there is one."""
        from kvcalc.render.rows import csv_header

        if self._csv:
            self._put(csv_header(self._columns))

    def write(self, columns: Columns) -> None:
        from kvcalc.render.rows import csv_lines, json_lines

        self._put((csv_lines if self._csv else json_lines)(columns, self._columns))

    def _put(self, text: str) -> None:
        if self._stream is None:
            sys.stdout.write(text)
        else:
            self._stream.write(text.encode(errors="replace"))
