"""Whose setting an error is about: the log's, where nobody gave the option that the message names."""

from __future__ import annotations

import re
from contextlib import contextmanager
from typing import TYPE_CHECKING

from kvcalc.errors import KvcalcError
from kvcalc.logs import DIALECTS

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from kvcalc.logs import ServerLog

MAX_SHOWN = 60
"""Letters of a value that a message repeats."""

_NAMED = re.compile(r"(?:--engine-option )?(?P<option>(?:--)?[a-z][a-z-]*)(?:: | )")


@contextmanager
def naming_the_log(log: ServerLog, given: Collection[str]) -> Iterator[None]:
    """Within it, errors of options that only the log has name the log's setting.

    Args:
        log: what a server said.
        given: options beside it, by their names in Python or the engine's.
    """
    try:
        yield
    except KvcalcError as error:
        first = str(error.args[0]) if error.args else ""
        found = _NAMED.match(first)
        named = found["option"] if found else ""
        option = next((each for each in (named, f"--{named}") if each in log.settings), "")
        if type(error) is not KvcalcError or found is None or not option:
            raise
        if option.removeprefix("--").replace("-", "_") in {each.replace("-", "_") for each in given}:
            raise
        name = next(name for name, each in DIALECTS[log.engine].settings.items() if each == option)
        told = f"--from-log: the log's {name} {log.settings[option][:MAX_SHOWN]}: {first[found.end() :]}"
        raise KvcalcError(told, *error.args[1:]) from error
