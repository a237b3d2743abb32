"""The text model of a config.json: the file itself, or the part of it that keeps a cache."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from kvcalc.errors import MAX_NAME, KvcalcError, one_line
from kvcalc.importers.config import BY_TYPE, Config
from kvcalc.importers.config_json.defaults import class_defaults
from kvcalc.importers.config_json.families import FAMILIES
from kvcalc.importers.config_json.other_files import other_file
from kvcalc.importers.config_json.spellings import respelled
from kvcalc.importers.config_json.wrappers import (
    DECODERS,
    FLAT,
    LIKE,
    NOT_EXPRESSED,
    PREFIX_SEES_ALL,
    TEXT_PARTS,
    WRAPPERS,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

_CLASS_SUFFIX = re.compile(r"((Model)?For[A-Z]\w*|(With|Custom)?LMHeadModel|(Reward|Encoder|DoubleHeads)?Model)$")
_BY_OTHER_NAME: Mapping[str, str] = {"rw": "falcon", "llavallama": "llava_llama", "llavamistral": "llava_mistral"}
"""Families by names that their first classes had."""


def text_model(outer: dict[str, Any], shown: str, assumed: Mapping[str, Any]) -> Config:
    """The part that describes the text model: the file itself, or what it wraps, by whatever name.

    Args:
        outer: the file.
        shown: its name in messages.
        assumed: keys and values that decide what the file does not.

    Raises:
        KvcalcError: it is no config.json, wraps something in a way that is not known, or has no model_type.
    """
    other = other_file(outer)
    if "model_type" not in assumed and other is not None:
        raise KvcalcError(f"{shown}: it is {other}")
    values: Mapping[str, Any]
    values, around, wrapped = outer, str(outer.get("model_type")), False
    while (part := _part_of(values, shown)) is not None:
        name = str(values.get("model_type"))
        if "model_type" not in assumed and name not in WRAPPERS and not (wrapped and name == "None"):
            raise KvcalcError(f"{shown}: '{one_line(name, MAX_NAME)}' is {_unknown_wrapper(name, values[part])}")
        around, values, wrapped = name if name in WRAPPERS else around, values[part], True
    model_type = assumed.get("model_type") or _text_type(values, around, wrapped=wrapped, shown=shown)
    if not isinstance(model_type, str):
        where = f"the text model of '{one_line(around, MAX_NAME)}'" if wrapped else "it"
        raise KvcalcError(f"{shown}: {where} has no model_type; {by_class(outer)}")
    defaults = class_defaults(model_type, nested=wrapped)
    config = Config(respelled(values, model_type), defaults, shown, model_type, assumed, outer)
    config.ignore("model_type")
    if around in PREFIX_SEES_ALL:
        config.ignore("use_bidirectional_attention")
    return config


def _part_of(values: Mapping[str, Any], shown: str) -> str | None:
    """The key of what a mapping wraps; None in a text model, which may have other mappings by the rarer names."""
    name = str(values.get("model_type"))
    parts = TEXT_PARTS[:1] if name in FAMILIES else TEXT_PARTS
    parts = ("decoder",) if name in DECODERS else parts
    part = next((key for key in parts if values.get(key) is not None), None)
    if part is not None and not isinstance(values[part], dict):
        raise KvcalcError(f"{shown}: {part} is no mapping")
    return part


def _text_type(values: Mapping[str, Any], around: str, *, wrapped: bool, shown: str) -> Any:
    """The type of a text model; one that goes by its wrapper's name is what the wrapper's class takes."""
    stated = values.get("model_type")
    if not isinstance(stated, str):
        return WRAPPERS.get(around)
    if not wrapped and stated in FLAT:
        return FLAT[stated]
    stated = LIKE.get(stated, stated)
    if stated not in WRAPPERS or stated in FAMILIES:
        return stated
    text_type = WRAPPERS[stated]
    if not wrapped:
        way = f"--assume model_type={text_type} reads all of it as one" if text_type else BY_TYPE
        raise KvcalcError(f"{shown}: '{stated}' is a model_type around a text_config, which the file lacks; {way}")
    return text_type or WRAPPERS.get(around)


def _unknown_wrapper(around: str, inner: Mapping[str, Any]) -> str:
    if around in NOT_EXPRESSED:
        return NOT_EXPRESSED[around]
    text_type = inner.get("model_type")
    if isinstance(text_type, str) and text_type in FAMILIES:
        way = f"--assume model_type={text_type} takes its text_config for all that keeps a cache"
    else:
        way = BY_TYPE
    return f"a model_type that wraps a text_config, and is not known; {way}"


def by_class(outer: Mapping[str, Any]) -> str:
    """How a user says which family a file belongs to, with a suggestion by the class that it names."""
    named = outer.get("architectures")
    first = named[0] if isinstance(named, list) and named and isinstance(named[0], str) else ""
    plain = {**{name.replace("_", "").replace("-", ""): name for name in FAMILIES}, **_BY_OTHER_NAME}
    found = plain.get(_CLASS_SUFFIX.sub("", first.removeprefix("TF").removeprefix("Flax")).lower())
    return f"--assume model_type={found} reads it as {first}" if found else BY_TYPE
