"""What a tool takes: JSON Schema made of the same options that the command line and Python are made of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import UnionType
from typing import Any, Union, get_args, get_origin

from kvcalc.errors import KvcalcError, did_you_mean
from kvcalc.scenario.option import Option, options_of

Schema = dict[str, Any]

_SIMPLE = {bool: "boolean", int: "integer", float: "number", str: "string"}
_MOST_EXAMPLES = 16
_MOST_TEXT = 300

MODEL: Schema = {
    "type": "string",
    "description": "A name or hub id of the catalogue (models_list). Files and the Hub are read only where the user "
    "has started the server with --files FOLDER or --hub.",
}
MODEL_TEXT: Schema = {
    "type": "string",
    "description": "Instead of model: the text of a config.json, or of a YAML model file of kvcalc.",
}


def schema_of_options(table: Any, without: tuple[str, ...] = ()) -> dict[str, Schema]:
    """Keyword -> schema of each option of a TypedDict."""
    return {
        name: schema_of_option(option, table.__annotations__[name].__origin__)
        for name, option in options_of(table).items()
        if name not in without
    }


def schema_of_option(option: Option, hint: Any = str) -> Schema:
    """A schema, with the sentence that help has, and what a shell completes it to, where that is little."""
    schema = {**_schema(hint), "description": option.sentence}
    values = list(option.values()) if option.values else []
    return {**schema, "examples": values} if 0 < len(values) <= _MOST_EXAMPLES else schema


def _schema(hint: Any) -> Schema:
    """Of what Python takes, as far as JSON has it: no fractions, no paths; accelerators and models by their names."""
    origin, inner = get_origin(hint), get_args(hint)
    if hint in _SIMPLE:
        return {"type": _SIMPLE[hint]}
    if hint is Any:
        return {}
    if origin in (Union, UnionType):
        arms = [_schema(each) for each in inner if _is_plain(each)]
        if all(arm.keys() == {"type"} for arm in arms):
            kinds = [arm["type"] for arm in arms]
            return {"type": kinds[0] if len(kinds) == 1 else kinds}
        return arms[0] if len(arms) == 1 else {"anyOf": arms}
    if origin is Mapping:
        return {"type": "object", "additionalProperties": _schema(inner[1])}
    return {"type": "array", "items": _schema(inner[0]), "maxItems": 100}


def _is_plain(hint: Any) -> bool:
    """Whether JSON has it; of pairs and the like the text stands for them, as on a command line."""
    if get_origin(hint) is Sequence:
        return _is_plain(get_args(hint)[0])
    if get_origin(hint) in (Union, UnionType):
        return any(map(_is_plain, get_args(hint)))
    return hint in _SIMPLE or hint is Any or get_origin(hint) is Mapping


def checked(arguments: Mapping[str, Any], schema: Schema) -> dict[str, Any]:
    """The arguments of a call, without those that are null.

    Raises:
        KvcalcError: the tool has no such argument, or a value is of another type.
    """
    from jsonschema import Draft202012Validator  # comes with mcp
    from jsonschema.exceptions import best_match

    given = {name: value for name, value in arguments.items() if value is not None}
    for name in given:
        if name not in schema["properties"]:
            there = did_you_mean(name[:60], schema["properties"]) or f"; there are {', '.join(schema['properties'])}"
            raise KvcalcError(f"no argument '{name[:60]}'{there}")
    wrong = best_match(Draft202012Validator(schema).iter_errors(given))
    if wrong is not None:
        raise KvcalcError(f"{wrong.json_path.removeprefix('$.')[:100]}: {wrong.message[:_MOST_TEXT]}")
    return given
