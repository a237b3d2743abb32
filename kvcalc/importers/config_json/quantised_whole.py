"""Quantisers that have one setting for all linear layers: torchao, Quark, FBGEMM, EETQ, FP-Quant, BitNet.

Sources: transformers 5.24.0, utils/quantization_config.py and quantizers/; torchao 0.18.0, quantization/quant_api.py.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kvcalc.importers.config_json.quantised_groups import head_stays, int4_of_torchao

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_TORCHAO = {
    "Int8WeightOnlyConfig": "int8",
    "Int8DynamicActivationInt8WeightConfig": "int8",
    "Float8WeightOnlyConfig": "fp8",
    "Float8DynamicActivationFloat8WeightConfig": "fp8",
}
_ONE_FOR_A_ROW = {
    "PerRow",
    "PerTensor",
    "PlainLayout",
    "Float8MMConfig",
    "MappingType",
    "KernelPreference",
    "torch.dtype",
}
"""What such a configuration may have within it: groups and blocks have more scales, layouts and packings that are not
plain store other elements."""

_QUARK = {
    ("fp8_e4m3", "per_tensor", "None"): "fp8",
    ("fp8_e4m3", "per_channel", "None"): "fp8",
    ("int8", "per_tensor", "None"): "int8",
    ("int8", "per_channel", "None"): "int8",
    ("fp4", "per_group", "32"): "mxfp4",
}


def _of_torchao(settings: Mapping[str, Any]) -> str | None:
    """One configuration for all linear layers; int8 and fp8 have a scale for each output, int4 one for each group."""
    stated = settings.get("quant_type")
    each = stated.get("default") if isinstance(stated, dict) and stated.keys() == {"default"} else None
    if not isinstance(each, dict):
        return None
    if each.get("_type") == "Int4WeightOnlyConfig":
        in_groups = int4_of_torchao(each.get("_data"))
        return None if in_groups is None else _of_all(in_groups, settings)
    if not _has_a_scale_a_row(each.get("_data")):
        return None
    found = _TORCHAO.get(str(each.get("_type")))
    return None if found is None else _of_all(found, settings)


def _has_a_scale_a_row(data: object) -> bool:
    """Whether no setting within a configuration asks for groups or for another layout."""
    if isinstance(data, list):
        return all(map(_has_a_scale_a_row, data))
    if not isinstance(data, dict):
        return True
    known = str(data.get("_type", "PerRow")) in _ONE_FOR_A_ROW or data.get("_data") == "PLAIN"
    return known and data.get("group_size") is None and all(map(_has_a_scale_a_row, data.values()))


def _of_all(found: str, settings: Mapping[str, Any], **usual: object) -> str | None:
    """A format of all linear layers but the output head, which transformers leaves where no module is named, or it.

    Args:
        found: the format.
        settings: the file's.
        usual: what those must be that are given.
    """
    as_usual = all(settings.get(key, value) == value for key, value in usual.items())
    return found if as_usual and head_stays(settings) else None


def _of_quark(settings: Mapping[str, Any]) -> str | None:
    """Quark: one setting for all linear layers but those that are left out, the output head among them."""
    whole = settings.get("global_quant_config")
    weight, left = whole.get("weight") if isinstance(whole, dict) else None, settings.get("exclude")
    if not isinstance(weight, dict) or not isinstance(left, list | str) or "lm_head" not in left:
        return None
    if weight.get("dtype") == "fp4" and weight.get("scale_format", "e8m0") != "e8m0":
        return None  # scales of more than a byte
    return _QUARK.get((str(weight.get("dtype")), str(weight.get("qscheme")), str(weight.get("group_size"))))


def _of_fp_quant(settings: Mapping[str, Any]) -> str | None:
    """FP-Quant: Hadamard matrices of 128 x 128 at most, one or two a linear layer, are left out."""
    found = settings.get("forward_dtype", "nvfp4")
    stored = {"nvfp4": "nvfp4", "mxfp4": "mxfp4"}.get(found) if isinstance(found, str) else None
    return None if stored is None else _of_all(stored, settings, store_master_weights=False, pseudoquantization=False)


OF_ALL: Mapping[str, Callable[[Mapping[str, Any]], str | None]] = {
    "torchao": _of_torchao,
    "quark": _of_quark,
    "fbgemm_fp8": lambda settings: _of_all("fp8", settings),
    "eetq": lambda settings: _of_all("int8", settings, weights="int8"),
    "fp_quant": _of_fp_quant,
    "bitnet": lambda settings: _of_all("bitnet", settings, quantization_mode="offline", use_rms_norm=False),
}
"""By quant_method."""
