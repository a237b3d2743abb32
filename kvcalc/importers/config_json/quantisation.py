"""How a checkpoint is quantised, under the names that its files have for it.

Sources: transformers 5.24.0 (quantization_config), MLX's mlx_lm/utils.py (quantization), compressed-tensors' older
compression_config; vLLM's get_config_filenames for the files beside config.json.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, NamedTuple

from kvcalc.files import is_there
from kvcalc.formats.weights import find_weight_format, is_of_mlx
from kvcalc.importers.json_text import parse_mapping, read_text
from kvcalc.note import Note, note

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from kvcalc.importers.config import Config

INSIDE = ("quantization_config", "quantization", "compression_config")
"""Keys of config.json, inside or around the text model's part."""

OTHERWISE = re.compile(
    r"(is_|weights?_)?quant(i[sz](e|ed|ation))?(_(algo|bits?|method|scheme|type))?|(w|weights?_)bits?|load_in_[48]bit"
)
"""Keys of other code, such as ChatGLM's quantization_bit: they tell that weights are quantised, and no more."""

BESIDE = ("hf_quant_config.json", "quantize_config.json", "quant_config.json")
"""Files beside it: of ModelOpt, GPTQ and AWQ."""

OF_EXPERTS = "mxfp4"
"""The method of gpt-oss's own files (gpt_oss_weights.py)."""

MAX_BLOCK = 10**6
_METHOD = re.compile(r"[A-Za-z0-9_./-]{1,40}")
_METHODS, _BITS = ("quant_method", "quant_algo"), ("bits", "w_bit")
_LOADED_IN = ("load_in_4bit", "load_in_8bit")
_EIGHT_BITS = (8, "FP8", "fp8", "fp8_e4m3")
_KV = ("kv_cache_scheme", "kv_cache_quant_algo")


class Quantisation(NamedTuple):
    """The settings that the files have.

    Attributes:
        settings: keys and values of the first that is about weights; none where all that is known is that they are
            quantised.
        kv_cache: the setting for the cache, if there is one.
        weights: whether weights are quantised, not the cache alone.
    """

    settings: Mapping[str, Any]
    kv_cache: Any
    weights: bool

    @property
    def method(self) -> str | None:
        """What the files name it, in small letters; None where weights are not quantised, or it has no name."""
        found = next((str(self.settings[key]) for key in _METHODS if self.settings.get(key)), "")
        return found.lower() if self.weights and _METHOD.fullmatch(found) else None

    @property
    def name(self) -> str:
        """Of the method, for a message."""
        method = next((str(self.settings[key]) for key in _METHODS if self.settings.get(key)), "")
        bits = next((self.settings[key] for key in _BITS if type(self.settings.get(key)) is int), None)
        if not method and bits is not None:
            return f"{bits} bits"
        return method if _METHOD.fullmatch(method) else "a method without a name"


def quantisation_of(config: Config, outer: Mapping[str, Any], beside: Mapping[str, Any] | None) -> Quantisation | None:
    """The settings of config.json, else of a file beside it; None where there are none.

    Args:
        config: of the text model.
        outer: the file.
        beside: the settings of another file.
    """
    found = [part[key] for key in INSIDE for part in (outer, config.values) if _says_something(part.get(key))]
    found += [beside] if beside else []
    others = (part[key] for part in (outer, config.values) for key in part if OTHERWISE.fullmatch(key))
    found += [{}] if not found and any(map(_says_something, others)) else []
    if not found:
        return None
    settings = [
        each if isinstance(each, dict) else {"quant_method": each if isinstance(each, str) else None} for each in found
    ]
    kv_cache = next((each[key] for each in settings for key in _KV if each.get(key)), None)
    quantised = [each for each in settings if not _leaves_weights(each)]
    return Quantisation(quantised[0] if quantised else {}, kv_cache, weights=bool(quantised))


def scale_block(config: Config, asked: Quantisation | None) -> int | None:
    """Elements of a row that share a scale; None where that is not given.

    Raises:
        KvcalcError: weight_block_size is something else.
    """
    sizes = None if asked is None else asked.settings.get("weight_block_size")
    if sizes is None:
        return None
    if not isinstance(sizes, list) or not sizes or type(sizes[-1]) is not int or not 1 <= sizes[-1] <= MAX_BLOCK:
        raise config.refusal(f"weight_block_size is {str(sizes)[:40]}")
    return int(sizes[-1])


def folder_quantisation(folder: Path, shown: str) -> Mapping[str, Any] | None:
    """The settings of a folder's files beside config.json; None where there are none.

    Raises:
        KvcalcError: one cannot be read.
    """
    for name in BESIDE:
        if is_there(folder / name):
            return quantised_beside(read_text(folder / name, f"{shown}/{name}"), f"{shown}/{name}")
    return None


def quantised_beside(text: str, shown: str) -> Mapping[str, Any] | None:
    """The settings of such a file; None where it has none.

    Raises:
        KvcalcError: it is no such file.
    """
    values = parse_mapping(text, shown)
    settings = values.get("quantization", values)
    return settings if isinstance(settings, dict) and settings else None


def quantisation_notes(
    asked: Quantisation, parameters: int | None, stored: str | None, *, unknown: bool
) -> Iterator[Note]:
    """Notes on it.

    Args:
        asked: the files' settings.
        parameters: where they are counted.
        stored: the format of the matrices that are quantised, where the settings decide it.
        unknown: whether the bytes of each tensor are not known.
    """
    if unknown and asked.weights and stored is not None:
        yield note(
            "quantised-weights",
            f"the checkpoint is quantised ({asked.name}): {_matrices(asked, stored)} are counted in {stored}, as its "
            "settings say; its folder with *.safetensors tells every tensor",
            method=asked.name,
            format=stored,
        )
    elif unknown and asked.weights:
        all_in_one = "" if parameters is None else f", or --parameters {parameters} --weight-dtype FORMAT for all"
        yield note(
            "quantised-checkpoint",
            f"the checkpoint is quantised ({asked.name}), and its config.json does not say what each tensor takes: "
            f"its folder with *.safetensors does, or --weights SIZE{all_in_one}",
            method=asked.name,
        )
    scheme = asked.kv_cache
    if scheme:
        eight = (scheme.get("num_bits") if isinstance(scheme, dict) else scheme) in _EIGHT_BITS
        yield format_note(None, eight=eight)


def _matrices(asked: Quantisation, stored: str) -> str:
    """Which of a model's are in the format: MLX has tables in it, gpt-oss's own files nothing but experts."""
    if is_of_mlx(find_weight_format(stored, "weights")):
        return "tables and matrices of layers"
    return "matrices of its experts" if asked.settings.get("quant_method") == OF_EXPERTS else "matrices of its layers"


def format_note(key: str | None, *, eight: bool) -> Note:
    """A note on a format that is asked for the cache.

    Args:
        key: of the file, where it is none of its settings of quantisation.
        eight: whether it is fp8.
    """
    where = "" if key is None else f" ({key})"
    if eight:
        text = f"the checkpoint asks for a cache in fp8{where}: --cache-dtype fp8"
        return note("cache-format-of-checkpoint", text, format="fp8")
    text = f"the checkpoint asks for a cache in a format of its own{where}, which is not taken: --cache-dtype sets it"
    return note("cache-format-of-checkpoint", text, format=None)


def _says_something(value: Any) -> bool:
    return bool(value) and not (isinstance(value, str) and value.lower() == "none")


def _leaves_weights(settings: Mapping[str, Any]) -> bool:
    """Whether it leaves them as they are: ModelOpt with an algorithm for the cache alone, bitsandbytes with no flag."""
    if settings.get("quant_method") == "bitsandbytes" and settings.keys() & set(_LOADED_IN):
        return not any(settings.get(key) for key in _LOADED_IN)
    return (
        "quant_algo" in settings
        and settings["quant_algo"] is None
        and not any(settings.get(key) for key in (*_METHODS, *_BITS))
    )
