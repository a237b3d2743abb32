"""The format of a quantised checkpoint's weights, where its settings alone decide what every matrix is stored in.

Sources: transformers 5.24.0, utils/quantization_config.py (FineGrainedFP8Config, AwqConfig, GPTQConfig,
BitsAndBytesConfig and their defaults); compressed-tensors, quant_scheme.py; ModelOpt's quant_algo; MLX's mlx_lm.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from kvcalc.importers.config_json.left_modules import left_module
from kvcalc.importers.config_json.quantised_groups import GROUPED, head_stays
from kvcalc.importers.config_json.quantised_whole import OF_ALL

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from kvcalc.importers.config_json.left_modules import LeftModule
    from kvcalc.importers.config_json.quantisation import Quantisation

_IGNORED = (
    *("modules_to_not_convert", "ignore", "ignored_layers", "exclude", "exclude_modules"),
    *("llm_int8_skip_modules", "skip_modules"),
)
"""Keys that name modules which stay as they were."""

_STAY = frozenset({"lm_head", "embed_tokens", "gate", "router", "e_score_correction_bias", "norm", "embed", "output"})
"""What a format leaves in the model's dtype wherever it is used: naming it says nothing new."""

_TOWERS = re.compile(r"(^|[._])(vision|visual|audio|multi_modal_projector)([._]|$)")
"""Modules beside the layers of a text model: where parameters are counted, the file has none."""

_DECORATION = re.compile(r"^re:|[\\^$*]")
_INTEGERS = {(4, 128): "int4", (4, 64): "int4_g64", (4, 32): "int4_g32", (8, 128): "int8_g128"}
_INTEGERS |= {(3, 128): "int3", (3, 64): "int3_g64", (3, 32): "int3_g32"}
_INTEGERS |= {(2, 128): "int2", (2, 64): "int2_g64", (2, 32): "int2_g32", (8, 64): "q8_g64_s3", (8, 32): "q8_g32_s3"}
_INTEGERS |= {(8, -1): "int8", (4, -1): "q4_g2_s0", (3, -1): "q3_g8_s0", (2, -1): "q2_g4_s0"}
"""Those of whole rows have a scale for each output, which is less than a thousandth and left out."""
_BLOCK = [128, 128]
_WHOLE_ROWS = {("float", 8): "fp8", ("int", 8): "int8"}
"""With a scale for each output, or one for all."""

_GROUPS: Mapping[tuple[Any, Any, Any], str] = {
    ("int", 4, 128): "w4a16",
    ("int", 4, 32): "w4a16_g32",
    ("float", 4, 16): "nvfp4",
    ("float", 4, 32): "mxfp4",
    ("float", 8, 32): "mxfp8",
}
_STORED_AS_SAID = {
    *("float-quantized", "int-quantized", "naive-quantized", "pack-quantized"),
    *("nvfp4-pack-quantized", "mxfp4-pack-quantized", "mxfp8-quantized"),
}
"""Formats of compressed-tensors in which every element is stored, in its bits: `dense` has them in the model's dtype,
`marlin-24` half of them."""

_BITS_OF_MLX = {2, 3, 4, 5, 6, 8}
_GROUPS_OF_MLX = {64: "", 32: "_g32", 128: "_g128"}
_FLOATS_OF_MLX = {("mxfp4", 4, 32): "mlx_mxfp4", ("mxfp8", 8, 32): "mlx_mxfp8", ("nvfp4", 4, 16): "mlx_nvfp4"}
_NOT_MODULES = {
    *("config_groups", "kv_cache_scheme", "sparsity_config", "producer", "transform_config"),
    *("exllama_config", "meta"),  # of a kernel; how GPTQModel came to its elements
    *("quant_type", "global_quant_config", "export", "algo_config"),
    *("quant_config", "tune_metadata"),  # HQQ's one for all; what HIGGS found to be fastest
}
"""Keys whose values are settings, but of no module."""

_MORE_OF_IT = re.compile(
    r"(^|_)(bits?|double|dynamic|embeddings?|experts?|layers?|lm|modules?|ranks?|rotations?|sparsity|transform)(_|$)"
)
"""Settings that nobody reads and whose names tell of bits, or of what else is quantised, or is not: of any value that
is not off, the matrices are not known. With them checkpoints have smaller scales (bnb_4bit_use_double_quant), heads in
few bits (lm_head), half of the elements (sparsity_config) or some modules alone (modules_in_block_to_quantize)."""

_READ = frozenset({*_IGNORED, "bits", "w_bit", "bnb_4bit_use_double_quant", "module_name_preceding_first_block"})
_READ |= {"transform_init"}
"""Such settings that are read, or change nothing that is stored."""

_OF_ACTIVATIONS = ("act_", "activation_")
"""How those begin that are about activations, which no checkpoint stores (AutoRound's act_bits)."""

_OF_AUTO = {"w_bit", "desc_act"}
"""Keys of AutoAWQ's quant_config.json and of AutoGPTQ's quantize_config.json, which name no method."""

_MLX_KEYS = {"bits", "group_size", "mode"}

_PACKED_BY_AUTO_ROUND = {"auto_gptq", "auto_awq", "gptq", "awq"}
_BACKENDS = re.compile(r"auto_?round:((gptq|awq)(:\w+)?|exllamav2)")
"""What older files name instead of packing_format: auto_round:gptq:exllamav2."""
_ALGORITHMS = {
    **dict.fromkeys(("fp8", "fp8_per_channel_per_token"), "fp8"),
    **dict.fromkeys(("nvfp4", "w4a16_nvfp4"), "nvfp4"),
    "fp8_pb_wo": "fp8_block",
    "mxfp8": "mxfp8",
}
"""ModelOpt's, by how weights are stored (vLLM 0.33.0, layers/quantization/modelopt.py, LINEAR_ALGOS)."""

_WITHOUT_ZEROS = {"int4": "w4a16", "int4_g32": "w4a16_g32"}
"""Marlin's own files have no zeros beside the scales."""
_FORMATS_OF_GPTQ = {"gptq", "gptq_v2", "marlin", "None"}


def format_by_settings(asked: Quantisation) -> str | None:
    """The format of all matrices of layers; None where the settings do not decide it."""
    settings = asked.settings
    if not all(_stays(name) or left_module(name) for name in _named(settings)):
        return None
    if any(_tells_more(key) and _is_on(value) for key, value in settings.items()):
        return None
    method = settings.get("quant_method") or settings.get("quant_algo")
    if any(value and isinstance(value, dict) for key, value in settings.items() if key not in _NOT_MODULES):
        return None  # modules with settings of their own
    if method is None:
        return _of_integers(settings) if settings.keys() & _OF_AUTO else _of_mlx(settings)
    read = _METHODS.get(str(method).lower())
    return None if read is None else read(settings)


def modules_left(asked: Quantisation) -> tuple[LeftModule, ...]:
    """Modules of single layers that its settings leave as they were."""
    found = (left_module(name) for name in _named(asked.settings))
    return tuple(module for module in found if module is not None)


def _named(settings: Mapping[str, Any]) -> Iterator[object]:
    return (name for key in _IGNORED for name in _listed(settings.get(key)))


def _tells_more(key: str) -> bool:
    return key not in _READ and not key.startswith(_OF_ACTIVATIONS) and _MORE_OF_IT.search(key) is not None


def _is_on(value: object) -> bool:
    """Whether a setting says something: compressed-tensors writes `dense` for matrices that are not sparse.

    AutoRound's `dynamic_max_gap` is off at -1.
    """
    if isinstance(value, dict):
        return bool(value) and value.get("format") != "dense"
    return value > 0 if isinstance(value, int | float) else bool(value)


def _listed(value: object) -> list[Any]:
    return value if isinstance(value, list) else [value] if value else []


def _stays(name: object) -> bool:
    """Whether a module that is named stays as it was in any case."""
    if not isinstance(name, str):
        return False
    plain = _DECORATION.sub("", name).rstrip(".")
    last = plain.rpartition(".")[2]
    return last in _STAY or last.endswith("norm") or _TOWERS.search(plain) is not None


def _of_fp8(settings: Mapping[str, Any]) -> str | None:
    block = settings.get("weight_block_size")
    return "fp8" if block is None else "fp8_block" if block == _BLOCK else None


def _of_integers(settings: Mapping[str, Any]) -> str | None:
    """AWQ and GPTQ: 4 bits in groups of 128 unless they say otherwise; w_bit and q_group_size are AutoAWQ's names."""
    if settings.get("dynamic") or settings.get("zero_point", True) is not True:
        return None
    bits = settings.get("bits", settings.get("w_bit", 4))
    group = settings.get("group_size", settings.get("q_group_size", 128))
    packed = str(settings.get("checkpoint_format"))
    if type(bits) is not int or type(group) is not int or packed not in _FORMATS_OF_GPTQ:
        return None
    found = _INTEGERS.get((bits, group))
    marlin = packed == "marlin" or settings.get("is_marlin_format")
    return _WITHOUT_ZEROS.get(found or "") if marlin else found


def _of_bitsandbytes(settings: Mapping[str, Any]) -> str | None:
    """Linear layers; unless modules are named, not the output head."""
    if not head_stays(settings, "llm_int8_skip_modules"):
        return None
    if settings.get("load_in_4bit"):
        return "nf4_double" if settings.get("bnb_4bit_use_double_quant") else "nf4"
    return "int8" if settings.get("load_in_8bit") else None


def _of_modelopt(settings: Mapping[str, Any]) -> str | None:
    return _ALGORITHMS.get(str(settings.get("quant_algo")).lower())


def _of_groups(settings: Mapping[str, Any]) -> str | None:
    """compressed-tensors: one group of settings for every linear layer."""
    groups, form = settings.get("config_groups"), settings.get("format")
    if not isinstance(groups, dict) or len(groups) != 1 or (form is not None and form not in _STORED_AS_SAID):
        return None
    if not any(isinstance(name, str) and "lm_head" in name for name in _listed(settings.get("ignore"))):
        return None  # it is a linear layer too
    (group,) = groups.values()
    weights = group.get("weights") if isinstance(group, dict) else None
    if not isinstance(weights, dict) or group.get("targets") != ["Linear"]:
        return None
    return _of_scheme(weights)


def _of_scheme(weights: Mapping[str, Any]) -> str | None:
    bits, group = (str(weights.get("type")), weights.get("num_bits")), weights.get("group_size")
    if type(bits[1]) is not int or type(group) not in {int, type(None)}:
        return None
    if weights.get("strategy") == "block":
        return "fp8_block" if bits == ("float", 8) and weights.get("block_structure") == _BLOCK else None
    if bits in _WHOLE_ROWS and group is None:
        return _WHOLE_ROWS[bits]
    if bits == ("int", 4) and type(group) is int and not weights.get("symmetric", True):
        return _INTEGERS.get((4, group))
    return _GROUPS.get((*bits, group))


def _of_mlx(settings: Mapping[str, Any]) -> str | None:
    """MLX: no method; further keys would be modules with settings of their own."""
    bits, group, mode = settings.get("bits"), settings.get("group_size"), settings.get("mode", "affine")
    if not settings.keys() <= _MLX_KEYS or type(bits) is not int or type(group) is not int:
        return None
    if mode != "affine":
        return _FLOATS_OF_MLX.get((mode, bits, group)) if isinstance(mode, str) else None
    return f"mlx_{bits}bit{_GROUPS_OF_MLX[group]}" if bits in _BITS_OF_MLX and group in _GROUPS_OF_MLX else None


def _of_auto_round(settings: Mapping[str, Any]) -> str | None:
    """AutoRound packs as GPTQ or AWQ do: auto_round:auto_gptq, auto_round:auto_awq."""
    packed = str(settings.get("packing_format", "auto_round:auto_gptq")).removeprefix("auto_round:")
    older = settings.get("backend")
    known = packed in _PACKED_BY_AUTO_ROUND and settings.get("data_type", "int") == "int"
    known = known and (older is None or _BACKENDS.fullmatch(str(older)) is not None)
    return _of_integers(settings) if known and settings.keys() >= {"bits", "group_size"} else None


_METHODS: Mapping[str, Callable[[Mapping[str, Any]], str | None]] = {
    "awq": _of_integers,
    "gptq": _of_integers,
    "bitsandbytes": _of_bitsandbytes,
    **dict.fromkeys(("modelopt", *_ALGORITHMS), _of_modelopt),
    "fp8": _of_fp8,
    "compressed-tensors": _of_groups,
    **dict.fromkeys(("auto-round", "intel/auto-round"), _of_auto_round),
    **GROUPED,
    **OF_ALL,
    "mxfp8": lambda settings: "mxfp8" if settings.get("weight_block_size", [1, 32]) in (None, [1, 32]) else None,
}
