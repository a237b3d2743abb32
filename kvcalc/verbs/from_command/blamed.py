"""Errors of values that a server's line has, which nobody gave as options."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from kvcalc.errors import KvcalcError
from kvcalc.logs.launchers import OPTION

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_OF_A_LINE = frozenset(
    {
        *("tp", "pp", "dp", "ep", "dcp", "batch", "context", "cache_dtype", "dtype", "state_dtype", "utilization"),
        *("engine_option", "max_num_seqs", "max_running_requests"),
    }
)
"""What lines say, by keyword."""


@contextmanager
def blamed_on_the_line(given: Mapping[str, Any]) -> Iterator[None]:
    """An error of an option that the line says, and that is not given beside it, names the line first.

    Raises:
        KvcalcError: that error.
    """
    try:
        yield
    except KvcalcError as error:
        option, colon, _ = str(error).partition(":")
        name = option.partition(" ")[0].removeprefix("--").replace("-", "_")
        if type(error) is not KvcalcError or not colon or name not in _OF_A_LINE or given.get(name) is not None:
            raise
        first, *more = error.args
        raise KvcalcError(f"{OPTION}: the line's {first}", *more) from error
