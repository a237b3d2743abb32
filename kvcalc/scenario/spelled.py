"""A command line that asks a question again: options as people write them, from their values."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from kvcalc.scenario.option import Option


def typed_anew(
    command: str, model: str | Sequence[str] | None, given: Mapping[str, Any], options: Mapping[str, Option]
) -> str:
    """A command line with the same model and, of these options, those that are given.

    Args:
        command: of one word or, as 'plot cache', of more.
        model: one or several; None where options describe it.
        given: options and their values.
        options: those that the command takes.
    """
    models = [model] if isinstance(model, str) else model or ()
    words = ["kvcalc", *command.split(), *models]
    for name, option in options.items():
        if name in given:
            words += [word for value in spelled(option, given[name]) for word in (option.label, *value)]
    return shlex.join(words)


def spelled(option: Option, value: Any) -> Iterator[tuple[str, ...]]:
    """What follows an option each time that it is given: a value, or nothing of a switch."""
    if not option.metavar:
        yield ()
    elif isinstance(value, Mapping):
        yield from ((f"{key}={each}",) for key, each in value.items())
    elif option.repeatable and isinstance(value, (list, tuple)):
        yield from ((str(each),) for each in value)
    else:
        yield (str(value),)
