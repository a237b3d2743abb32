"""TurboQuant: the formats of keys and of values in vLLM's four presets.

vLLM 0.33.0, vllm/model_executor/layers/quantization/turboquant/config.py: TQ_PRESETS and TurboQuantConfig. vLLM alone
has them, and not in every layer (kvcalc/engines/vllm/cache/turboquant.py).
"""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING

from kvcalc.formats.element import FORMATS, ElementFormat

if TYPE_CHECKING:
    from collections.abc import Mapping

_CONFIG = "vLLM 0.33.0, vllm/model_executor/layers/quantization/turboquant/config.py, TurboQuantConfig"
_KEY_4 = ElementFormat("turboquant_k4", 2, 1, "4-bit key, an fp16 norm per head and token", _CONFIG, 2)
_KEY_3 = ElementFormat("turboquant_k3", 8, 3, "3-bit key, an fp16 norm per head and token", _CONFIG, 2)
_VALUE_4 = ElementFormat("turboquant_v4", 2, 1, "4-bit value, fp16 scale and zero per head and token", _CONFIG, 4)
_VALUE_3 = ElementFormat("turboquant_v3", 8, 3, "3-bit value, fp16 scale and zero per head and token", _CONFIG, 4)

TURBOQUANT: Mapping[str, Mapping[str, ElementFormat]] = MappingProxyType(
    {
        "turboquant_k8v4": MappingProxyType({"k": FORMATS["fp8"], "v": _VALUE_4}),
        "turboquant_4bit_nc": MappingProxyType({"k": _KEY_4, "v": _VALUE_4}),
        "turboquant_k3v4_nc": MappingProxyType({"k": _KEY_3, "v": _VALUE_4}),
        "turboquant_3bit_nc": MappingProxyType({"k": _KEY_3, "v": _VALUE_3}),
    }
)
"""Cache formats by the names of vLLM's --kv-cache-dtype: of each tensor its own."""
