"""The command line that was typed, to be continued or put to another command."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from kvcalc.scenario.option import Option


def typed(words: Iterable[str], *left_out: str) -> str:
    """The command line without some flags."""
    return shlex.join(["kvcalc", *(word for word in words if word not in left_out)])


def typed_anew(
    command: str, model: str | Sequence[str] | None, given: Mapping[str, Any], options: Mapping[str, Option]
) -> str:
    """A command line with the same model and, of these options, which take values, those that were given."""
    models = [model] if isinstance(model, str) else model or ()
    words = ["kvcalc", command, *models]
    for name, option in options.items():
        if name in given:
            value = given[name]
            several = value if isinstance(value, list) else [value]
            words += [word for each in several for word in (option.label, str(each))]
    return shlex.join(words)
