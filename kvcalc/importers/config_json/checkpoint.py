"""The checkpoint that config.json describes: its parameters where they are counted, its quantisation."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, NamedTuple

from kvcalc.errors import MAX_NAME, one_line
from kvcalc.fields import MAX_PARAMETERS
from kvcalc.importers.config_json.architectures import DFlash, Eagle3, NotCounted, OutputHead
from kvcalc.importers.config_json.heads import HIDDEN
from kvcalc.importers.config_json.model_fields import MAX_VOCABULARY, VOCABULARY
from kvcalc.importers.config_json.quantisation import INSIDE, quantisation_notes
from kvcalc.importers.config_json.wrappers import TEXT_PARTS
from kvcalc.importers.sourced import Sourced
from kvcalc.note import Note, note

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from kvcalc.importers.config import Config
    from kvcalc.importers.config_json.architectures import Above
    from kvcalc.importers.config_json.parameters import Counted
    from kvcalc.importers.config_json.quantisation import Quantisation
    from kvcalc.importers.weight_parts import Weights

_PARTS_OF_TEXT = {*INSIDE, "attn_config", "ffn_config", "init_config", "linear_attn_config", "per_layer_config"}
_PARTS_OF_TEXT |= {"transformers.js_config"}
_PARTS_OF_TEXT |= {
    f"{name}_config"
    for name in ("dflash", "dual_chunk_attention", "eagle", "generation", "lora", "peft", "speculative")
}
_SENSES = re.compile(r"(^|_)(vision|visual|img|image|audio|speech|video|mm)(_|$)")
_WORDS_FOR_THEM = re.compile(r"token|_ids?$|_index$")


class Beside(NamedTuple):
    """What shows more than a text model.

    Attributes:
        key: of the file.
        text_model: the text model's parameters, where they are known.
    """

    key: str
    text_model: Counted | None


class Checkpoint(NamedTuple):
    """Fields of the model about its weights, and notes."""

    fields: tuple[tuple[str, Sourced], ...]
    notes: tuple[Note, ...]


def checkpoint_of(
    config: Config,
    asked: Quantisation | None,
    counted: Counted | None,
    weights: Weights | None,
    above: Above,
    beside: Beside | None,
    stored: str | None,
) -> Checkpoint:
    """Fields and notes about the weights; those of a quantised checkpoint are known from its files alone.

    Args:
        config: of the text model.
        asked: how it is quantised.
        counted: the parameters, where they are known.
        weights: the parts of the checkpoint's files, where they are there.
        above: what the class has on top of the layers.
        beside: what shows more than a text model.
        stored: the format of a quantised checkpoint's matrices, where its settings decide it.

    Raises:
        KvcalcError: more parameters than can be.
    """
    if counted is not None and counted.parameters > MAX_PARAMETERS:
        raise config.refusal(f"{counted.parameters:,} parameters are beyond the limit of {MAX_PARAMETERS:,}")
    notes = tuple(_notes_of_class(config, above, counted, beside)) if weights is None else weights.notes
    if asked is not None:
        parameters = None if counted is None else counted.parameters
        notes = (*notes, *quantisation_notes(asked, parameters, stored, unknown=weights is None))
    if asked is not None and asked.weights:
        if weights is None and stored is None:
            return Checkpoint((), notes)
    elif weights is not None and counted is not None and weights.elements != counted.parameters:
        differ = note(
            "elements-differ",
            f"the files hold {weights.elements:,} elements, config.json describes {counted.parameters:,}",
            elements=weights.elements,
            parameters=counted.parameters,
        )
        notes = (*notes, differ)
    if counted is None:
        return Checkpoint((), notes)
    fields = [
        ("parameters", Sourced(counted.parameters, f"counted, tensor by tensor, as {config.model_type} has them"))
    ]
    if counted.active != counted.parameters:
        fields.append(("active_parameters", Sourced(counted.active, "those without the experts a token does not pass")))
    return Checkpoint(tuple(fields), notes)


def keys_beside_text(outer: Mapping[str, Any]) -> tuple[str, ...]:
    """The keys that describe something beside the text model; the part around which there is more comes last."""
    found = [
        key
        for key, value in outer.items()
        if (isinstance(value, dict) and key.endswith("_config") and key not in _PARTS_OF_TEXT)
        or (value and _SENSES.search(key) and not _WORDS_FOR_THEM.search(key))
    ]
    return tuple(sorted(found, key=TEXT_PARTS.__contains__))


def _notes_of_class(config: Config, above: Above, counted: Counted | None, beside: Beside | None) -> Iterator[Note]:
    unknown, least = above.reason if isinstance(above, NotCounted) else None, None
    if beside is not None and unknown is None:
        key, least = beside.key, beside.text_model
        stated = f"what is around {key}" if key in TEXT_PARTS else f"what {one_line(key, MAX_NAME)} describes"
        unknown = f"{stated} is not known"
    if unknown is not None:
        without = "" if least is None else f", at least {least.parameters:,} for the text model"
        yield note(
            "parameters-not-counted",
            f"parameters are not counted: {unknown}{without}; --parameters N or --weights SIZE gives them",
            reason=unknown,
            least=None if least is None else least.parameters,
        )
    if isinstance(above, OutputHead) and config.values.get("draft_vocab_size") and counted is not None:
        yield note(
            "draft-counted-whole",
            "counted as a whole model, although draft_vocab_size is a draft's key: "
            "--assume architectures=LlamaForCausalLMEagle3 counts one of EAGLE-3",
            key="draft_vocab_size",
        )
    if isinstance(above, Eagle3 | DFlash) and counted is not None:
        table = config.count(*VOCABULARY, most=MAX_VOCABULARY).value * config.count(*HIDDEN).value
        yield note(
            "draft-embedding-not-counted",
            f"the draft's embedding is its target's, and not counted: --parameters {counted.parameters + table} is "
            "with one of its own",
            parameters=counted.parameters + table,
        )
