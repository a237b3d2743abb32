"""The step after a refusal: a command that was tried before it is named, so that pasting it works."""

from __future__ import annotations

import json
import re
import shlex
from typing import TYPE_CHECKING, Any

from kvcalc.errors import CannotRunError, KvcalcError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

MOST_TRIES = 6
"""Assumptions that are tried together."""

NO_STEP = ("keeps no cache", "name a file")
"""Words of a refusal after which there is no step: nothing is there to be estimated, or it could not be read."""

_ASSUMED = re.compile(r"--assume ([\w.-]+)=(\"[^\"]*\"|[^\s;,]+)")
_PLACEHOLDERS = {"VALUE", "JSON", "NAME"}
_OF_LAYERS = ("layer_types", "layers_block_type")
"""Keys that are never assumed away here: layers of a kind that is not known may keep something else than attention."""
_BY_HAND = "kvcalc models schema"
_ADAPTER = re.compile(r"an adapter of '(?P<base>[^']+)'")


def with_next_step(
    error: KvcalcError,
    shown: str,
    attempt: Callable[[Mapping[str, Any]], object],
    assumed: Mapping[str, Any],
    is_model: Callable[[str], bool],
    beside: str | None = None,
) -> KvcalcError:
    """The same error with a line `next: kvcalc ...`, unless it says why there is no cache.

    The command is the file with what the message lets a user assume, where that is then understood; of an adapter,
    its base model; else how a model is written by hand.

    Args:
        error: the refusal.
        shown: the model as the user named it.
        attempt: reads it with assumptions.
        assumed: those that were made already.
        is_model: whether a name is one of the catalogue.
        beside: a config.json that can be read where this file or folder cannot, as the user would name it.
    """
    if isinstance(error, CannotRunError) or any(words in str(error) for words in NO_STEP):
        return error
    found = _ADAPTER.search(str(error))
    if found is not None and is_model(found["base"]):
        step = f"kvcalc estimate {shlex.quote(found['base'])}"
    elif beside is not None:
        step = f"kvcalc estimate {shlex.quote(beside)}"
    else:
        step = _with_assumptions(error, shown, attempt, assumed) or _BY_HAND
    return type(error)(*error.args, f"next: {step}")


def _with_assumptions(
    error: KvcalcError, shown: str, attempt: Callable[[Mapping[str, Any]], object], assumed: Mapping[str, Any]
) -> str | None:
    tried = dict(assumed)
    for _ in range(MOST_TRIES):
        more = next((each for each in _suggested(error) if each[0] not in tried), None)
        if more is None:
            return None
        tried[more[0]] = more[1]
        try:
            attempt(tried)
        except CannotRunError:
            return None
        except KvcalcError as again:
            error = again
            continue
        stated = " ".join(f"--assume {key}={shlex.quote(_written(value))}" for key, value in tried.items())
        return f"kvcalc estimate {shlex.quote(shown)} {stated}"
    return None


def _suggested(error: KvcalcError) -> list[tuple[str, Any]]:
    """Keys and values of the message, in its order."""
    return [
        (key, _read(value))
        for key, value in _ASSUMED.findall(str(error))
        if value.rstrip(".:") not in _PLACEHOLDERS and (key not in _OF_LAYERS or value != "null")
    ]


def _read(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


def _written(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)
