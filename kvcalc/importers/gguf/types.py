"""What kvcalc calls the tensor types of GGUF.

Source: https://github.com/ggml-org/llama.cpp, ggml/include/ggml.h, enum ggml_type.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

TENSOR_TYPES: Mapping[int, str] = MappingProxyType(
    {
        0: "fp32",
        1: "fp16",
        2: "q4_0",
        3: "q4_1",
        6: "q5_0",
        7: "q5_1",
        8: "q8_0",
        10: "q2_k",
        11: "q3_k",
        12: "q4_k",
        13: "q5_k",
        14: "q6_k",
        16: "iq2_xxs",
        17: "iq2_xs",
        18: "iq3_xxs",
        19: "iq1_s",
        20: "iq4_nl",
        21: "iq3_s",
        22: "iq2_s",
        23: "iq4_xs",
        24: "int8",
        25: "int16",
        26: "int32",
        27: "int64",
        28: "fp64",
        29: "iq1_m",
        30: "bf16",
        34: "tq1_0",
        35: "tq2_0",
        39: "mxfp4",
        40: "nvfp4",
        41: "q1_0",
    }
)
"""4, 5, 31 to 33 and 36 to 38 were withdrawn; 9 and 15 exist while computing only."""
WITHDRAWN: Mapping[int, str] = MappingProxyType(
    {
        31: "q4_0_4_4",
        32: "q4_0_4_8",
        33: "q4_0_8_8",
        36: "i2_s of bitnet.cpp",
        37: "iq4_nl_4_4",
        38: "iq4_nl_4_8",
    }
)
"""What published files have of these; llama.cpp loads none of them."""
