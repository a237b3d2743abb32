"""A model of the catalogue under a name that somebody typed: its weights as the name says, and notes on both."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING

from kvcalc.catalogue.address import is_address
from kvcalc.catalogue.found_model import GGUF_ENGINE, FoundModel
from kvcalc.errors import KvcalcError
from kvcalc.formats.file_types import EXPERTS_APART, is_mix, shown
from kvcalc.formats.weights import find_asked_format, find_weight_format, is_for_layers_alone, is_of_llama_cpp, is_plain
from kvcalc.importers.model_yaml import weight_line
from kvcalc.model.in_file import EXPERTS_STAY
from kvcalc.model.model import WeightPart
from kvcalc.model.quantised import parts_in
from kvcalc.model.recipes import recipe_of
from kvcalc.note import Note, note

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kvcalc.catalogue.by_name import ByName
    from kvcalc.formats.element import ElementFormat
    from kvcalc.model.model import Model

DEFAULT_OF_GGUF = "q4_k_m"
"""What llama.cpp takes of a repository with several files (common/arg.cpp, -hf: "defaults to Q4_K_M")."""
OF_MXFP4 = "mxfp4_moe"
"""What ggml-org's files of models with experts in mxfp4 are in: gpt-oss-20b-mxfp4.gguf of 12,109,566,624 bytes."""

_UNLESS_TOLD = ("which llama.cpp takes of a GGUF repository unless told", "as ggml-org's file of the model has them")
_ONE_FILE = "ggml-org/"
"""Who has one file of such a model; others' repositories (unsloth's) have them in all file types."""
_SHOWN = 100
_OTHERS = 3
_WEIGHTS = re.compile(r"^(?:hub_ids|aliases|weight_dtype|quant_method|weights):.*\n(?:^  - .*\n)*", re.MULTILINE)


def derived(found: FoundModel, by: ByName, text: str) -> FoundModel:
    """The model with the weights that its name says.

    Args:
        found: the catalogue's.
        by: how its name was understood.
        text: the name.
    """
    notes = tuple(_notes(found.model, by, text))
    stored = _stored(found.model, by, text)
    if stored is None:
        return found._replace(notes=notes)
    model = _stored_in(found.model, stored, in_file=by.told.gguf)
    notes = (*notes, _of_weights(found.model, model, stored, by))
    engine = GGUF_ENGINE if by.told.gguf else None
    written = None if model is found.model else _written(found.text, model)
    origin = found.origin if model.parameters is not None else f"'{text[:_SHOWN]}'"
    return found._replace(model=model, origin=origin, notes=notes, engine=engine, written=written)


def _stored(model: Model, by: ByName, text: str) -> str | None:
    """The format of the weights by the name, and by what a GGUF file of the model is in unless told."""
    has_one = by.told.stored is None and text.lower().startswith(_ONE_FILE)
    if by.told.gguf and EXPERTS_STAY in _own(model) and (has_one or by.told.stored == EXPERTS_STAY):
        return OF_MXFP4
    return by.told.stored or (DEFAULT_OF_GGUF if by.told.gguf else None)


def _own(model: Model) -> set[str]:
    """The formats of the catalogue's own weights."""
    return {part.format for part in model.weights if not part.scales} or {model.weight_dtype or model.dtype or "bf16"}


def _stored_in(model: Model, stored: str, *, in_file: bool) -> Model:
    """The model with its weights in a format; without parameters where that is not known."""
    asked = _known(stored)
    if asked is None:
        return replace(model, parameters=None, active_parameters=None, weight_dtype=None, quant_method=None, weights=())
    if _has_it(model, asked, in_file=in_file):
        return model
    parts = parts_in(model, asked)
    if parts is None and model.parameters is not None:
        apart = (model.tower_parameters or 0) if is_of_llama_cpp(asked) else 0
        parts = (WeightPart(part="parameters", parameters=model.parameters - apart, format=asked.name),)
    return replace(model, weight_dtype=asked.name, quant_method=None, weights=parts or ())


def _known(stored: str) -> ElementFormat | None:
    try:
        return find_asked_format(stored, "weights")
    except KvcalcError:
        return None


def _has_it(model: Model, asked: ElementFormat, *, in_file: bool) -> bool:
    """Whether the catalogue's own weights are in that format already, or those that a file of llama.cpp changes."""
    own = _own(model)
    if asked.name in EXPERTS_APART:
        return False
    if is_plain(asked):
        return all(
            is_plain(find_weight_format(each, "format")) for each in own - ({EXPERTS_STAY} if in_file else set())
        )
    return any(each.partition("_")[0] == asked.name.partition("_")[0] for each in own)


def _notes(model: Model, by: ByName, text: str) -> Iterator[Note]:
    shown = text[:_SHOWN]
    if by.others:
        names = ", ".join(by.others[:_OTHERS])
        among = f"{names} and others" if len(by.others) > _OTHERS else names
        yield note(
            "model-by-name",
            f"'{shown}' is assumed to be {model.name}, the newest of those that keep the same cache (also {among})",
            name=model.name,
            others=by.others,
        )
    elif by.alias:
        yield note("model-by-name", f"'{shown}' is another name of {model.name}", name=model.name, others=())
    elif not by.same:
        text = (
            f"'{shown}' is assumed to be {model.name}, {'the only size of it here' if by.one_size else 'by its name'}"
        )
        if _is_on_the_hub(shown) and not by.told.gguf:
            text += f", and its own file may say otherwise (hf:{shown} reads it)"
        yield note("model-by-name", text, name=model.name, others=())


def _is_on_the_hub(name: str) -> bool:
    """Whether it is ORG/NAME, not an address, the tag of a registry or the name of one who serves it."""
    return name.count("/") == 1 and ":" not in name and not is_address(name)


def _of_weights(published: Model, model: Model, stored: str, by: ByName) -> Note:
    """What the weights are assumed to be in."""
    asked = _known(stored)
    if asked is None:
        text = (
            f"weights in {stored}, as the name says: what they take is not known; --weights SIZE gives it, or "
            f"name {published.name} with --weight-dtype"
        )
    elif model is published:
        text = f"weights in {stored}, as the name says, are what {published.name} has already"
    else:
        left = is_for_layers_alone(asked) and len(model.weights) > 1
        recipe = recipe_of(published, asked.name)
        where = ", the layers' matrices alone" if left else ""
        where = where if recipe is None else f", of those matrices that {recipe.checkpoint} has in it"
        said = "as the name says" if by.told.stored else _UNLESS_TOLD[stored == OF_MXFP4]
        where += ", by the bits of Llama-3.1-8B's file, near those of other models" if is_mix(asked) else ""
        text = (
            f"weights in {shown(asked)}, {said}{where} (--weight-dtype sets another format, --weights SIZE the bytes)"
        )
    return note("weights-by-name", text, format=None if asked is None else shown(asked))


def _written(text: str, model: Model) -> str:
    """The model's file with its weights as they are now."""
    kept = _WEIGHTS.sub("", text)
    if model.parameters is None:
        return re.sub(r"^(?:active_)?parameters: .*\n", "", kept, flags=re.MULTILINE)
    lines = [f"weight_dtype: {model.weight_dtype}", "weights:", *map(weight_line, model.weights)]
    return kept.replace("\nlayers:", "\n" + "\n".join(lines) + "\nlayers:", 1)
