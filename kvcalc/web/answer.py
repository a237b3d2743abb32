"""What the page asks, and what it is answered: JSON in, JSON out.

Whoever asks is a stranger: models are names of the catalogue or texts, and no file of this machine, nor the network, is
looked at. Whatever goes wrong is an answer too, in the words of the command line.
"""

from __future__ import annotations

import json
import re
from threading import Lock
from typing import TYPE_CHECKING, Any

from kvcalc.access import Access, limited_to
from kvcalc.catalogue.pasted import MOST
from kvcalc.errors import ExitCode, KvcalcError, nearest_or_all, one_line
from kvcalc.units import with_unit

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

Answer = dict[str, Any]

MOST_CHARACTERS = 4 * MOST
"""Of a request: a model's text, and as much again for how JSON writes it."""
MOST_OF_A_VALUE = 1000
"""Characters of an option's value."""
UNIT = "GiB"

_NAMED = re.compile(r"(--)?([a-z][a-z-]*):")
"""How a refusal begins that names an option, or a part of the request."""
_PARTS = ("ask", "options", "request", "word")

_alone = Lock()
"""Held while an answer is made: what may be looked at is limited for the whole process."""


def answer(text: str) -> str:
    """The answer to a request. It raises nothing.

    Args:
        text: a JSON object. `ask` says what: `form` (what can be chosen), `models` or `gpus` (names that have `word` in
            them), `estimate` (a scenario: `model`, a name of the catalogue, or `model_text`, and `options`, texts by
            their names in Python), `curve` (its memory against context as SVG; `narrow` for small screens).

    Returns:
        A JSON object: what was asked for, or `error` with `lines` as the command line prints them, `exit_code`, and
        `field`, which is an option's name, `model` or `model_text`; null where no field is to blame.
    """
    request: Mapping[str, Any] = {}
    try:
        request = _request(text)
        with _alone, limited_to(Access()):
            found = _answered(request)
    except KvcalcError as error:
        found = _error(error.exit_code, *map(str, error.args), field=_field(request, str(error.args[0])))
    except Exception as error:  # noqa: BLE001  # whoever asks gets a sentence, never a traceback
        found = _error(ExitCode.CANNOT_RUN, f"a bug in kvcalc: {type(error).__name__}; nothing was computed")
    return json.dumps(found, allow_nan=False, separators=(",", ":"))


def _error(code: ExitCode, *lines: str, field: str | None = None) -> Answer:
    told = [with_unit(one_line(line), UNIT) for line in lines]
    return {"error": {"lines": told, "exit_code": int(code), "field": field}}


def _field(request: Mapping[str, Any], line: str) -> str | None:
    """The field that a refusal is about: the option that it names, else the model; None where it is neither."""
    from kvcalc.web.form import FIELDS  # only for a refusal

    if named := _NAMED.match(line):
        name = named[2].replace("-", "_")
        if name in FIELDS:
            return name
        if named[1] or name in _PARTS:
            return None
    if not request:
        return None
    return "model" if request.get("model_text") is None else "model_text"


def _request(text: str) -> Mapping[str, Any]:
    if len(text) > MOST_CHARACTERS:
        raise KvcalcError(f"request: more than {MOST_CHARACTERS:,} characters; no model file is that long")
    try:
        found = json.loads(text)
    except RecursionError as error:
        raise KvcalcError("request: nested too deep") from error
    except ValueError as error:
        raise KvcalcError("request: no JSON") from error
    if not isinstance(found, dict):
        raise KvcalcError('request: no JSON object, such as {"ask": "form"}')
    return found


def _answered(request: Mapping[str, Any]) -> Answer:
    asked = _text(request, "ask") or ""
    if asked not in _ASKED:
        raise KvcalcError(f"ask: '{asked[:40]}' cannot be asked{nearest_or_all(asked[:40], _ASKED)}")
    return _ASKED[asked](request)


def _text(request: Mapping[str, Any], name: str, most: int | None = MOST_OF_A_VALUE) -> str | None:
    """A value that is a text, or is not there.

    Raises:
        KvcalcError: it is something else, or too long.
    """
    value = request.get(name)
    if value is not None and not isinstance(value, str):
        raise KvcalcError(f"{name}: must be a text")
    if most is not None and value is not None and len(value) > most:
        raise KvcalcError(f"{name}: more than {most:,} characters")
    return value


def _form(_request: Mapping[str, Any]) -> Answer:
    from kvcalc.web.form import form  # each is imported when it is asked

    return form()


def _models(request: Mapping[str, Any]) -> Answer:
    from kvcalc.web.form import models

    return models(_text(request, "word") or "")


def _gpus(request: Mapping[str, Any]) -> Answer:
    from kvcalc.web.form import gpus

    return gpus(_text(request, "word") or "")


def _estimate(request: Mapping[str, Any]) -> Answer:
    from kvcalc.web.calculation import calculation

    return calculation(*_scenario(request))


def _curve(request: Mapping[str, Any]) -> Answer:
    from kvcalc.web.curve import curve

    return curve(*_scenario(request), narrow=request.get("narrow") is True)


def _scenario(request: Mapping[str, Any]) -> tuple[str | None, str | None, dict[str, str | None]]:
    options = request.get("options") or {}
    if not isinstance(options, dict):
        raise KvcalcError("options: must be an object")
    given = {name: _text(options, name) for name in options}
    return _text(request, "model"), _text(request, "model_text", None), given


_ASKED: Mapping[str, Callable[[Mapping[str, Any]], Answer]] = {
    "form": _form,
    "models": _models,
    "gpus": _gpus,
    "estimate": _estimate,
    "curve": _curve,
}
