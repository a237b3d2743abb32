"""From a file's values to a noun: what pydantic refuses is told with its place in the file and the nearest valid name."""

from __future__ import annotations

import json
from dataclasses import fields
from functools import cache
from typing import TYPE_CHECKING, Any, TypeVar

from pydantic import TypeAdapter, ValidationError

from kvcalc.errors import KvcalcError, did_you_mean
from kvcalc.mechanisms import KINDS
from kvcalc.model import LayerGroup, Repeat, WeightPart
from kvcalc.yaml_reader import Document, Mark

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

    from kvcalc.yaml_reader import Place, Value

T = TypeVar("T")

MAX_ERRORS_SHOWN = 5


@cache
def adapter(noun: type[T]) -> TypeAdapter[T]:
    """What checks values against a noun's types and limits."""
    return TypeAdapter(noun)


def validated(noun: type[T], document: Document) -> T:
    """The noun that a document describes.

    Raises:
        KvcalcError: every mistake found, each with its place, the line and a caret.
    """
    if not isinstance(document.root, dict):
        raise document.error(Mark(0, 0), "expected keys and values, such as 'name: my-model'")
    try:
        return adapter(noun).validate_json(json.dumps(document.root))
    except ValidationError as refused:
        errors = refused.errors(include_url=False)
        shown = [str(_located(error, noun, document)) for error in errors[:MAX_ERRORS_SHOWN]]
        more = len(errors) - len(shown)
        raise KvcalcError("\n".join(shown) + (f"\n... and {more} more" if more else "")) from refused


def _located(error: ErrorDetails, noun: type[Any], document: Document) -> KvcalcError:
    place, missing = _place(error["loc"], document)
    marks = document.keys if error["type"] == "unexpected_keyword_argument" else document.values
    mark = marks.get(place) or document.values.get(place) or Mark(0, 0)
    dotted = _dotted(place)
    where = f"{dotted}: " if dotted else ""
    return document.error(mark, where + _message(error, noun, document, place, missing))


def _place(loc: tuple[str | int, ...], document: Document) -> tuple[Place, str | None]:
    """Where the error lies, and the key that is missing there. Union tags, which pydantic puts into loc, are dropped."""
    here: Value = document.root
    place: list[str | int] = []
    for index, step in enumerate(loc):
        if isinstance(here, dict) and isinstance(step, str) and step in here:
            here = here[step]
        elif isinstance(here, list) and isinstance(step, int) and step < len(here):
            here = here[step]
        elif index == len(loc) - 1 and isinstance(step, str) and isinstance(here, dict):
            return tuple(place), step
        else:
            continue
        place.append(step)
    return tuple(place), None


def _message(error: ErrorDetails, noun: type[Any], document: Document, place: Place, missing: str | None) -> str:
    given, context = _shown(error["input"]), error.get("ctx", {})
    match error["type"]:
        case "missing":
            return f"missing key '{missing}'"
        case "unexpected_keyword_argument":
            return _unknown_key(str(place[-1]), _owner(noun, place[:-1], document))
        case "union_tag_not_found":
            return f"missing key 'kind': one of {', '.join(KINDS)}"
        case "union_tag_invalid":
            kind = str(context.get("tag", ""))
            return f"unknown kind {_shown(kind)}{did_you_mean(kind, KINDS)}; kinds are {', '.join(KINDS)}"
        case "value_error":
            return str(context.get("error", error["msg"]))
        case "greater_than_equal" | "greater_than":
            return f"must be at least {context.get('ge', context.get('gt'))}, not {given}"
        case "less_than_equal":
            return f"must be at most {context['le']:,}, not {given}"
        case "int_type" | "int_from_float":
            return f"expected a whole number, not {given}"
        case "float_type" | "finite_number":
            return f"expected a number, not {given}"
        case "bool_type":
            return f"expected true or false, not {given}"
        case "string_type":
            return f"expected a word, not {given}"
        case "tuple_type" | "list_type":
            return f"expected a list, not {given}"
        case "dataclass_type" | "dict_type" | "model_attributes_type":
            return f"expected keys and values, not {given}"
        case "literal_error":
            return f"expected {context.get('expected')}, not {given}"
        case "string_too_short" | "too_short":
            return "must not be empty"
        case "string_too_long":
            return f"longer than {context.get('max_length')} characters"
        case "string_pattern_mismatch":
            return "must not contain control characters"
        case _:
            return error["msg"]


def _owner(noun: type[Any], place: Place, document: Document) -> type[Any]:
    """The class whose fields the keys at a place are."""
    here: Value = document.root
    for step in place:
        if isinstance(here, dict):
            here = here[str(step)]
        elif isinstance(here, list):
            here = here[int(step)]
    if not place or not isinstance(here, dict):
        return noun
    if place[-1] == "attention":
        return KINDS.get(str(here.get("kind")), noun)
    if len(place) > 1 and place[-2] == "weights":
        return WeightPart
    return Repeat if "repeat" in here or "of" in here else LayerGroup


def _unknown_key(key: str, owner: type[Any]) -> str:
    known = [each.name for each in fields(owner)]
    hint = did_you_mean(key, known)
    elsewhere = [kind for kind, mechanism in KINDS.items() if key in {each.name for each in fields(mechanism)}]
    if not hint and owner in KINDS.values() and elsewhere:
        hint = f"; it belongs to {', '.join(elsewhere)}"
    return f"unknown key '{key[:60]}'{hint}" + ("" if hint else f"; keys here are {', '.join(known)}")


def _shown(value: object) -> str:
    text = "nothing" if value is None else repr(value) if isinstance(value, str) else str(value)
    return text if len(text) <= 60 else text[:60] + "..."


def _dotted(place: Place) -> str:
    text = ""
    for step in place:
        text += f"[{step}]" if isinstance(step, int) else f".{step}" if text else str(step)
    return text
