"""One partition of a sweep, as a worker makes it: every row of one shard, as the bytes of a Parquet file."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any, NamedTuple

from kvcalc import __version__
from kvcalc.errors import CannotRunError
from kvcalc.render.parquet import parquet_rows, within_integers
from kvcalc.verbs.sweeping.columns import ERROR
from kvcalc.verbs.sweeping.sweep import sweep

if TYPE_CHECKING:
    from collections.abc import Mapping


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


def partition_of(options: Mapping[str, Any], number: int, of: int, version: str) -> Partition:
    """The rows of a shard.

    Args:
        options: of the sweep.
        number: of the shard, from 1.
        of: how many shards there are.
        version: of kvcalc where the sweep was asked for.

    Raises:
        KvcalcError: with `strict`, the first wrong scenario's.
        CannotRunError: another version of kvcalc is installed here.
    """
    if version != __version__:
        raise CannotRunError(f"--scheduler: a worker has kvcalc {__version__}, and {version} asks; install the same")
    file, rows, wrong = io.BytesIO(), 0, 0
    with sweep(None, {**options, "shard": (number, of)}) as asked, parquet_rows(file, asked.columns) as sink:
        for chunk in asked.chunks:
            columns = within_integers(chunk.columns)
            sink.write(columns)
            rows += chunk.rows
            wrong += chunk.rows - list(columns[ERROR]).count(None)
    return Partition(number, rows, wrong, file.getvalue())
