"""Strictness is kvcalc's own: no class of a file leaves it to what a version of pydantic passes on to it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import fields
from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from kvcalc.catalogue.validation import json_schema
from kvcalc.gpu import Gpu
from kvcalc.mechanisms import KINDS
from kvcalc.model.layers import LayerGroup, Repeat
from kvcalc.model.model import Model, WeightPart

NOUNS: tuple[Any, ...] = (Model, WeightPart, LayerGroup, Repeat, Gpu, *KINDS.values())
"""What the mappings of files become."""

UNKNOWN = "unexpected_keyword_argument"


def described(schema: object) -> Iterator[dict[str, Any]]:
    """Every object that a JSON Schema describes."""
    for inner in schema.values() if isinstance(schema, dict) else schema if isinstance(schema, list) else ():
        yield from described(inner)
    if isinstance(schema, dict) and schema.get("type") == "object":
        yield schema


@pytest.mark.parametrize("noun", NOUNS, ids=lambda noun: noun.__name__)
def test_each_class_refuses_unknown_keys_by_itself(noun: Any) -> None:
    with pytest.raises(ValidationError) as refused:
        TypeAdapter(noun).validate_json('{"windw": 5}')
    assert ("windw",) in [each["loc"] for each in refused.value.errors() if each["type"] == UNKNOWN]


@pytest.mark.parametrize("noun", NOUNS, ids=lambda noun: noun.__name__)
def test_each_class_takes_exact_types_by_itself(noun: Any) -> None:
    numbers = {each.name for each in fields(noun) if each.type in {"Dim", "Dim | None", "Count", "LayerCount"}}
    with pytest.raises(ValidationError) as refused:
        TypeAdapter(noun).validate_json(json.dumps(dict.fromkeys(numbers, "2") | {"": "none of its keys"}))
    assert {each["loc"][0] for each in refused.value.errors() if each["type"] == "int_type"} == numbers


def test_the_schema_closes_every_object() -> None:
    schema = json_schema(Model)
    objects = [*described(schema)]
    assert {each["title"] for each in objects} == {noun.__name__ for noun in NOUNS if noun is not Gpu}
    assert [each["title"] for each in objects if each.get("additionalProperties") is not False] == []
