"""From the text of a config.json to a model: refused where anything is not understood."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from kvcalc.errors import MAX_NAME, KvcalcError, did_you_mean, one_line
from kvcalc.importers.config import BY_TYPE, Config
from kvcalc.importers.config_json.architectures import OutputHead, above_layers, head_of
from kvcalc.importers.config_json.cache_keys import SYNONYMS, cache_keys, repeated_keys
from kvcalc.importers.config_json.checkpoint import checkpoint_of, key_beside_text
from kvcalc.importers.config_json.defaults import class_defaults
from kvcalc.importers.config_json.families import FAMILIES
from kvcalc.importers.config_json.model_fields import model_fields
from kvcalc.importers.config_json.other_files import other_file
from kvcalc.importers.config_json.parameters import count_parameters
from kvcalc.importers.config_json.quantisation import quantisation_of, scale_block
from kvcalc.importers.config_json.rotary import rotary_fields
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
from kvcalc.importers.imported_layer import grouped
from kvcalc.importers.imported_model import ImportedModel, model_name
from kvcalc.importers.json_text import parse_mapping
from kvcalc.importers.key_checks import assumption_notes, refuse_unread_keys
from kvcalc.importers.sourced import Sourced
from kvcalc.model.model import Model

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kvcalc.importers.safetensors import Headers

_CLASS_SUFFIX = re.compile(r"(ForCausalLM|LMHeadModel|ForConditionalGeneration|Model)$")


def import_config(
    text: str,
    shown: str,
    name: str,
    assumed: Mapping[str, Any] | None = None,
    headers: Headers | None = None,
    quantised: Mapping[str, Any] | None = None,
) -> ImportedModel:
    """The model that a config.json describes.

    Args:
        text: of the file.
        shown: its name in messages.
        name: of the model.
        assumed: keys and values that decide what the file does not.
        headers: of the checkpoint's files, where they are known.
        quantised: the settings of quantisation of a file beside it.

    Raises:
        KvcalcError: not JSON, or a model_type, a layer type or keys that are not understood.
    """
    outer = parse_mapping(text, shown)
    config = _text_model(outer, shown, assumed or {})
    model_type = config.model_type
    if model_type not in FAMILIES:
        raise KvcalcError(f"{shown}: {_why_not(model_type)}")
    layers = tuple(FAMILIES[model_type](config))
    named = Sourced(model_name(name), "the name of the file, folder or repository")
    sizes = {"model_type": _type_of(config, outer), **dict(model_fields(config, outer))}
    sizes |= dict(rotary_fields(config, layers, sizes.get("max_context")))
    tied = "tie_word_embeddings" in sizes and sizes["tie_word_embeddings"].value
    above = above_layers(config, outer)
    if not isinstance(above, OutputHead):
        sizes.pop("tie_word_embeddings", None)  # it would mean that there is an output head
    beside = key_beside_text(
        {key: value for key, value in outer.items() if (assumed or {}).get(key, value) is not None}
    )
    counted = None if beside is not None else count_parameters(config, layers, above, tied=tied)
    asked, weights = quantisation_of(config, outer, quantised), None
    if headers is not None:
        from kvcalc.importers.weight_parts import refuse_missing_layers, weights_of  # noqa: PLC0415  # for start-up time

        refuse_missing_layers(headers.tensors, layers, shown)
        block = scale_block(config, asked)
        weights = weights_of(headers.tensors, len(layers), head=head_of(above, tied=tied), shown=shown, block=block)
    checkpoint = checkpoint_of(config, asked, counted, weights, above, beside)
    fields = (("name", named), *sizes.items(), *checkpoint.fields)
    config.ignore(*repeated_keys(config.values, layers))
    refuse_unread_keys(config, cache_keys, SYNONYMS)
    try:
        model = Model(
            **{key: given.value for key, given in fields},
            layers=grouped(layers),
            weights=weights.parts if weights else (),
        )
    except ValueError as error:
        raise config.refusal(str(error)) from error
    notes = (*assumption_notes(config), *checkpoint.notes)
    return ImportedModel(model, fields, layers, notes, f"a config.json of {model_type}")


def _type_of(config: Config, outer: Mapping[str, Any]) -> Sourced:
    """The model_type of the whole file, by which engines choose; the one that is assumed where it has none."""
    stated = outer.get("model_type")
    if "model_type" in config.assumed or not isinstance(stated, str):
        return Sourced(config.model_type, "model_type, as it is taken")
    return Sourced(stated, "model_type")


def _text_model(outer: dict[str, Any], shown: str, assumed: Mapping[str, Any]) -> Config:
    """The part that describes the text model: the file itself, or what it wraps, by whatever name."""
    other = other_file(outer)
    if "model_type" not in assumed and other is not None:
        raise KvcalcError(f"{shown}: it is {other}")
    values, around, wrapped = outer, str(outer.get("model_type")), False
    while (part := _part_of(values, shown)) is not None:
        name = str(values.get("model_type"))
        if "model_type" not in assumed and name not in WRAPPERS and not (wrapped and name == "None"):
            raise KvcalcError(f"{shown}: '{one_line(name, MAX_NAME)}' is {_unknown_wrapper(name, values[part])}")
        around, values, wrapped = name if name in WRAPPERS else around, values[part], True
    model_type = assumed.get("model_type") or _type_of(values, around, wrapped=wrapped, shown=shown)
    if not isinstance(model_type, str):
        where = f"the text model of '{one_line(around, MAX_NAME)}'" if wrapped else "it"
        raise KvcalcError(f"{shown}: {where} has no model_type; {_which(outer)}")
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


def _type_of(values: Mapping[str, Any], around: str, *, wrapped: bool, shown: str) -> Any:
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


def _why_not(model_type: str) -> str:
    if model_type in NOT_EXPRESSED:
        return f"'{model_type}' is {NOT_EXPRESSED[model_type]}"
    hint = did_you_mean(model_type, FAMILIES) or ";"
    return f"model_type '{one_line(model_type, MAX_NAME)}' is not known{hint} {BY_TYPE}"


def _unknown_wrapper(around: str, inner: Mapping[str, Any]) -> str:
    if around in NOT_EXPRESSED:
        return NOT_EXPRESSED[around]
    text_type = inner.get("model_type")
    if isinstance(text_type, str) and text_type in FAMILIES:
        way = f"--assume model_type={text_type} takes its text_config for all that keeps a cache"
    else:
        way = BY_TYPE
    return f"a model_type that wraps a text_config, and is not known; {way}"


def _which(outer: Mapping[str, Any]) -> str:
    """How a user says which family a file belongs to, with a suggestion by the class that it names."""
    named = outer.get("architectures")
    first = named[0] if isinstance(named, list) and named and isinstance(named[0], str) else ""
    plain = {name.replace("_", "").replace("-", ""): name for name in FAMILIES}
    found = plain.get(_CLASS_SUFFIX.sub("", first).lower())
    return f"--assume model_type={found} reads it as {first}" if found else BY_TYPE
