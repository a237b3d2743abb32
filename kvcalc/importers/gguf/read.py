"""From a GGUF file, or the files that one was split into, to a model."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from kvcalc.errors import KvcalcError, did_you_mean
from kvcalc.files import is_there
from kvcalc.importers.config import BY_HAND, Config
from kvcalc.importers.gguf.cache_keys import CACHE_KEYS
from kvcalc.importers.gguf.families import FAMILIES, NOTHING_KEPT
from kvcalc.importers.gguf.feed_forward import model_type, of_experts, width_of_blocks
from kvcalc.importers.gguf.fork_types import scales_apart
from kvcalc.importers.gguf.header import MAX_TENSORS, Header, Skipped, read_header
from kvcalc.importers.gguf.layers import DRAFTS, HIDDEN, PATTERN, WINDOW, unused
from kvcalc.importers.imported_layer import grouped
from kvcalc.importers.imported_model import ImportedModel, model_name
from kvcalc.importers.key_checks import assumption_notes, refuse_unread_keys
from kvcalc.importers.sourced import Sourced
from kvcalc.importers.weight_parts import refuse_missing_layers, weights_of
from kvcalc.model.model import Model
from kvcalc.note import Note, note
from kvcalc.units import MAX_CONTEXT

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from kvcalc.importers.imported_layer import ImportedLayer
    from kvcalc.importers.weight_parts import Weights

_SPLIT = re.compile(r"(.*)-(\d{5})-of-(\d{5})\.gguf", re.IGNORECASE)
MAX_FILES = 1000
OUTPUT = "output.weight"


def import_gguf(path: Path, shown: str, assumed: Mapping[str, Any]) -> ImportedModel:
    """The model of a GGUF file; of a split one the first file is named, and the others lie beside it.

    Args:
        path: of the file.
        shown: its name in messages.
        assumed: keys and values that decide what the file does not.

    Raises:
        KvcalcError: it cannot be read, or is not understood.
    """
    match = _SPLIT.fullmatch(path.name)
    return model_of_header(_whole(path, shown), model_name(match[1] if match else path.stem), shown, assumed)


def model_of_header(header: Header, name: str, shown: str, assumed: Mapping[str, Any]) -> ImportedModel:
    """The model of a header.

    Args:
        header: whose tensors may be none, where only the keys are known.
        name: of the model.
        shown: what the header is of, in messages.
        assumed: keys and values that decide what the header does not.

    Raises:
        KvcalcError: it is not understood.
    """
    config = _config(header, shown, assumed)
    layers = tuple(FAMILIES[config.model_type](config))
    unused(config, WINDOW, PATTERN)
    refuse_missing_layers(header.tensors, layers, shown)
    tied = not any(tensor.name == OUTPUT for tensor in header.tensors)
    weights = weights_of(scales_apart(header.tensors), len(layers), head="tied" if tied else "own", shown=shown)
    named = Sourced(name, "the name of the file")
    fields = (("name", named), *_fields(config, header, weights, tied=tied))
    refuse_unread_keys(config, lambda values: {name for name in CACHE_KEYS if values.get(name)})
    try:
        values = {key: given.value for key, given in fields}
        model = Model(**values, weights=weights.parts, layers=grouped(layers))
    except ValueError as error:
        raise config.refusal(str(error)) from error
    notes = (*assumption_notes(config), *_unused_window(config, layers), *_cut_off(header), *weights.notes)
    return ImportedModel(model, fields, layers, notes, f"a GGUF file of {config.model_type}")


def _cut_off(header: Header) -> Iterator[Note]:
    """A note on a file that lacks some of its tensors: its header tells their sizes all the same."""
    if header.missing:
        what = f"{header.missing:,} bytes of its tensors are not there"
        yield note("files-not-read", f"{what}: the weights are as its header lists them", reason=what)


def _unused_window(config: Config, layers: Sequence[ImportedLayer]) -> Iterator[Note]:
    """A note on a file with a window that no layer has."""
    stated = config.values.get(WINDOW)
    if (
        stated
        and WINDOW not in config.assumed
        and all(layer.window is None and layer.chunk is None for layer in layers)
    ):
        yield note(
            "unused-window",
            f"{WINDOW} is {stated}, which llama.cpp does not use of {config.model_type}: layers keep all positions",
            key=WINDOW,
        )


def _config(header: Header, shown: str, assumed: Mapping[str, Any]) -> Config:
    """The keys of the architecture, without its name."""
    given = header.values.get("general.architecture")
    architecture = assumed.get("general.architecture") or given
    if not isinstance(architecture, str):
        raise KvcalcError(f"{shown}: it has no general.architecture")
    if architecture in NOTHING_KEPT:
        raise KvcalcError(f"{shown}: '{architecture}' is {NOTHING_KEPT[architecture]}")
    if architecture not in FAMILIES:
        hint = did_you_mean(architecture, FAMILIES) or ";"
        raise KvcalcError(f"{shown}: architecture '{architecture[:60]}' is not known{hint} {BY_HAND}")
    prefix = f"{given}."
    values = {
        key.removeprefix(prefix): value
        for key, value in header.values.items()
        if key.startswith(prefix) and not isinstance(value, Skipped)
    }
    config = Config(values, {}, shown, architecture, assumed)
    config.ignore("general.architecture")
    return config


def _whole(path: Path, shown: str) -> Header:
    """The header, with the tensors of all files that belong together.

    Raises:
        KvcalcError: a file is missing, or is not the first.
    """
    header = read_header(path, shown)
    count, number = header.values.get("split.count", 0), header.values.get("split.no", 0)
    if not count or count == 1:
        return header
    match = _SPLIT.fullmatch(path.name)
    if type(count) is not int or type(number) is not int or not 1 < count <= MAX_FILES:
        raise KvcalcError(f"{shown}: split into {str(count)[:20]} files")
    if match is None or int(match[3]) != count:
        raise KvcalcError(f"{shown}: one of {count} files, whose names end in -00001-of-{count:05}.gguf")
    if number:
        raise KvcalcError(f"{shown}: file {number + 1} of {count}; name the first, which describes the model")
    tensors, missing = list(header.tensors), header.missing
    for each in range(2, count + 1):
        name = f"{match[1]}-{each:05}-of-{count:05}.gguf"
        if not is_there(path.parent / name):
            raise KvcalcError(f"{shown}: one of {count} files, and {name} is not beside it")
        part = read_header(path.parent / name, f"{path.parent.name}/{name}")
        tensors, missing = tensors + list(part.tensors), missing + part.missing
        if len(tensors) > MAX_TENSORS:
            raise KvcalcError(f"{shown}: more than {MAX_TENSORS:,} tensors in {count} files")
    expected = header.values.get("split.tensors.count", len(tensors))
    if expected != len(tensors):
        raise KvcalcError(
            f"{shown}: {len(tensors):,} tensors in {count} files, and split.tensors.count is {str(expected)[:20]}"
        )
    return Header(header.values, tuple(tensors), missing)


def _fields(config: Config, header: Header, weights: Weights, *, tied: bool) -> Iterator[tuple[str, Sourced]]:
    """The model's fields but its layers and weights, those that the file gives."""
    if (named := model_type(config)) is not None:
        yield "model_type", named
    yield "hidden_size", config.count(HIDDEN)
    if (width := width_of_blocks(config)) is not None:
        yield "intermediate_size", width
    words = header.values.get("tokenizer.ggml.tokens")
    stated = config.optional_count("vocab_size", most=10**8)
    if stated is not None:
        yield "vocab_size", stated
    elif isinstance(words, Skipped) and 0 < words.length <= 10**8:
        yield "vocab_size", Sourced(words.length, "length of tokenizer.ggml.tokens")
    longest = config.optional_count("context_length", most=MAX_CONTEXT)
    if longest is not None:
        yield "max_context", longest
    if header.tensors:
        yield "tie_word_embeddings", Sourced(tied, f"{OUTPUT} is {'not ' if tied else ''}there")
    yield from of_experts(config)
    drafts = config.optional_count(DRAFTS, least=0)
    if drafts is not None and drafts.value:
        yield "mtp_layers", drafts
    yield "dtype", Sourced("fp16", "llama.cpp keeps its cache in f16 by default")
    if weights.elements:
        yield "parameters", Sourced(weights.elements, "elements of the tensors")
