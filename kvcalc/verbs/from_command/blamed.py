"""Errors of values that a server's line has, which nobody gave as options."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from kvcalc.errors import KvcalcError
from kvcalc.logs.launchers import OPTION

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping


@contextmanager
def blamed_on_the_line(given: Mapping[str, Any], said: Mapping[str, Any] | None = None) -> Iterator[None]:
    """An error of an option that the line says, and that is not given beside it, names the line first.

    Args:
        given: options that are given beside the line, by keyword.
        said: those that the line says, likewise; None while it is read: an option is the line's then.

    Raises:
        KvcalcError: that error.
    """
    try:
        yield
    except KvcalcError as error:
        option, colon, _ = str(error).partition(":")
        name = option.partition(" ")[0].removeprefix("--").replace("-", "_")
        of_the_line = option.startswith("--") and option != OPTION if said is None else name in said
        if type(error) is not KvcalcError or not colon or not of_the_line or given.get(name) is not None:
            raise
        first, *more = error.args
        raise KvcalcError(f"{OPTION}: the line's {first}", *more) from error
