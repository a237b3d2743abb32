"""The tensor types that ik_llama.cpp writes into GGUF beside llama.cpp's, as formats written by hand.

Some have a scale of each row before its blocks. Types with `_r4`, `_r8` or `_r16` hold as many rows side by side, in as
many bytes. Types that exist while computing only, and Microsoft's I2_S, are left out.

Source: https://github.com/ikawrakow/ik_llama.cpp at 8337e4c: enum ggml_type of ggml/include/ggml.h, type_traits of
ggml/src/ggml.c (blck_size, type_size, row_meta_size), and the blocks of ggml/src/ggml-common.h.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple

from kvcalc.importers.tensors import StoredTensor

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping


class ForkType(NamedTuple):
    """A tensor type.

    Attributes:
        name: as ik_llama.cpp prints it.
        format: of its blocks.
        row_scale: bytes beside the blocks of each row.
    """

    name: str
    format: str
    row_scale: int = 0


FORK_TYPES: Mapping[int, ForkType] = MappingProxyType(
    {
        133: ForkType("q6_0", "q6_g32_s2"),
        134: ForkType("iq1_bn", "q1_g64_s5", 2),
        135: ForkType("iq2_bn", "q2_g64_s0", 4),
        137: ForkType("iq2_k", "q2_g256_s12"),
        138: ForkType("iq3_k", "q3_g256_s14"),
        139: ForkType("iq4_k", "q4_g256_s16"),
        140: ForkType("iq5_k", "q5_g256_s16"),
        141: ForkType("iq6_k", "q6_g256_s20"),
        144: ForkType("iq4_ks", "q4_g256_s8", 4),
        145: ForkType("iq2_ks", "q2_g256_s6", 2),
        146: ForkType("iq4_kss", "q4_g256_s0", 4),
        151: ForkType("q8_KV", "int8", 8),
        152: ForkType("iq5_ks", "q5_g256_s8", 4),
        153: ForkType("iq2_kt", "q2_g256_s4", 4),
        154: ForkType("iq3_kt", "q3_g256_s4", 4),
        155: ForkType("iq4_kt", "q4_g256_s0", 4),
        156: ForkType("iq3_ks", "q3_g256_s6", 2),
        157: ForkType("iq2_kl", "q2_g256_s22", 2),
        158: ForkType("iq1_kt", "q1_g256_s24", 4),
        202: ForkType("q4_0_r8", "q4_0"),
        206: ForkType("q5_0_r4", "q5_0"),
        208: ForkType("q8_0_r8", "q8_0"),
        210: ForkType("q2_k_r4", "q2_k"),
        211: ForkType("q3_k_r4", "q3_k"),
        212: ForkType("q4_k_r4", "q4_k"),
        213: ForkType("q5_k_r4", "q5_k"),
        214: ForkType("q6_k_r4", "q6_k"),
        216: ForkType("iq2_xxs_r4", "iq2_xxs"),
        217: ForkType("iq2_xs_r4", "iq2_xs"),
        218: ForkType("iq3_xxs_r4", "iq3_xxs"),
        219: ForkType("iq1_s_r4", "q1_g32_s2", 2),
        220: ForkType("iq4_nl_r4", "iq4_nl"),
        221: ForkType("iq3_s_r4", "iq3_s"),
        222: ForkType("iq2_s_r4", "iq2_s"),
        223: ForkType("iq4_xs_r8", "iq4_xs"),
        229: ForkType("iq1_m_r4", "q1_g32_s3", 2),
        230: ForkType("bf16_r16", "bf16"),
        233: ForkType("q6_0_r4", "q6_g32_s2"),
        335: ForkType("iq2_bn_r4", "q2_g64_s0", 4),
        337: ForkType("iq2_k_r4", "q2_g256_s12"),
        338: ForkType("iq3_k_r4", "q3_g256_s14"),
        339: ForkType("iq4_k_r4", "q4_g256_s16"),
        340: ForkType("iq5_k_r4", "q5_g256_s16"),
        344: ForkType("iq4_ks_r4", "q4_g256_s8", 4),
        352: ForkType("iq5_ks_r4", "q5_g256_s8", 4),
        353: ForkType("mxfp4_r8", "mxfp4"),
        397: ForkType("q8_k_r16", "q8_g256_s2"),
        398: ForkType("q8_KV_r8", "int8", 4),
        399: ForkType("q8_k_r8", "q8_g256_s2"),
    }
)
"""By their numbers."""


def scales_apart(tensors: Iterable[StoredTensor]) -> Iterator[StoredTensor]:
    """The tensors, and what lies beside the blocks of their rows as tensors of their own."""
    for tensor in tensors:
        if tensor.beside:
            form, each = ("fp32", 4) if tensor.beside % 4 == 0 else ("fp16", 2)
            yield tensor._replace(size=tensor.size - tensor.beside, beside=0)
            yield StoredTensor(f"{tensor.name}_scale", form, tensor.beside // each, tensor.beside)
        else:
            yield tensor
