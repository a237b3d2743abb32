"""Element formats: how many bytes a row of cached elements or a count of parameters takes, scales included.

A row is what one token adds to one tensor: `heads` times `width` elements. Most formats are "block_elems elements take
block_bytes bytes"; some add bytes for each head's scale. Sources are beside the table.
"""

from __future__ import annotations

import math
from enum import Enum
from types import MappingProxyType
from typing import TYPE_CHECKING

from kvcalc.errors import KvcalcError
from kvcalc.named_tuple import NamedTuple
from kvcalc.term import Factor

if TYPE_CHECKING:
    from collections.abc import Mapping


class Ragged(Enum):
    """What happens to a row that whole blocks do not fill."""

    REFUSED = "refused"
    PADDED = "padded"


class ElementFormat(NamedTuple):
    """How elements are stored.

    Attributes:
        name: as `--cache-dtype` takes it.
        block_elems: elements in a block.
        block_bytes: bytes of a block, its scales included.
        head_bytes: bytes kept beside each head of each token (a scale).
        ragged: whether a row that blocks do not fill is refused or padded to whole blocks.
        about: what it is, in a sentence.
        source: who defines the layout.
        group: elements that share a scale, where a block holds several such groups.
    """

    name: str
    block_elems: int
    block_bytes: int
    about: str
    source: str
    head_bytes: int = 0
    ragged: Ragged = Ragged.REFUSED
    group: int | None = None

    @property
    def kept_together(self) -> int:
        """Elements of a row that share a scale, or a byte."""
        return self.group or self.block_elems

    def row(self, heads: Factor | None, dims: tuple[Factor, ...]) -> tuple[Factor, ...]:
        """The factors whose product is the bytes of one row.

        Args:
            heads: how many heads the row holds; None for a tensor without heads.
            dims: whose product is the elements of a head.

        Raises:
            KvcalcError: blocks do not fill the row and the format does not pad.
        """
        head_factors = () if heads is None else (heads,)
        if self.head_bytes:
            head = self._blocks(dims) * self.block_bytes + self.head_bytes
            return (*head_factors, Factor("bytes_per_head", head, "byte a head"))
        if self.block_elems == 1:
            return (*head_factors, *dims, Factor("bytes_per_element", self.block_bytes, "byte"))
        return (
            Factor(
                f"blocks_of_{self.block_elems}", self._blocks((*head_factors, *dims)), f"block of {self.block_elems}"
            ),
            Factor("bytes_per_block", self.block_bytes, "byte"),
        )

    def parameters(self, count: int) -> tuple[Factor, ...]:
        """The factors whose product is the bytes of `count` parameters; a last block that is not full counts whole."""
        if self.head_bytes:
            raise KvcalcError(f"format {self.name} keeps a scale per head: it is for caches, not for weights")
        if self.block_elems == 1:
            return Factor("parameters", count, "parameter"), Factor("bytes_per_parameter", self.block_bytes, "byte")
        blocks = -(-count // self.block_elems)
        return (
            Factor(f"blocks_of_{self.block_elems}", blocks, f"block of {self.block_elems} parameters"),
            Factor("bytes_per_block", self.block_bytes, "byte"),
        )

    def _blocks(self, row: tuple[Factor, ...]) -> int:
        elements = math.prod(factor.value for factor in row)
        blocks, rest = divmod(elements, self.block_elems)
        if rest and self.ragged is Ragged.REFUSED:
            raise KvcalcError(
                f"format {self.name} stores blocks of {self.block_elems} elements, and a row here has {elements} "
                f"({' x '.join(factor.name for factor in row)}), which is not a multiple; choose another --cache-dtype"
            )
        return blocks + (rest > 0)


_IEEE = "IEEE 754-2019; https://cloud.google.com/tpu/docs/bfloat16 for bfloat16"
_OCP8 = "OCP 8-bit Floating Point Specification 1.0"
_OCPMX = "OCP Microscaling Formats (MX) Specification 1.0: 32 elements share one 8-bit scale"
_GGML = "llama.cpp, ggml/src/ggml-common.h, block_{name}"
_VLLM = "vLLM 0.33.0, vllm/v1/kv_cache_interface.py: an fp32 scale for each head and token"
_NVFP4 = (
    "NVIDIA, https://developer.nvidia.com/blog/introducing-nvfp4-for-efficient-and-accurate-low-precision-inference/"
)
_BLOCK128 = "DeepSeek, FlashMLA csrc/api/sparse_decode.h: 128 fp8 values and one fp32 scale"


_DS_V4 = "vLLM 0.33.0, vllm/models/deepseek_v4/attention.py: 448B NoPE + 128B RoPE + 8B fp8 scale = 584B per token"


def _ggml(name: str, block_bytes: int, about: str) -> ElementFormat:
    return ElementFormat(name, 32, block_bytes, about, _GGML.format(name=name))


FORMATS: Mapping[str, ElementFormat] = MappingProxyType(
    {
        element_format.name: element_format
        for element_format in (
            ElementFormat("fp32", 1, 4, "32-bit floating point", _IEEE),
            ElementFormat("bf16", 1, 2, "bfloat16: 8 exponent and 7 fraction bits", _IEEE),
            ElementFormat("fp16", 1, 2, "16-bit floating point", _IEEE),
            ElementFormat("fp8", 1, 1, "8-bit float e4m3; a scale per tensor is not counted", _OCP8),
            ElementFormat("fp8_e5m2", 1, 1, "8-bit float e5m2; a scale per tensor is not counted", _OCP8),
            ElementFormat("int8", 1, 1, "8-bit integer; a scale per tensor is not counted", _OCP8),
            ElementFormat("fp8_per_token_head", 1, 1, "8-bit float, a scale per head and token", _VLLM, 4),
            ElementFormat("int8_per_token_head", 1, 1, "8-bit integer, a scale per head and token", _VLLM, 4),
            ElementFormat(
                "int4_per_token_head",
                2,
                1,
                "4-bit integer, a scale per head and token",
                _VLLM,
                4,
                Ragged.PADDED,
            ),
            ElementFormat("fp8_block128", 128, 132, "8-bit float, an fp32 scale per 128", _BLOCK128),
            ElementFormat(
                "fp8_ds_v4",
                512,
                584,
                "448 values in 8-bit float with a byte of scale per 64, one byte unused, and 64 in bf16",
                _DS_V4,
                ragged=Ragged.PADDED,
                group=64,
            ),
            _ggml("q8_0", 34, "8-bit blocks of 32 with an fp16 scale"),
            _ggml("q5_1", 24, "5-bit blocks of 32 with an fp16 scale and minimum"),
            _ggml("q5_0", 22, "5-bit blocks of 32 with an fp16 scale"),
            _ggml("q4_1", 20, "4-bit blocks of 32 with an fp16 scale and minimum"),
            _ggml("q4_0", 18, "4-bit blocks of 32 with an fp16 scale"),
            _ggml("iq4_nl", 18, "4-bit non-linear blocks of 32 with an fp16 scale"),
            ElementFormat("nvfp4", 16, 9, "4-bit float e2m1, an fp8 scale per 16", _NVFP4),
            ElementFormat("mxfp8", 32, 33, "8-bit float, a shared exponent per 32", _OCPMX),
            ElementFormat("mxfp4", 32, 17, "4-bit float e2m1, a shared exponent per 32", _OCPMX),
        )
    }
)

COMPUTE_FORMATS = ("fp32", "bf16", "fp16")
"""Those that models compute in."""

ALIASES: Mapping[str, str] = MappingProxyType(
    {
        "float32": "fp32",
        "f32": "fp32",
        "bfloat16": "bf16",
        "float16": "fp16",
        "f16": "fp16",
        "half": "fp16",
        "fp8_e4m3": "fp8",
    }
)

TENSOR_FORMATS: Mapping[str, Mapping[str, str]] = MappingProxyType(
    {
        # 512 latent elements in fp8 with four scales, 64 rotary elements in bf16: 656 bytes.
        # FlashMLA, csrc/api/sparse_decode.h.
        # DeepSeek-V4 has entries of 448 elements in fp8 with seven scales and 64 in bf16 instead: 584 bytes.
        "fp8_ds_mla": MappingProxyType(
            {"c_kv": "fp8_block128", "k_rope": "bf16", "kv": "fp8_ds_v4", "compressed_kv": "fp8_ds_v4"}
        ),
    }
)
"""Cache formats that give each tensor of a mechanism its own element format; of a model, those that it keeps."""
