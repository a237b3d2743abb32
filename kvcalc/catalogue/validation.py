"""From a file's values to a model or a GPU: each mistake has its place in the file and the nearest valid name."""

from __future__ import annotations

import json
from dataclasses import fields
from functools import cache
from typing import TYPE_CHECKING, Any, TypeVar, cast

from pydantic import TypeAdapter, ValidationError

from kvcalc.catalogue.yaml_reader import Document, Mark
from kvcalc.errors import KvcalcError, nearest_or_all
from kvcalc.mechanisms import KINDS
from kvcalc.model.layers import LayerGroup, Repeat
from kvcalc.model.model import WeightPart

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from pydantic_core import ErrorDetails

    from kvcalc.catalogue.yaml_reader import Place, Value

T = TypeVar("T")

MAX_ERRORS_SHOWN = 5
MAX_ERRORS_READ = 100
_SHOWN = 60


@cache
def _adapter(noun: Any) -> TypeAdapter[Any]:
    """What checks values against a noun's types and limits. To make one takes longer than to read many files."""
    return TypeAdapter(noun)


def json_schema(noun: Any) -> dict[str, Any]:
    """The JSON Schema of a noun's files."""
    schema = _adapter(noun).json_schema()
    for definition in schema.get("$defs", {}).values():
        if "kind" in definition.get("properties", {}):  # in a file only this key distinguishes the kinds
            definition["required"] = ["kind", *definition.get("required", [])]
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}


def validated(noun: type[T], document: Document) -> T:
    """The noun that a document describes.

    Raises:
        KvcalcError: every mistake found, each with its place, the line and a caret.
    """
    if not isinstance(document.root, dict):
        raise document.error(Mark(0, 0), "expected keys and values, such as 'name: my-model'")
    try:
        found: T = _adapter(cast("Any", noun)).validate_json(json.dumps(document.root))
    except ValidationError as refused:
        errors = [
            _located(error, noun, document)
            for error in _worth_telling(refused.errors(include_url=False)[:MAX_ERRORS_READ])
        ]
        shown = list(dict.fromkeys(error.args for error in errors))
        read_all = refused.error_count() <= MAX_ERRORS_READ
        more = (len(shown) if read_all else refused.error_count()) - MAX_ERRORS_SHOWN
        lines = _listing_keys_once(line for each in shown[:MAX_ERRORS_SHOWN] for line in each)
        raise KvcalcError(*lines, *([f"... and {more} more"] if more > 0 else [])) from refused
    return found


def _listing_keys_once(lines: Iterable[str]) -> Iterator[str]:
    """Lines, of which only the first that ends with a list of all known keys has that list."""
    listed: set[str] = set()
    for line in lines:
        said, _, keys = line.partition("; there are ")
        yield said if keys in listed else line
        listed |= {keys} - {""}


def _worth_telling(errors: list[ErrorDetails]) -> list[ErrorDetails]:
    """Without what only follows from another error: an emptied list, and keys missing beside one that is unknown."""
    unknown = {error["loc"][:-1] for error in errors if error["type"] == "unexpected_keyword_argument"}
    return [
        error
        for error in errors
        if not (error["type"] == "missing" and error["loc"][:-1] in unknown)
        and not (error["type"] == "too_short" and any(_is_inside(other["loc"], error["loc"]) for other in errors))
    ]


def _is_inside(inner: tuple[int | str, ...], outer: tuple[int | str, ...]) -> bool:
    return len(inner) > len(outer) and inner[: len(outer)] == outer


def _located(error: ErrorDetails, noun: Any, document: Document) -> KvcalcError:
    place, missing = _place(error["loc"], document)
    marks = document.keys if error["type"] == "unexpected_keyword_argument" else document.values
    message = _message(error, noun, document, place, missing)
    named = (*place, message.partition(":")[0])  # a noun's own check names the key that it is about
    mark = document.keys.get(named) or marks.get(place) or document.values.get(place) or Mark(0, 0)
    dotted = _dotted(place)
    return document.error(mark, f"{dotted}: {message}" if dotted else message)


def _place(loc: tuple[str | int, ...], document: Document) -> tuple[Place, str | None]:
    """Where the error lies, and the key that is missing there. Union tags, which pydantic adds to loc, are dropped."""
    here: Value = document.root
    place: list[str | int] = []
    for index, step in enumerate(loc):
        if isinstance(here, dict) and step in here:
            here = here[str(step)]
        elif isinstance(here, list) and isinstance(step, int) and step < len(here):
            here = here[step]
        elif index == len(loc) - 1 and isinstance(step, str) and isinstance(here, dict):
            return tuple(place), step
        else:
            continue
        place.append(step)
    return tuple(place), None


_MESSAGES = {
    "greater_than_equal": "must be at least {ge}, not {given}",
    "greater_than": "must be above {gt}, not {given}",
    "less_than_equal": "must be at most {le:,}, not {given}",
    "int_type": "expected a whole number, not {given}",
    "int_from_float": "expected a whole number, not {given}",
    "float_type": "expected a number, not {given}",
    "bool_type": "expected true or false, not {given}",
    "string_type": "expected a word, not {given}",
    "tuple_type": "expected a list, not {given}",
    "dataclass_type": "expected keys and values, not {given}",
    "dict_type": "expected keys and values, not {given}",
    "model_attributes_type": "expected keys and values, not {given}",
    "literal_error": "expected {expected}, not {given}",
    "too_short": "must not be empty",
    "too_long": "more than {max_length} entries",
    "string_too_short": "must not be empty",
    "string_too_long": "longer than {max_length} characters",
    "string_pattern_mismatch": "must not contain control characters",
    "value_error": "{error}",
}
"""What pydantic's errors are called here."""


def _message(error: ErrorDetails, noun: Any, document: Document, place: Place, missing: str | None) -> str:
    context = error.get("ctx", {})
    match error["type"]:
        case "missing":
            return f"missing key '{missing}'"
        case "unexpected_keyword_argument":
            return _unknown_key(str(place[-1]), _owner(noun, place[:-1], document))
        case "union_tag_not_found":
            return f"missing key 'kind': one of {', '.join(KINDS)}"
        case "union_tag_invalid":
            kind = str(context.get("tag", ""))
            return f"unknown kind {_shown(kind)}{nearest_or_all(kind, KINDS)}"
        case kind:
            return _MESSAGES.get(kind, error["msg"]).format(given=_shown(error["input"]), **context)


def _owner(noun: Any, place: Place, document: Document) -> Any:
    """The class whose fields the keys at a place are."""
    here: Value = document.root
    for step in place:
        if isinstance(here, dict):
            here = here[str(step)]
        elif isinstance(here, list):
            here = here[int(step)]
    if not place or not isinstance(here, dict):
        return noun
    if "attention" in place[-2:]:  # one, or one of a list
        return KINDS.get(str(here.get("kind")), noun)
    if len(place) > 1 and place[-2] == "weights":
        return WeightPart
    return Repeat if "repeat" in here or "of" in here else LayerGroup


def _unknown_key(key: str, owner: Any) -> str:
    """With the kinds that have the key, where it is another kind's, else with the nearest keys."""
    elsewhere = [kind for kind, mechanism in KINDS.items() if {key, f"{key}?"} & {*mechanism.keys()}]
    if owner in KINDS.values() and elsewhere:
        return f"unknown key '{key}'; it belongs to {', '.join(elsewhere)}"
    return f"unknown key '{key[:_SHOWN]}'{nearest_or_all(key, [each.name for each in fields(owner)])}"


def _shown(value: object) -> str:
    text = "nothing" if value is None else repr(value) if isinstance(value, str) else str(value)
    return text if len(text) <= _SHOWN else text[:_SHOWN] + "..."


def _dotted(place: Place) -> str:
    text = ""
    for step in place:
        text += f"[{step}]" if isinstance(step, int) else f".{step}" if text else step
    return text if len(text) <= 2 * _SHOWN else text[: 2 * _SHOWN] + "..."
