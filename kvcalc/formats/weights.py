"""Formats that only weights are stored in: llama.cpp's blocks of 256, packed words, and what files call plain numbers.

Caches are kept in the formats of element.py, in which weights may be stored too.
"""

from __future__ import annotations

import re
from math import gcd
from types import MappingProxyType
from typing import TYPE_CHECKING

from kvcalc.errors import KvcalcError, did_you_mean, nearest_or_all
from kvcalc.formats.by_name import by_hand, check_format
from kvcalc.formats.element import ALIASES, FORMATS, ElementFormat, Ragged
from kvcalc.formats.file_types import file_type_of, file_types, is_file_type

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

_LLAMA_CPP = "llama.cpp, "
_GGML = f"{_LLAMA_CPP}ggml/src/ggml-common.h, block_{{name}}"
_SAFETENSORS = "safetensors 0.8.0, safetensors/src/tensor.rs, Dtype: its bits"


def _blocks(names: str, block_elems: int, *sizes: int) -> Iterator[ElementFormat]:
    for name, size in zip(names.split(), sizes, strict=True):
        about = f"{8 * size / block_elems:g} bits an element: blocks of {block_elems}, scales included"
        yield ElementFormat(name, block_elems, size, about, _GGML.format(name=name))


def _plain(sizes: Mapping[str, int], about: str) -> Iterator[ElementFormat]:
    return (ElementFormat(name, 1, size, about, _SAFETENSORS) for name, size in sizes.items())


def _grouped(bits: int, groups: Mapping[str, int]) -> Iterator[ElementFormat]:
    """Integers of so many bits, each group of them with a 16-bit scale and a zero of as many bits; whole bytes."""
    together = max(2, 8 // gcd(bits, 8))
    for name, group in groups.items():
        about = f"{bits}-bit integer, a 16-bit scale and a {bits}-bit zero per {group}"
        size = together * (group * bits // 8 + 2) + together * bits // 8
        yield ElementFormat(name, together * group, size, about, _GPTQ.format(f"group_size {group}"), group=group)


def _mlx(bits: int, group: int) -> ElementFormat:
    name = f"mlx_{bits}bit" + ("" if group == _MLX_GROUP else f"_g{group}")
    about = f"{bits}-bit integer, a 16-bit scale and bias per {group}"
    return ElementFormat(name, group, bits * group // 8 + 4, about, _AFFINE.format(group))


def _by_name(formats: Iterable[ElementFormat]) -> Mapping[str, ElementFormat]:
    return MappingProxyType({each.name: each for each in formats})


_MLX = "MLX, "
_MLX_GROUP = 64
"""Elements, where nobody says otherwise."""
_AFFINE = (
    f"{_MLX}mlx.nn.quantize, group_size {{}}, mode affine: weight, scales and biases of linear layers and embeddings"
)
_MLX_FLOATS = f"{_MLX}mlx.nn.quantize, mode {{}}: weight and scales of linear layers and embeddings"
_BITNET = "transformers 5.24.0, integrations/bitnet.py, BitLinear: weight and weight_scale"
_GPTQ = "AutoGPTQ and AutoAWQ, {}: qweight, scales and qzeros of a linear layer"
_PACKED = "compressed-tensors, scheme W4A16: weight_packed and weight_scale, group_size {}, symmetric"

_BLOCKS = "DeepSeek-V3, inference/kernel.py: weight_scale_inv, one for 128 x 128 of a matrix"
_BITSANDBYTES = "bitsandbytes, Linear4bit with blocks of 64, its scales not quantised in turn, as vLLM loads them"
_DOUBLY = "bitsandbytes 0.50.2, functional.py, quantize_4bit with compress_statistics: absmax and nested_absmax"

_WORDS = {"int16": 2, "int32": 4, "int64": 8, "uint8": 1, "uint16": 2, "uint32": 4, "uint64": 8}

_GGML_BLOCKS = _by_name(
    (
        *_blocks("q2_k q3_k q4_k q5_k q6_k", 256, 84, 110, 144, 176, 210),
        *_blocks("iq1_s iq1_m iq2_xxs iq2_xs iq2_s", 256, 50, 56, 66, 74, 82),
        *_blocks("iq3_xxs iq3_s iq4_xs tq1_0 tq2_0", 256, 98, 110, 136, 54, 66),
        *_blocks("q1_0", 128, 18),
    )
)
_OF_FILES = _by_name(file_types({**FORMATS, **_GGML_BLOCKS}))
"""File types, and what parts of their layers are in: names that nobody types but files of models may have."""
WEIGHT_FORMATS: Mapping[str, ElementFormat] = _by_name(
    (
        *_GGML_BLOCKS.values(),
        *(each for each in _OF_FILES.values() if is_file_type(each.name)),
        *_plain({"fp64": 8}, "64-bit floating point"),
        ElementFormat(
            "fp8_block", 128 * 128, 128 * 128 + 4, "8-bit float, an fp32 scale per 128 x 128", _BLOCKS, group=128
        ),
        *_grouped(4, {"int4": 128, "int4_g64": 64, "int4_g32": 32}),
        *_grouped(8, {"int8_g128": 128}),
        *_grouped(3, {"int3": 128, "int3_g64": 64, "int3_g32": 32}),
        *_grouped(2, {"int2": 128, "int2_g64": 64, "int2_g32": 32}),
        *(_mlx(bits, group) for group in (64, 32, 128) for bits in (2, 3, 4, 5, 6, 8)),
        ElementFormat("mlx_mxfp4", 32, 17, "4-bit float, an 8-bit exponent per 32", _MLX_FLOATS.format("mxfp4")),
        ElementFormat("mlx_mxfp8", 32, 33, "8-bit float, an 8-bit exponent per 32", _MLX_FLOATS.format("mxfp8")),
        ElementFormat("mlx_nvfp4", 16, 9, "4-bit float, an 8-bit scale per 16", _MLX_FLOATS.format("nvfp4")),
        ElementFormat("bitnet", 4, 1, "2 bits, four to a byte, and one scale a matrix", _BITNET, ragged=Ragged.PADDED),
        ElementFormat("w4a16", 128, 66, "4-bit integer, a 16-bit scale per 128", _PACKED.format(128)),
        ElementFormat("w4a16_g32", 32, 18, "4-bit integer, a 16-bit scale per 32", _PACKED.format(32), group=32),
        ElementFormat("nf4", 64, 36, "4-bit normal float, an fp32 scale per 64", _BITSANDBYTES),
        ElementFormat(
            "nf4_double",
            64 * 256,
            64 * 256 // 2 + 256 + 4,
            "4-bit normal float, an 8-bit scale per 64 and an fp32 scale per 256 of these",
            _DOUBLY,
            group=64,
        ),
        *_plain(_WORDS, "words, in which quantised weights may be packed"),
        *_plain({"bool": 1}, "a byte that is true or false"),
        *_plain({"fp8_e8m0": 1}, "an exponent, which others share as their scale"),
        ElementFormat("fp4", 2, 1, "4-bit float e2m1, its scales elsewhere", _SAFETENSORS, ragged=Ragged.PADDED),
        ElementFormat("fp6_e2m3", 4, 3, "6-bit float e2m3, its scales elsewhere", _SAFETENSORS, ragged=Ragged.PADDED),
        ElementFormat("fp6_e3m2", 4, 3, "6-bit float e3m2, its scales elsewhere", _SAFETENSORS, ragged=Ragged.PADDED),
    )
)


WEIGHT_ALIASES: Mapping[str, str] = MappingProxyType(
    {
        **ALIASES,
        **dict.fromkeys(("gptq", "awq", "int4_g128", "gptq_int4", "awq_int4", "autoround"), "int4"),
        **dict.fromkeys(("gptq_int8",), "int8_g128"),
        **dict.fromkeys(("w4a16_g128", "wna16"), "w4a16"),
        **dict.fromkeys(("w8a8", "w8a8_int8", "w8a16", "llm_int8"), "int8"),
        **dict.fromkeys(("fp8_dynamic", "fp8_static", "w8a8_fp8"), "fp8"),
        **dict.fromkeys(("fp8_block128x128", "fp8_128x128"), "fp8_block"),
        **dict.fromkeys(("bnb", "bnb_4bit", "bitsandbytes"), "nf4"),
        **dict.fromkeys(("nf4_double_quant", "bnb_double_quant"), "nf4_double"),
    }
)
"""Other names of them, those of FORMATS among them."""


BY_FILE = ("exl2", "exl3", "hqq", "aqlm", "vptq", "quip")
"""Formats whose bits each file chooses, tensor by tensor."""


_TOLD: Mapping[str, str] = MappingProxyType(
    {
        r"ud_": "is a mix that Unsloth chooses for each model, tensor by tensor: kvcalc estimate FILE.gguf, or "
        "hf:unsloth/NAME-GGUF:TYPE, reads it of the file's header",
        r"q4_0_\d_\d": "was q4_0 with its rows in another order, as llama.cpp has them itself now: q4_0 is as large",
        r"(?:iq\d_(?:k|ks|kss|kt|kl|bn)|i2_s)(?:_r\d+)?$": "is of a fork of llama.cpp: kvcalc estimate FILE.gguf reads "
        "its file's header, q4_g256_s8 is 4 bits with 8 bytes of scales for each 256, as written by hand",
    }
)
"""Patterns of names of files that are no one format."""


def is_plain(element_format: ElementFormat) -> bool:
    """Whether each element is a number of at least 16 bits, without a scale."""
    return element_format.block_elems == 1 and element_format.block_bytes > 1


def is_for_layers_alone(element_format: ElementFormat) -> bool:
    """Whether checkpoints have matrices of their layers in it and leave the rest in the model's dtype.

    So do those that transformers and vLLM read, in fp8, int4, nvfp4 and the like (quantization_config, with lm_head
    among what it ignores; embeddings and norms are no linear layers). llama.cpp's and MLX's files have tables in blocks
    too.
    """
    return not is_plain(element_format) and not element_format.source.startswith((_LLAMA_CPP, _MLX))


def is_of_llama_cpp(element_format: ElementFormat) -> bool:
    """Whether llama.cpp's files alone are in it: its blocks, or a mix of them."""
    return element_format.source.startswith(_LLAMA_CPP)


def may_be_in_gguf(element_format: ElementFormat) -> bool:
    """Whether a GGUF file may have tensors in it: as llama.cpp's own blocks, plain, or in the floats of 4 bits.

    Of others its converter makes plain numbers or blocks (ggml/include/ggml.h, enum ggml_type, has no fp8).
    """
    return is_of_llama_cpp(element_format) or is_plain(element_format) or element_format.name in {"mxfp4", "nvfp4"}


def is_of_mlx(element_format: ElementFormat) -> bool:
    """Whether MLX's files alone are in it, which has linear layers and embeddings in it, and no norms or biases."""
    return element_format.source.startswith(_MLX)


def is_of_bitsandbytes(name: str) -> bool:
    """Whether a format of that name is bitsandbytes' own."""
    return name in {"nf4", "nf4_double"}


def holds_words(element_format: ElementFormat) -> bool:
    """Whether its elements are words that may hold several parameters each."""
    return element_format.name in _WORDS


def find_weight_format(name: str, what: str) -> ElementFormat:
    """The format of that name or alias, of those that weights may be stored in.

    Raises:
        KvcalcError: no such format; the nearest names are in the message.
    """
    lowered = name.strip().lower().replace("-", "_")
    lowered = WEIGHT_ALIASES.get(lowered, lowered)
    found = FORMATS.get(lowered) or WEIGHT_FORMATS.get(lowered) or _OF_FILES.get(lowered) or by_hand(lowered, what)
    if found is None and lowered.startswith(BY_FILE):
        raise KvcalcError(
            f"{what}: how many bits a weight takes in '{name[:40]}' is the file's own: --weights SIZE gives all of them"
        )
    told = None if found is not None else next((why for form, why in _TOLD.items() if re.match(form, lowered)), None)
    if told is not None:
        raise KvcalcError(f"{what}: '{name[:40]}' {told}")
    if found is None:
        known = [*FORMATS, *WEIGHT_ALIASES, *WEIGHT_FORMATS]
        raise KvcalcError(
            f"{what}: unknown format '{name[:40]}'{did_you_mean(name, known) or nearest_or_all(name, FORMATS)}"
        )
    return found


def find_asked_format(name: str, what: str) -> ElementFormat:
    """The format that weights are asked for in: of names that are a block's and a file type's, the file type.

    Raises:
        KvcalcError: no such format; the nearest names are in the message.
    """
    found = find_weight_format(name, what)
    file_type = file_type_of(found.name)
    return WEIGHT_FORMATS.get(file_type) or _OF_FILES.get(file_type, found)


def check_weight_format(key: str, name: str | None) -> None:
    """The format that a key of a file names must exist.

    Raises:
        ValueError: it does not.
    """
    check_format(key, name, find_weight_format)
