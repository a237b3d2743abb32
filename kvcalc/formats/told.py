"""What the name of a repository or a tag says of how its weights are stored: -FP8-dynamic, -AWQ, .w4a16, :q4_K_M."""

from __future__ import annotations

import re
from typing import NamedTuple

_START, _END = r"(?:^|[-_. :])", r"(?=[-_. :]|$)"
_Q = r"q[1-8]_(?:k(?:_(?:xs|s|m|l|xl|xxl))?|0|1)|iq[1-4]_(?:xxs|xs|s|m|nl|k|ks)|tq[12]_0|mxfp4_moe"

GGUF = "gguf"
"""The word for a file of llama.cpp, which may hold any format."""


def _named(words: str, stored: str) -> tuple[re.Pattern[str], str]:
    return re.compile(f"{_START}(?:{words}){_END}"), stored


_NAMES = (
    _named(r"(?:qat[-_.])?(?:q[48]_0[-_.])?unquantized", "bf16"),
    _named(r"(?:ud[-_])?(?:qat[-_])?(?P<type>" + _Q + r")(?:[-_.](?:i1[-_.])?gguf)?", "{type}"),
    _named(r"(?:ud[-_])?q(?P<bits>[2-6])k(?P<size>xs|s|m|l|xl)(?=[-_.]gguf)", "q{bits}_k_{size}"),
    _named(r"q8(?=[-_.]gguf)", "q8_0"),
    _named(r"q6(?=[-_.]gguf)", "q6_k"),
    _named(r"(?P<bits>q[2-5])(?=[-_.]gguf)", "{bits}"),  # of which llama.cpp has several
    _named(r"(?:i1[-_.]|imatrix[-_.])?gguf", GGUF),
    _named(r"nvfp4(?:[-_.]mlp)?[-_.]fp8[-_.]?kv", "nvfp4"),  # fp8 is the cache's
    _named(r"fp8[-_.]?blocks?|fp8[-_.]w8a8[-_.]block", "fp8_block"),
    _named(r"(?:quantized[-_.])?(?:w8a8[-_.])?fp8(?:[-_.]?(?:dynamic|kv|w8a8|e4m3|static|tensor))*", "fp8"),
    _named(r"(?:nv)?fp4(?:a16|[-_.]kv)?", "nvfp4"),
    _named(r"mxfp4[-_.]q(?P<rest>[48])", "mxfp4_q{rest}"),
    _named(r"mxfp4(?:[-_.](?:default|preview|moe))?", "mxfp4"),
    _named(r"mxfp8", "mxfp8"),
    _named(r"gptq[-_.](?:int8|8bits?)(?:[-_.]128g)?", "int8_g128"),
    _named(r"(?:mlx[-_.])(?P<bits>[2-68])[-_.]?bits?(?:[-_.]dwq)?|(?P<dwq>[2-68])bit[-_.]dwq", "mlx_{bits}bit"),
    _named(r"(?P<bits>[2-68])[-_.]?bits?[-_.]mlx", "mlx_{bits}bit"),
    _named(
        r"exl(?P<kind>[23])(?:[-_.](?:\d+(?:\.\d+)?[-_.]?bpw|tr3|h\d))*|\d+(?:\.\d+)?[-_.]?bpw(?:[-_.]h\d)?[-_.]exl(?P<kind2>[23])",
        "exl{kind}",
    ),
    _named(
        r"unsloth[-_.](?:dynamic[-_.])?bnb[-_.]4[-_]?bits?", "unsloth_bnb_4bit"
    ),  # which leaves modules that each file lists
    _named(r"bnb[-_.]4[-_]?bits?", "nf4_double"),  # bnb_4bit_use_double_quant of Unsloth's files
    _named(r"(?:bnb[-_.])?nf4", "nf4"),
    _named(r"(?:quantized[-_.])?w8a8(?:[-_.]int8)?|w8a16|int8|bnb[-_.]8bits?|8bits?", "int8"),
    _named(r"(?:quantized[-_.])?w4a16[-_.]g32|qat[-_.]w4a16(?:[-_.]ct)?", "w4a16_g32"),
    _named(r"(?:quantized[-_.])?w4a16(?:[-_.](?:ct|g128))?", "w4a16"),
    _named(r"(?:awq|gptq)(?:[-_.](?:w4a16|int4|4bits?))?[-_.](?:g(?P<size>32|64)|(?P<size2>32|64)g)", "int4_g{size}"),
    _named(
        r"awq(?:[-_.](?:int4|4bits?|w4|asym|g128))*|gptq(?:[-_.](?:int4|4bits?|128g|marlin))*"
        r"|int4(?:[-_.](?:autoround|g128))*|autoround(?:[-_.](?:int4|4bits?|awq|gptq))*|4bits?(?:[-_.]128g)?",
        "int4",
    ),
    _named(r"w4a(?P<acts>[48])", "w4a{acts}"),
    _named(r"bf16|bfloat16", "bf16"),
    _named(r"fp16|float16|f16", "fp16"),
)
"""In the order in which they are looked for: the longer first."""

_MLX_ORGANISATIONS = frozenset({"mlx-community"})
_MLX_BITS = re.compile(f"{_START}(?P<bits>[2-68])[-_.]?bits?(?:[-_.]dwq)?{_END}")
_MLX = re.compile(f"{_START}mlx{_END}")


_BITS = re.compile(r"(?:fp|int|nf|w)([2-8])|([2-8])[-_]?bits?")
"""Of one word for a format; awq and gptq alone tell none."""


class ToldFormat(NamedTuple):
    """A name without the words for a format.

    Attributes:
        bare: what is left of the name.
        stored: the format of the weights; None where the name has no word for one.
        gguf: whether it is a file of llama.cpp.
    """

    bare: str
    stored: str | None = None
    gguf: bool = False


def told_format(name: str, organisation: str = "") -> ToldFormat:
    """What a name says of its weights.

    Args:
        name: of a repository, without its organisation, or with the tag of a registry.
        organisation: some store in one library's formats only.
    """
    bare, stored, gguf = name.lower(), None, False
    widths: dict[str, str] = {}
    of_mlx = organisation.lower() in _MLX_ORGANISATIONS or bare.startswith("mlx-")
    if of_mlx and (found := _MLX_BITS.search(bare)):
        bare, stored = _MLX_BITS.sub("", bare), f"mlx_{found['bits']}bit"
    for pattern, form in _NAMES:
        found = pattern.search(bare)
        if found is None:
            continue
        bare = pattern.sub("", bare)
        if form == GGUF or _is_of_llama_cpp(found):
            gguf = True
        if form != GGUF:
            told = form.format(**_groups(found))
            stored = stored or told
            if (width := _BITS.search(found[0])) is not None and not gguf:
                widths.setdefault(width[1] or width[2], told)
    if len(widths) > 1:  # parts in one and parts in the other: NVFP4-INT8
        stored = "_and_".join(widths.values())
    bare = _MLX.sub("", bare)
    return ToldFormat(bare.strip("-_. :"), stored, gguf)


def _groups(found: re.Match[str]) -> dict[str, str]:
    """The groups that a name fills, under the name that the format has for them."""
    aliases = {"dwq": "bits", "size2": "size", "kind2": "kind"}
    return {aliases.get(name, name): value for name, value in found.groupdict().items() if value}


def _is_of_llama_cpp(found: re.Match[str]) -> bool:
    return bool(found.groupdict().get("type"))
