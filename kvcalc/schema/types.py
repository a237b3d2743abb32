"""From a type to its JSON Schema, as `kvcalc.record.plain` makes values of it plain."""

from __future__ import annotations

from dataclasses import fields, is_dataclass
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, cast, get_args, get_origin

from kvcalc.note import Note
from kvcalc.record import INNER, SCHEMA_VERSION, Result, place_of
from kvcalc.schema.hints import hints_of, returned_by, said_of, sentence_of
from kvcalc.term import Product

Schema = dict[str, Any]

_SIMPLE = {bool: "boolean", int: "integer", float: "number", str: "string", NoneType: "null"}

_NOTE: Schema = {
    "description": "One sentence beside a result, with its code and its figures.",
    "properties": {
        "code": {"type": "string", "description": "Stays as it is; docs/json.md lists all of them."},
        "text": {"type": "string", "description": "The sentence, whose words may change."},
        "data": {
            "type": "object",
            "description": "The figures of the sentence by name.",
            "additionalProperties": {"$ref": "#/$defs/Datum"},
        },
    },
}
_DATUM: Schema = {"type": [*_SIMPLE.values(), "array"], "items": {"$ref": "#/$defs/Datum"}}
_PRODUCT: Schema = {
    "description": "A leaf: factors that multiply to its bytes.",
    "properties": {
        "path": {"type": "string", "description": "Its place in the tree."},
        "bytes": {"type": "integer"},
        "formula": {"type": "string", "description": "The names of its factors, multiplied."},
        "factors": {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {"name": {"type": "string"}, "value": {"type": "integer"}},
                "required": ["name", "value"],
                "additionalProperties": False,
            },
        },
    },
}


class Definitions:
    """Schemas of the records that a schema refers to, each once."""

    def __init__(self) -> None:
        self.found: dict[str, Schema] = {}

    def of(self, hint: Any) -> Schema:
        """The schema of a type.

        Raises:
            TypeError: `plain` makes nothing of such a value.
        """
        origin, inner = get_origin(hint), get_args(hint)
        if origin is None:
            return self._of_class(hint)
        if origin is Annotated:
            nouns = [each for each in inner[1:] if isinstance(each, type)]
            return self._file_of(nouns[0]) if nouns else self.of(inner[0])
        if origin in (Union, UnionType):
            return self._one_of(inner)
        if origin in (tuple, list):
            return self._list_of(inner)
        if origin is dict and inner[0] is str:
            return {"type": "object", "additionalProperties": self.of(inner[1])}
        if origin is Literal:
            return {"enum": list(inner)}
        raise TypeError(f"no JSON Schema for {hint}")

    def _of_class(self, kind: Any) -> Schema:
        if kind is Any:
            return {}
        if kind in _SIMPLE:
            return {"type": _SIMPLE[kind]}
        if is_dataclass(kind) or kind is Product:
            return self._reference(cast("type[Any]", kind))
        raise TypeError(f"no JSON Schema for {kind}")

    def fields_of(self, kind: type[Any]) -> dict[str, Schema]:
        """The keys of a record in JSON, as `kvcalc.record.contents` has them."""
        hints, said = hints_of(kind), said_of(kind)
        found: dict[str, Schema] = {}
        within: dict[str, dict[str, Schema]] = {}
        for each in fields(kind):
            hint = hints[each.name]
            place = place_of(each)
            if place.beside or _is_inner(hint):
                continue
            if place.flattened:
                found |= {name: _said(self._flattened(hint, name), said.get(name)) for name in place.flattened}
                continue
            schema = _said(self.result(hint) if place.whole else self.of(hint), said.get(each.name))
            if place.under:
                within.setdefault(place.under, {})[each.name] = schema
                found.setdefault(place.under, {})  # stands where the first of its keys does
            elif each.name in within:
                found[each.name] = closed(sentence_of(hint), within[each.name] | self.fields_of(hint))
            else:
                found[each.name] = schema
        return found

    def _flattened(self, hint: Any, name: str) -> Schema:
        """A field, or a property, of a noun that may be None."""
        kinds = [each for each in _arms(hint) if each is not NoneType]
        values = [hints_of(kind).get(name) or returned_by(kind, name) for kind in kinds]
        absent = [NoneType] if len(kinds) < len(_arms(hint)) else []
        return self._one_of((*values, *absent))

    def _one_of(self, hints: tuple[Any, ...]) -> Schema:
        schemas: list[Schema] = []
        for each in hints:
            schema = self.of(each)
            if schema not in schemas:
                schemas.append(schema)
        if len(schemas) == 1:
            return schemas[0]
        if all(schema.keys() == {"type"} for schema in schemas):
            return {"type": [schema["type"] for schema in schemas]}
        return {"anyOf": schemas}

    def _list_of(self, inner: tuple[Any, ...]) -> Schema:
        if len(inner) == 1 or inner[1:] == (...,):
            return {"type": "array", "items": self.of(inner[0])}
        return {
            "type": "array",
            "prefixItems": [self.of(each) for each in inner],
            "items": False,
            "minItems": len(inner),
        }

    def _reference(self, kind: type[Any]) -> Schema:
        if kind.__name__ not in self.found:
            self.found[kind.__name__] = {}  # a record may hold others of its kind
            self.found[kind.__name__] = self._definition(kind)
        return {"$ref": f"#/$defs/{kind.__name__}"}

    def _definition(self, kind: type[Any]) -> Schema:
        if kind is Note:
            self.found["Datum"] = _DATUM
            return closed(**_NOTE)
        if kind is Product:
            return closed(**_PRODUCT)
        return closed(sentence_of(kind), self.fields_of(kind))

    def result(self, kind: type[Result]) -> Schema:
        """The whole object that a command prints."""
        begin: dict[str, Schema] = {
            "schema_version": {"type": "integer", "const": SCHEMA_VERSION},
            "command": {"type": "string", "const": kind.command},
        }
        return closed(sentence_of(kind), begin | self.fields_of(kind))

    def _file_of(self, noun: type[Any]) -> Schema:
        """The keys of a noun's file."""
        from kvcalc.catalogue.validation import json_schema  # pydantic, for few commands

        schema = json_schema(noun)
        self.found |= schema.pop("$defs", {})
        del schema["$schema"]
        return schema


def closed(description: str, properties: dict[str, Schema]) -> Schema:
    """An object that has all of these keys and no others."""
    return {
        "type": "object",
        "description": description,
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


def _arms(hint: Any) -> tuple[Any, ...]:
    return get_args(hint) if get_origin(hint) in (Union, UnionType) else (hint,)


def _is_inner(hint: Any) -> bool:
    """Whether it is what a result was computed from, which stays out of JSON.

    Raises:
        TypeError: some of its values would and others would not.
    """
    arms = _arms(hint)
    inner = [each in INNER for each in arms]
    if any(inner) and not all(inner):
        raise TypeError(f"{hint}: JSON would have it at times only; its field wants BESIDE")
    return all(inner)


def _said(schema: Schema, text: str | None) -> Schema:
    return schema if text is None else {**schema, "description": text}
