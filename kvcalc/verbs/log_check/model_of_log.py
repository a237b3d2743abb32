"""Which model of the catalogue a log's server has, and in which format its weights are."""

from __future__ import annotations

import re
from dataclasses import replace
from fractions import Fraction
from typing import TYPE_CHECKING, NamedTuple

from kvcalc.catalogue import meant_model, named_model
from kvcalc.catalogue.elsewhere import cached_id, name_in_path
from kvcalc.errors import KvcalcError
from kvcalc.formats.told import told_format
from kvcalc.formats.weights import find_weight_format, is_plain
from kvcalc.note import Note, note
from kvcalc.scenario import checkpoint_format
from kvcalc.term import Product

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kvcalc.logs import ServerLog
    from kvcalc.model.model import Model

_COUNTS = {"T": 10**12, "B": 10**9, "M": 10**6, "K": 10**3}
"""src/llama-model.cpp, print_info."""

ALIKE = Fraction(1, 5)
"""How far the weights that are loaded may be from a file's: towers, and embeddings that are kept twice."""

NAME_IT = "kvcalc capacity MODEL --from-log FILE"

_HUB_ID = re.compile(r"[\w.-]{1,96}/[\w.-]{1,96}")
_QUANTIZATIONS = {
    "fp8": "fp8",
    "fbgemm_fp8": "fp8",
    "ptpc_fp8": "fp8",
    "modelopt": "fp8",
    "modelopt_fp4": "nvfp4",
    "nvfp4": "nvfp4",
    "mxfp4": "mxfp4",
    "awq": "int4",
    "awq_marlin": "int4",
    "gptq": "int4",
    "gptq_marlin": "int4",
    "bitsandbytes": "nf4",
}
"""vLLM, model_executor/layers/quantization: formats by the name of their method; of others the checkpoint decides."""


class LoggedModel(NamedTuple):
    """A model and its weights.

    Attributes:
        weight_format: None: as its checkpoint has them.
        weights_known: whether their format is.
    """

    model: Model
    weight_format: str | None
    weights_known: bool
    notes: tuple[Note, ...]


def hub_id(log: ServerLog) -> str | None:
    """The model's name on the Hub, where the log has one; a path of its machine is not repeated."""
    text = log.model or ""
    if (cached := cached_id(text)) is not None:
        return cached
    return text if _HUB_ID.fullmatch(text) and not text.startswith(".") else None


def model_of(log: ServerLog, named: Model | None) -> LoggedModel:
    """The model that a server has, and how its weights are stored.

    Args:
        log: what a server said.
        named: the model that is named beside it, which wins; None: the log's own is looked up in the catalogue.

    Raises:
        KvcalcError: the log does not name a model, or none that is known.
    """
    quantization = log.settings.get("--weight-dtype", "").lower().removeprefix("none")
    name = _last(log)
    if named is not None:
        return _weights(named, name, quantization, ()) if log.engine != "llama-cpp" else _own_weights(named, log)
    printed = _printed_shape(log, name)
    if printed is not None:
        return LoggedModel(printed, None, weights_known=False, notes=(_by_shape(printed),))
    if not name:
        raise KvcalcError(f"--from-log: the log does not name its model; name it: {NAME_IT}")
    by_id = named_model(hub_id(log) or "")
    if by_id is not None:
        return _stored(log, by_id, name, quantization, ())
    is_gguf = name.lower().endswith(".gguf")  # whose format is no checkpoint's of that name (Qwen3.6-27B-NVFP4.gguf)
    found = meant_model(hub_id(log) or (None if is_gguf else name_in_path(log.model or "")) or name)
    if found is None:
        shown = hub_id(log)
        told = f"model '{shown}' is not in the catalogue" if shown else "model is a path of its machine"
        raise KvcalcError(f"--from-log: the log's {told}; name one that is alike, or its file: {NAME_IT}")
    by_name = note("model-by-name", f"the log's model is assumed to be {found.name} of the catalogue, by its name")
    return _stored(log, found, name, quantization, (by_name,))


def _stored(log: ServerLog, model: Model, name: str, quantization: str, notes: tuple[Note, ...]) -> LoggedModel:
    """By the name, unless llama.cpp prints how much it loads: mixes of one name differ from file to file."""
    if log.engine == "llama-cpp" and log.total("model buffer") is not None:
        return LoggedModel(model, None, weights_known=False, notes=notes)
    return _weights(model, name, quantization, notes)


def _printed_shape(log: ServerLog, name: str) -> Model | None:
    """The model of the keys that the log has of its file; None where it has too few."""
    if not log.metadata:
        return None
    from kvcalc.importers.gguf.printed import import_printed
    from kvcalc.importers.imported_model import model_name

    called = log.metadata.get("general.name") or name.removesuffix(".gguf") or "the log's model"
    found = import_printed(log.metadata, model_name(called), "the log")
    return None if found is None else replace(found.model, parameters=_printed_parameters(log))


def _printed_parameters(log: ServerLog) -> int | None:
    """As llama.cpp prints them, '8.03 B': the share of one matrix in a size that is printed of all weights."""
    number, _, unit = log.metadata.get("model params", "").partition(" ")
    if not re.fullmatch(r"\d{1,4}\.\d{2}", number) or unit not in _COUNTS:
        return None
    return int(float(number) * _COUNTS[unit])


def _by_shape(model: Model) -> Note:
    return note(
        "model-as-logged",
        f"the model is read from the keys of its file, as the log prints them: {model.name}",
        model=model.name,
    )


def _last(log: ServerLog) -> str:
    """The last part of its name, in lower case."""
    return (hub_id(log) or log.model or "").rstrip("/\\").replace("\\", "/").rpartition("/")[2].lower()


def _weights(model: Model, name: str, quantization: str, notes: tuple[Note, ...]) -> LoggedModel:
    """In which format they are: what the name says, else the method; else the checkpoint's own."""
    told = told_format(name).stored or _QUANTIZATIONS.get(quantization)
    if told is None:
        own = not quantization or _is_quantised(model)
        return LoggedModel(model, None, own, notes)
    if told == checkpoint_format(model).name or any(part.format == told for part in model.weights):
        return LoggedModel(model, None, weights_known=True, notes=notes)
    try:
        find_weight_format(told, "--weight-dtype")
    except KvcalcError:
        return LoggedModel(model, None, weights_known=False, notes=notes)
    return LoggedModel(model, told, weights_known=True, notes=notes)


def _own_weights(model: Model, log: ServerLog) -> LoggedModel:
    """As the model's file lists them, where llama.cpp loads about as much; else its file has formats of its own."""
    printed = log.total("model buffer")
    size = sum(each.bytes for each in _listed(model))
    alike = printed is None or abs(size - printed.value) <= ALIKE * printed.value
    return LoggedModel(model, None, weights_known=(bool(model.weights) or _is_as_wide(model, log)) and alike, notes=())


def _is_as_wide(model: Model, log: ServerLog) -> bool:
    """Whether its file's name says 16 bits (Qwen3-8B-BF16.gguf), which the model has."""
    told, own = told_format(_last(log)).stored, checkpoint_format(model)
    return (
        told in {"bf16", "fp16"} and is_plain(own) and own.block_bytes == find_weight_format(told, "told").block_bytes
    )


def _listed(model: Model) -> Iterator[Product]:
    for part in model.weights:
        yield Product(part.part, find_weight_format(part.format, "format").parameters(part.parameters), "the file")


def _is_quantised(model: Model) -> bool:
    if model.weights:
        return any(not is_plain(find_weight_format(part.format, "format")) for part in model.weights)
    return not is_plain(checkpoint_format(model))
