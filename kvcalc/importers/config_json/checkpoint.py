"""The checkpoint as config.json tells of it: its parameters where they are counted, its quantisation."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, NamedTuple

from kvcalc.fields import MAX_PARAMETERS
from kvcalc.importers.config import Given
from kvcalc.importers.config_json.architectures import Eagle3, NotCounted, OutputHead
from kvcalc.importers.config_json.fields import MAX_VOCABULARY, VOCABULARY
from kvcalc.importers.config_json.heads import HIDDEN
from kvcalc.importers.json_text import parse_mapping

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from kvcalc.importers.config import Config
    from kvcalc.importers.config_json.architectures import Above
    from kvcalc.importers.config_json.parameters import Counted
    from kvcalc.importers.tensors import Weights

_METHOD = re.compile(r"[A-Za-z0-9_.-]{1,40}")
_EIGHT_BITS = (8, "FP8", "fp8", "fp8_e4m3")
_PARTS_OF_TEXT = {"quantization_config", "attn_config", "ffn_config", "linear_attn_config", "transformers.js_config"}


QUANTISED_FILE = "hf_quant_config.json"
"""Where some checkpoints say how they are quantised, beside config.json."""


class Checkpoint(NamedTuple):
    """Fields of the model that say what its weights are, and what else a user should know."""

    fields: tuple[tuple[str, Given], ...]
    notes: tuple[str, ...]


def checkpoint_of(
    config: Config, outer: Mapping[str, Any], counted: Counted | None, weights: Weights | None, above: Above
) -> Checkpoint:
    """What the weights are; of a quantised checkpoint only its files tell.

    Args:
        config: of the text model.
        outer: the file.
        counted: the parameters, where they are known.
        weights: the parts of the checkpoint's files, where they are there.
        above: what stands above the layers.

    Raises:
        KvcalcError: more parameters than can be.
    """
    if counted is not None and counted.parameters > MAX_PARAMETERS:
        raise config.refusal(f"{counted.parameters:,} parameters are beyond the limit of {MAX_PARAMETERS:,}")
    asked = quantisation(config, outer)
    notes = tuple(_notes_of_class(config, above, counted)) if weights is None else weights.notes
    if asked is not None:
        notes = (*notes, *_notes(asked, counted, unknown=weights is None))
        if weights is None:
            return Checkpoint((), notes)
    elif weights is not None and counted is not None and weights.elements != counted.parameters:
        notes = (*notes, f"the files hold {weights.elements:,} elements, config.json describes {counted.parameters:,}")
    if counted is None:
        return Checkpoint((), notes)
    fields = [("parameters", Given(counted.parameters, f"counted, tensor by tensor, as {config.model_type} has them"))]
    if counted.active != counted.parameters:
        fields.append(("active_parameters", Given(counted.active, "those without the experts a token does not pass")))
    return Checkpoint(tuple(fields), notes)


def quantisation(config: Config, outer: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """quantization_config, which may stand inside or around the text model's part; None where there is none."""
    asked = outer.get("quantization_config") or config.values.get("quantization_config")
    return asked if isinstance(asked, dict) and asked else None


def scale_block(config: Config, outer: Mapping[str, Any]) -> int | None:
    """Elements of a row that share a scale; None where none is told.

    Raises:
        KvcalcError: weight_block_size is something else.
    """
    asked = quantisation(config, outer)
    sizes = None if asked is None else asked.get("weight_block_size")
    if sizes is None:
        return None
    if not isinstance(sizes, list) or not sizes or type(sizes[-1]) is not int or not 1 <= sizes[-1] <= MAX_BLOCK:
        raise config.refusal(f"weight_block_size is {str(sizes)[:40]}")
    return int(sizes[-1])


MAX_BLOCK = 10**6


def quantised_beside(text: str, shown: str) -> dict[str, Any] | None:
    """What hf_quant_config.json says, in quantization_config's words; None where it says nothing.

    Raises:
        KvcalcError: it is no such file.
    """
    told = parse_mapping(text, shown).get("quantization")
    if not isinstance(told, dict):
        return None
    return {"quant_method": told.get("quant_algo"), "kv_cache_quant_algo": told.get("kv_cache_quant_algo")}


def has_more_than_text(outer: Mapping[str, Any]) -> bool:
    """Whether a file describes towers beside the text model, whose parameters are not counted here."""
    return any(
        isinstance(value, dict) and key.endswith("_config") and key not in _PARTS_OF_TEXT
        for key, value in outer.items()
    )


def _notes_of_class(config: Config, above: Above, counted: Counted | None) -> Iterator[str]:
    if isinstance(above, NotCounted):
        yield f"parameters are not counted: {above.why}; --parameters N or --weights SIZE gives them"
    if isinstance(above, OutputHead) and config.values.get("draft_vocab_size") and counted is not None:
        yield (
            "counted as a whole model, although draft_vocab_size tells of a draft: "
            "--assume architectures=LlamaForCausalLMEagle3 counts one of EAGLE-3"
        )
    if isinstance(above, Eagle3) and counted is not None:
        table = config.count(*VOCABULARY, most=MAX_VOCABULARY).value * config.count(*HIDDEN).value
        yield (
            f"the draft's embedding is its target's, and not counted: --parameters {counted.parameters + table} is "
            "with one of its own"
        )


def _notes(asked: Mapping[str, Any], counted: Counted | None, *, unknown: bool) -> Iterator[str]:
    method = str(asked.get("quant_method"))
    known = method if _METHOD.fullmatch(method) else "a method without a name"
    if unknown:
        all_in_one = "" if counted is None else f", or --parameters {counted.parameters} --weight-dtype FORMAT for all"
        yield (
            f"the checkpoint is quantised ({known}), and its config.json does not say what each tensor takes: "
            f"its folder with *.safetensors does, or --weights SIZE{all_in_one}"
        )
    scheme = asked.get("kv_cache_scheme") or asked.get("kv_cache_quant_algo")
    if (scheme.get("num_bits") if isinstance(scheme, dict) else scheme) in _EIGHT_BITS:
        yield "the checkpoint asks for a cache in fp8: --cache-dtype fp8"
    elif scheme:
        yield "the checkpoint asks for a cache in a format of its own, which is not taken: --cache-dtype sets it"
