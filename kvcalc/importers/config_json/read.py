"""From the text of a config.json to a model: refused where anything is not understood."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kvcalc.errors import MAX_NAME, KvcalcError, did_you_mean, one_line
from kvcalc.formats.weights import find_weight_format, is_of_mlx
from kvcalc.importers.config import BY_TYPE
from kvcalc.importers.config_json.architectures import OutputHead, above_layers, head_of
from kvcalc.importers.config_json.cache_keys import cache_keys
from kvcalc.importers.config_json.checkpoint import Beside, checkpoint_of, keys_beside_text
from kvcalc.importers.config_json.families import FAMILIES
from kvcalc.importers.config_json.gpt_oss_weights import gpt_oss_parts, is_of_gpt_oss
from kvcalc.importers.config_json.left_modules import parts_with
from kvcalc.importers.config_json.model_fields import model_fields
from kvcalc.importers.config_json.other_formats import as_config
from kvcalc.importers.config_json.parameters import (
    count_parameters,
    ngram_parameters,
    position_parameters,
    stream_parameters,
)
from kvcalc.importers.config_json.quantisation import quantisation_of, scale_block
from kvcalc.importers.config_json.quantised_groups import fills_rows
from kvcalc.importers.config_json.quantised_weights import format_by_settings, modules_left
from kvcalc.importers.config_json.repeated_keys import SYNONYMS, repeated_keys
from kvcalc.importers.config_json.rotary import refuse_odd, rotary_fields
from kvcalc.importers.config_json.text_part import by_class, text_model
from kvcalc.importers.config_json.unread_keys import around_notes, unread_notes
from kvcalc.importers.config_json.wrappers import NOT_EXPRESSED
from kvcalc.importers.imported_layer import grouped
from kvcalc.importers.imported_model import ImportedModel, model_name
from kvcalc.importers.json_text import parse_mapping
from kvcalc.importers.key_checks import assumption_notes, refuse_unread_keys
from kvcalc.importers.sourced import Sourced
from kvcalc.model.apart import told_apart
from kvcalc.model.model import Model, WeightPart
from kvcalc.model.quantised import parts_in

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from kvcalc.importers.config import Config
    from kvcalc.importers.config_json.architectures import Above
    from kvcalc.importers.config_json.parameters import Counted
    from kvcalc.importers.config_json.quantisation import Quantisation
    from kvcalc.importers.imported_layer import ImportedLayer
    from kvcalc.importers.safetensors import Headers


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
    converted = as_config(outer)
    outer = converted or outer
    config = text_model(outer, shown, assumed or {})
    model_type = config.model_type
    if model_type not in FAMILIES:
        raise KvcalcError(f"{shown}: {_why_not(model_type, outer)}")
    layers = tuple(FAMILIES[model_type](config))
    if converted is None:  # files of other formats state what is allocated
        refuse_odd(config, layers)
    named = Sourced(model_name(name), "the name of the file, folder or repository")
    sizes = {"model_type": _type_of(config, outer), **dict(model_fields(config, outer))}
    sizes |= dict(rotary_fields(config, layers, sizes.get("max_context")))
    windows = (("unreached_window", layers[0].unreached_window), ("unused_window", layers[0].unused_window))
    sizes |= {key: window for key, window in windows if window is not None}
    tied = sizes["tie_word_embeddings"].value if "tie_word_embeddings" in sizes else None
    above = above_layers(config, outer)
    if not isinstance(above, OutputHead):
        sizes.pop("tie_word_embeddings", None)  # it would mean that there is an output head
    described = {key: value for key, value in outer.items() if (assumed or {}).get(key, value) is not None}
    counted, beside = _counted(config, described, layers, above, tied)
    sizes |= dict(_beside_matrices(config, len(layers), counted))
    if "mtp_layers" in sizes:
        from kvcalc.importers.config_json.parameters.mtp import mtp_parameters

        if (of_drafts := mtp_parameters(config, layers, sizes["mtp_layers"].value)) is not None:
            sizes["mtp_parameters"] = Sourced(of_drafts, "counted: a layer more, and what it joins")
    asked, weights = quantisation_of(config, outer, quantised), None
    if asked is not None and asked.method is not None:
        sizes["quant_method"] = Sourced(asked.method, "quant_method, or quant_algo")
    if headers is not None:
        from kvcalc.importers.weight_parts import refuse_missing_layers, weights_of

        refuse_missing_layers(headers.tensors, layers, shown)
        block = scale_block(config, asked)
        weights = weights_of(
            headers.tensors, len(layers), head=head_of(above, tied=bool(tied)), shown=shown, block=block
        )
    parts: tuple[WeightPart, ...] = weights.parts if weights else ()
    stored = None
    if weights is None and counted is not None and asked is not None and asked.weights:
        known = {key: given.value for key, given in (("name", named), *sizes.items())}
        stored, parts = _by_settings(config, known, layers, counted, asked)
    checkpoint = checkpoint_of(config, asked, counted, weights, above, beside, stored)
    fields = (("name", named), *sizes.items(), *checkpoint.fields)
    config.ignore(*repeated_keys(config.values, layers))
    told = (*unread_notes(config, layers), *around_notes(config, layers))
    refuse_unread_keys(config, cache_keys, SYNONYMS)
    try:
        model = Model(
            **{key: given.value for key, given in fields},
            layers=grouped(layers),
            weights=parts,
        )
    except ValueError as error:
        raise config.refusal(str(error)) from error
    notes = (*assumption_notes(config), *checkpoint.notes, *told)
    return ImportedModel(model, fields, layers, notes, f"a config.json of {model_type}")


def _counted(
    config: Config, outer: Mapping[str, Any], layers: tuple[ImportedLayer, ...], above: Above, tied: bool | None
) -> tuple[Counted | None, Beside | None]:
    """The parameters where they are counted; else what is beside the text model, if that is why they are not."""
    beside, of_text = keys_beside_text(outer), count_parameters(config, layers, above, tied=bool(tied))
    if not beside:
        return of_text, None
    if of_text is not None and tied is not None:
        from kvcalc.importers.config_json.parameters.towers import tower_parameters

        if (towers := tower_parameters(config, outer, set(beside))) is not None:
            return of_text.with_towers(towers), None
    return None, Beside(beside[0], of_text)


def _beside_matrices(config: Config, layers: int, counted: Counted | None) -> Iterator[tuple[str, Sourced]]:
    """Parameters that engines keep otherwise than matrices of layers."""
    if counted is not None and counted.towers:
        yield "tower_parameters", Sourced(counted.towers, "counted, tensor by tensor")
    if tables := ngram_parameters(config):
        yield "ngram_parameters", Sourced(tables, f"tables of n-grams, as {config.model_type} has them")
    if counted is not None and (positions := position_parameters(config)):
        yield "position_parameters", Sourced(positions, f"learned positions, as {config.model_type} has them")
    if counted is not None and (streams := stream_parameters(config, layers)):
        yield "stream_parameters", Sourced(streams, "what mixes residual streams, tensor by tensor")


def _by_settings(
    config: Config, known: Mapping[str, Any], layers: tuple[ImportedLayer, ...], counted: Counted, asked: Quantisation
) -> tuple[str | None, tuple[WeightPart, ...]]:
    """The format of a quantised checkpoint's matrices and its parts, where settings and dims decide both."""
    of_gpt_oss = is_of_gpt_oss(asked.settings, config.model_type)
    stored = "mxfp4" if of_gpt_oss else format_by_settings(asked)
    if stored is None:
        return None, ()
    active = counted.active if counted.active != counted.parameters else None
    try:
        counts = {"parameters": counted.parameters, "active_parameters": active}
        whole = Model(**{**known, "layers": grouped(layers), **counts})
    except ValueError as error:
        raise config.refusal(str(error)) from error
    if of_gpt_oss:
        found = gpt_oss_parts(whole)
        return (None, ()) if found is None else (stored, found)
    element_format, apart = find_weight_format(stored, "weights"), told_apart(whole)
    widths = (whole.hidden_size, whole.intermediate_size, whole.moe_intermediate_size)
    if is_of_mlx(element_format) and any((width or 0) % element_format.block_elems for width in widths):
        return None, ()  # MLX leaves a matrix as it is whose rows its groups do not fill
    if not fills_rows(asked.settings.get("quant_method"), stored, whole.dtype, widths):
        return None, ()
    parts = parts_in(whole, element_format) if apart is not None and apart.beside else None
    parts = None if parts is None else parts_with(whole, parts, stored, modules_left(asked))
    return (None, ()) if parts is None else (stored, parts)


def _type_of(config: Config, outer: Mapping[str, Any]) -> Sourced:
    """The model_type of the whole file, by which engines choose; the one that is assumed where it has none."""
    stated = outer.get("model_type")
    if "model_type" in config.assumed or not isinstance(stated, str):
        return Sourced(config.model_type, "model_type, as it is taken")
    return Sourced(stated, "model_type")


def _why_not(model_type: str, outer: Mapping[str, Any]) -> str:
    if model_type in NOT_EXPRESSED:
        return f"'{model_type}' is {NOT_EXPRESSED[model_type]}"
    way = by_class(outer)
    hint = ";" if way != BY_TYPE else did_you_mean(model_type, FAMILIES) or ";"
    return f"model_type '{one_line(model_type, MAX_NAME)}' is not known{hint} {way}"
