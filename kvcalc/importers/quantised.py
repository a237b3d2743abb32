"""Quantised checkpoints: what quantization_config says of the weights, and of the cache that it asks for."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from kvcalc.importers.config import Config

_METHOD = re.compile(r"[A-Za-z0-9_.-]{1,40}")
_EIGHT_BITS = (8, "FP8", "fp8", "fp8_e4m3")


def quantisation(config: Config, outer: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """quantization_config, which may stand inside or around the text model's part; None where there is none."""
    asked = outer.get("quantization_config") or config.values.get("quantization_config")
    return asked if isinstance(asked, dict) else None


def quantisation_notes(config: Config, outer: Mapping[str, Any]) -> Iterator[str]:
    """What a user should know of it."""
    asked = quantisation(config, outer)
    if asked is None:
        return
    method = str(asked.get("quant_method"))
    known = method if _METHOD.fullmatch(method) else "a method without a name"
    yield (
        f"the checkpoint is quantised ({known}), and its config.json does not say what each tensor takes: "
        "its folder with *.safetensors does, or --weights SIZE"
    )
    scheme = asked.get("kv_cache_scheme") or asked.get("kv_cache_quant_algo")
    if (scheme.get("num_bits") if isinstance(scheme, dict) else scheme) in _EIGHT_BITS:
        yield "the checkpoint asks for a cache in fp8: --cache-dtype fp8"
    elif scheme:
        yield "the checkpoint asks for a cache in a format of its own, which is not taken: --cache-dtype sets it"
