"""Quantisers whose checkpoints hold integers in groups of a row, with 16-bit scales, and zeros or biases, beside each.

Their formats have names as written by hand (kvcalc/formats/by_name.py): q4_g64_s4 is 4 bits an element, and 4 bytes
beside each 64. Read from what the libraries build: hqq 0.2.8, core/quantize.py, HQQLinear (W_q, scale, zero); torchao
0.18.0, quantization/quantize_/workflows/int4 (qdata, scale and zero); transformers 5.24.0, integrations/higgs.py
(weight, scales) and metal_quantization.py (weight, scales, qbiases).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

SCALE, SCALE_AND_ZERO = 2, 4
"""Bytes beside a group."""
TILE = 1024
"""Elements that torchao fills rows of int4 up to (int4_tile_packed_to_4d_tensor.py, find_multiple)."""
_FOUR, _MOST_BITS = 4, 8
_MOST_GROUP = 1024
_TILED = {"TensorCoreTiledLayout", "Int4CPULayout"}
_PACKED = {"PLAIN", "TILE_PACKED_TO_4D"}


def head_stays(settings: Mapping[str, Any], key: str = "modules_to_not_convert") -> bool:
    """Whether the output head is left as it was: transformers leaves it where no modules are named, else by name."""
    left = settings.get(key)
    named = left if isinstance(left, list) else [left]
    return left is None or any("lm_head" in str(name) for name in named)


def _grouped(bits: object, group: object, beside: int) -> str | None:
    """The format's name; None where these are no numbers whose groups fill whole bytes."""
    if not isinstance(bits, int) or not isinstance(group, int) or isinstance(bits, bool):
        return None
    if not (1 <= bits <= _MOST_BITS and 1 <= group <= _MOST_GROUP) or bits * group % 8:
        return None
    return f"q{bits}_g{group}_s{beside}"


def _of_hqq(settings: Mapping[str, Any]) -> str | None:
    """One setting for all linear layers; 3 bits are ten to a word of 32, which rows fill unevenly."""
    whole = settings.get("quant_config")
    if not isinstance(whole, dict) or not head_stays(settings, "skip_modules"):
        return None
    weights = whole.get("weight_quant_params")
    others = (whole.get("scale_quant_params"), whole.get("zero_quant_params"))
    if not isinstance(weights, dict) or any(others) or weights.get("nbits") not in (1, 2, 4, 8):
        return None
    return _grouped(weights["nbits"], weights.get("group_size"), SCALE_AND_ZERO)


def _of_higgs(settings: Mapping[str, Any]) -> str | None:
    found = _grouped(settings.get("bits", 4), settings.get("group_size", 256), SCALE)
    return found if head_stays(settings) else None


def _of_metal(settings: Mapping[str, Any]) -> str | None:
    found = _grouped(settings.get("bits", 4), settings.get("group_size", 64), SCALE_AND_ZERO)
    return found if head_stays(settings) else None


GROUPED: Mapping[str, Callable[[Mapping[str, Any]], str | None]] = {
    "hqq": _of_hqq,
    "higgs": _of_higgs,
    "metal": _of_metal,
}
"""By quant_method."""


def int4_of_torchao(data: object) -> str | None:
    """Of an Int4WeightOnlyConfig, whose layouts but these have other scales, or half of the elements."""
    if not isinstance(data, dict):
        return None
    layout, packing = (_kind(data.get(key)) for key in ("layout", "int4_packing_format"))
    if (layout or "TensorCoreTiledLayout") not in _TILED or (packing or "PLAIN") not in _PACKED:
        return None
    return _grouped(_FOUR, data.get("group_size", 128), SCALE_AND_ZERO)


def _kind(stated: object) -> str | None:
    """Of an object its type's name, of an enumeration its member's."""
    if not isinstance(stated, dict):
        return None if stated is None else str(stated).upper()
    data = stated.get("_data")
    return data.upper() if isinstance(data, str) else str(stated.get("_type"))


def fills_rows(method: object, stored: str, dtype: str | None, widths: tuple[int | None, ...]) -> bool:
    """Whether rows of these widths are as the format says: in 16-bit scales, and not filled up.

    Args:
        method: quant_method.
        stored: the format's name.
        dtype: of computing, which scales have.
        widths: of rows; None is no row.
    """
    if method == "torchao" and stored.startswith(f"q{_FOUR}_"):
        return not any((width or 0) % TILE for width in widths)
    return method not in GROUPED or dtype != "fp32"
