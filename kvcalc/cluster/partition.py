"""One partition of a sweep, as a worker makes it: every row of one shard, as the bytes of a Parquet file."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any, NamedTuple

from kvcalc import __version__
from kvcalc.cluster.inputs import Inputs, inputs_of
from kvcalc.errors import CannotRunError
from kvcalc.render.parquet import parquet_rows, within_integers
from kvcalc.verbs.sweeping.columns import ERROR
from kvcalc.verbs.sweeping.sweep import sweep

if TYPE_CHECKING:
    from collections.abc import Mapping


class Asked(NamedTuple):
    """A sweep that is asked for, as workers are told.

    Attributes:
        options: of the sweep.
        inputs: what they lead to where it was asked for.
        of: how many shards there are.
        version: of kvcalc where it was asked for.
        told: what the sweep is, for the metadata of files.
    """

    options: Mapping[str, Any]
    inputs: Inputs
    of: int
    version: str
    told: str


class Partition(NamedTuple):
    """Rows of a shard.

    Attributes:
        number: of the shard, from 1.
        rows: how many rows there are.
        wrong: how many of them have an error.
        file: the bytes of its file.
    """

    number: int
    rows: int
    wrong: int
    file: bytes


def partition_of(asked: Asked, number: int) -> Partition:
    """The rows of a shard, counted from 1.

    Raises:
        KvcalcError: with `strict`, the first wrong scenario's.
        CannotRunError: another version of kvcalc is installed here, or something that the sweep reads is not here as
            it is there.
    """
    if asked.version != __version__:
        told = f"a worker has kvcalc {__version__}, and {asked.version} asks; install the same"
        raise CannotRunError(f"--scheduler: {told}")
    here = inputs_of(asked.options)
    if others := [name for name, read in asked.inputs.items() if here.get(name) != read]:
        told = f"{others[0][:200]} is not on a worker what it is here; give it to workers under the same name"
        raise CannotRunError(f"--scheduler: {told}")
    file, rows, wrong = io.BytesIO(), 0, 0
    options = {**asked.options, "shard": (number, asked.of)}
    with sweep(None, options) as rows_of, parquet_rows(file, rows_of.columns, asked.told) as sink:
        for chunk in rows_of.chunks:
            columns = within_integers(chunk.columns)
            sink.write(columns)
            rows += chunk.rows
            wrong += chunk.rows - list(columns[ERROR]).count(None)
    return Partition(number, rows, wrong, file.getvalue())
