"""The step that an error names, as the command line that was typed: its command and its options stay.

Errors come from where nobody knows of command lines, and name `kvcalc estimate MODEL`.
"""

import shlex
from collections.abc import Iterator, Sequence
from itertools import pairwise

from kvcalc.errors import NEXT, KvcalcError, UnknownModelError

_STEP = f"{NEXT}kvcalc estimate "
_STEP_OF_SEVERAL = f"{NEXT}kvcalc compare "
_OF_ONE_MODEL = {"estimate", "capacity", "plan", "demand", "verify", "bench"}
_OF_SEVERAL = {"compare", "plot", "report", "sweep"}
"""Commands that take several models; what is assumed is of one."""
_OF_CAPACITY = {"--from-command", "--from-log"}
"""Options that name the model themselves, and are looked for with every command that takes one."""


def typed_again(arguments: Sequence[str], error: KvcalcError) -> Iterator[str]:
    """The lines of an error, its step with what was typed.

    Args:
        arguments: of the command line.
        error: that it ended with.
    """
    for line in map(str, error.args):
        if line.startswith(_STEP_OF_SEVERAL):
            yield f"{NEXT}{shlex.join(['kvcalc', *_apart(arguments, line)])}"
            continue
        mended = _mended(arguments, line, error) if line.startswith(_STEP) else None
        yield line if mended is None else f"{NEXT}{shlex.join(['kvcalc', *mended])}"


def step_of_usage(arguments: Sequence[str], command: str, unknown: str | None, told: str) -> str:
    """The step after a line that cannot be split: the command that has the option, else the command's help.

    A sweep takes its models as an axis, and not first, as other commands do.

    Args:
        arguments: of the command line.
        command: with the program's name.
        unknown: the option that the command lacks, where that is what is wrong.
        told: what is wrong.
    """
    if unknown in _OF_CAPACITY and arguments[0] in _OF_ONE_MODEL | _OF_SEVERAL:
        return f"{NEXT}{shlex.join(['kvcalc', 'capacity', *arguments[1:]])}"
    first = tuple(f"({word})" for word in arguments[1:2])
    if arguments[0] == "sweep" and told.endswith(first) and "--model" not in arguments:
        return f"{NEXT}{shlex.join(['kvcalc', 'sweep', '--model', *arguments[1:]])}"
    return f"{NEXT}{command} --help"


def _apart(arguments: Sequence[str], line: str) -> list[str]:
    """The words with models that stood between commas as words of their own, where the command takes several."""
    named, *models = shlex.split(line.removeprefix(f"{NEXT}kvcalc "))
    typed = next((word for word in arguments if [part.strip() for part in word.split(",")] == models), None)
    if typed is None or arguments[0] not in _OF_SEVERAL:
        return [named, *models]
    return [part for word in arguments for part in (models if word == typed else [word])]


def _mended(arguments: Sequence[str], line: str, error: KvcalcError) -> list[str] | None:
    """The words with the model that is meant, and what is assumed of it; None where they have no such model."""
    model, *more = shlex.split(line.removeprefix(_STEP))
    if not arguments or arguments[0] not in (_OF_ONE_MODEL if more else _OF_ONE_MODEL | _OF_SEVERAL):
        return None
    typed = error.typed if isinstance(error, UnknownModelError) else model
    values = [word.rpartition("=")[2] for word in arguments]
    if typed not in {*values, *(part.strip() for value in values for part in value.split(","))}:
        return None
    known = {*pairwise(arguments)}
    words = [_with(word, typed, model) for word in arguments]
    for name, value in zip(more[::2], more[1::2], strict=True):  # --assume KEY=VALUE
        if (name, value) not in known and f"{name}={value}" not in arguments:
            words += [name, value]
    return None if words == list(arguments) else words


def _with(word: str, typed: str, meant: str) -> str:
    """A word, or a part of it between commas or behind '=', with another model in its place."""
    head, equals, rest = word.rpartition("=") if word.startswith("-") else ("", "", word)
    if rest == typed:
        return head + equals + meant
    return head + equals + ",".join(meant if part.strip() == typed else part for part in rest.split(","))
