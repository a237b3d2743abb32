"""The verb `sweep`: many scenarios as rows, each what `estimate` answers."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

from kvcalc.errors import KvcalcError
from kvcalc.scenario.axes import AXES, axis_values
from kvcalc.scenario.listed import open_listed
from kvcalc.scenario.option import given_of, read_options
from kvcalc.scenario.options import ScenarioOptions
from kvcalc.verbs.sweeping.columns import ERROR, Chunk, fields_of
from kvcalc.verbs.sweeping.grid import ALWAYS, Grid
from kvcalc.verbs.sweeping.rows_listed import RowsListed
from kvcalc.verbs.sweeping.shard import shard_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from kvcalc.scenario.listed import Line

MAX_UNASKED = 10**8
"""Scenarios of a sweep that nobody has said yes to."""


class Sweep(NamedTuple):
    """Rows to be.

    Attributes:
        columns: their names, in order.
        number: of rows; None where nobody has counted the lines of a file.
        chunks: the rows, some at a time, each with all of the columns and the column `error`.
    """

    columns: tuple[str, ...]
    number: int | None
    chunks: Iterator[Chunk]


@contextmanager
def sweep(model: Any, options: Mapping[str, Any]) -> Iterator[Sweep]:
    """The rows of a sweep, while it is open.

    Args:
        model: one or several, or None where an option names them.
        options: of `SweepOptions`.

    Raises:
        KvcalcError: an axis, a fixed option, a field or the file cannot be read; nothing names a model; more than 10^8
            scenarios without `yes`, of a file once so many rows are made. With `strict`, while rows are made: the first
            wrong scenario's.
    """
    given = dict(given_of(options))
    if model is not None:
        if "model" in given:
            raise KvcalcError("--model: is given twice")
        given["model"] = model
    file, shard, strict = given.pop("from_file", None), shard_of(given.pop("shard", None)), given.pop("strict", False)
    asked, yes = fields_of(given.pop("fields", None)), given.pop("yes", False)
    fields = asked if ERROR in asked else (*asked, ERROR)
    if file is None:
        grid = grid_of(given, fields)
        if grid.number > MAX_UNASKED and not yes:
            raise _too_many(f"{grid.number:,} scenarios are")
        chunks: Iterator[Chunk] = (
            chunk for start, stop in shard.blocks(grid.number) for chunk in grid.chunks(start, stop)
        )
        columns = tuple(name for name in grid.columns if name in asked or name not in fields)
        yield Sweep(columns, shard.rows(grid.number), _strict(chunks, grid.columns) if strict else chunks)
        return
    with open_listed(file) as listed:
        if both := [name for name in listed.columns if name in given]:
            raise KvcalcError(f"--{both[0].replace('_', '-')}: is a column of {file} too; give it in one place")
        given |= {name: _single(name, given[name]) for name in AXES if name in given}
        read_options(ScenarioOptions, {name: each for name, each in given.items() if name not in AXES})
        rows = RowsListed(listed if yes else listed._replace(lines=_at_most(listed.lines)), given, fields)
        columns = tuple(name for name in rows.columns if name in asked or name not in fields)
        lines = rows.chunks(shard)
        yield Sweep(columns, None, _strict(lines, rows.columns) if strict else lines)


def _too_many(scenarios: str) -> KvcalcError:
    return KvcalcError(f"--yes: {scenarios} more than {MAX_UNASKED:,}; --yes makes them all")


def _at_most(lines: Iterator[Line]) -> Iterator[Line]:
    """The lines of a file, which nobody has counted.

    Raises:
        KvcalcError: there are more than anyone has said yes to.
    """
    for number, line in enumerate(lines):
        if number == MAX_UNASKED:
            raise _too_many("the lines of the file are")
        yield line


def _single(name: str, given: Any) -> Any:
    """The value of an axis beside a file, which has one."""
    values = axis_values(name, given)
    if len(values) > 1:
        raise KvcalcError(f"--{name.replace('_', '-')}: has several values, and --from lists scenarios; give one")
    return values[0]


def grid_of(given: Mapping[str, Any], fields: tuple[str, ...]) -> Grid:
    """The grid of some options.

    Raises:
        KvcalcError: an axis or a fixed option cannot be read, or nothing names a model.
    """
    axes = {name: axis_values(name, given[name]) for name in AXES if name in given}
    fixed = {name: value for name, value in given.items() if name not in AXES}
    read_options(ScenarioOptions, fixed)
    if "model" not in axes and fixed.get("layers") is None:
        raise KvcalcError(
            "--model: missing; name models (kvcalc models list), describe one with --layers ..., or give --from FILE"
        )
    return Grid(axes, fixed, fields)


def _strict(chunks: Iterator[Chunk], columns: tuple[str, ...]) -> Iterator[Chunk]:
    """The rows before the first that is wrong."""
    for chunk in chunks:
        errors = chunk.columns[ERROR]
        wrong = next((place for place, error in enumerate(errors) if error is not None), None)
        if wrong is None:
            yield chunk
            continue
        if wrong:
            yield Chunk(wrong, {name: values[:wrong] for name, values in chunk.columns.items()})
        axes = [name for name in columns if name in {*AXES, *ALWAYS} and chunk.columns[name][wrong] is not None]
        told = ", ".join(f"{name.replace('_', '-')} {chunk.columns[name][wrong]}" for name in axes)
        raise KvcalcError(f"--strict: {told}: {errors[wrong]}")
