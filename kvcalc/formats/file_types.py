"""File types of llama.cpp, whose files keep their tensors in several kinds of blocks.

A file's bits a weight depend on the share of its tables, which are in other blocks than its layers: those of
Llama-3.1-8B, of which llama.cpp states its bits, take 13 % of its parameters, those of a model of 70B 3 %. So tables
are counted in their own blocks, and layers in what is left of the stated bits.
"""

from __future__ import annotations

from fractions import Fraction
from types import MappingProxyType
from typing import TYPE_CHECKING

from kvcalc.formats.element import ElementFormat
from kvcalc.named_tuple import NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

SOURCE = "llama.cpp, tools/quantize/README.md: bits a weight of Llama-3.1-8B; other models' files differ"
_PUBLISHED = (
    "llama.cpp, Llama-3-8B's published file: 4,018,917,664 bytes, 303,038,464 fewer than Q3_K_L's; others differ"
)
_LAYERS = "llama.cpp, src/llama-quant.cpp, llama_tensor_get_type: tables apart, of the bits that its README states"
_FALLBACK = "llama.cpp, src/llama-quant.cpp, llama_tensor_get_type and tensor_type_fallback"
OF_FILE, OF_LAYERS = "_mix", "_layers"
"""What a file type is called behind the name that it shares with a block, and what its layers are in."""

MIX_BLOCK = 10_000
"""Weights that the bits of a mix are stated of, in whole bytes."""
_ALL, _TABLE = 8_030_261_248, 128_256 * 4096
"""Parameters of Llama-3.1-8B, and of each of its two tables."""


_DOWN = 32 * 14336 * 4096
"""Parameters of its down-projections, which some file types have in other blocks."""
OF_ROWS, OF_DOWN, FALLEN = "_rows", "_down", "_fallen"
"""What other matrices and down-projections are in, and in which blocks where rows fall back to those of 32."""
EVEN = 256
"""Elements of a row that llama.cpp's K and IQ blocks divide."""


class Tables(NamedTuple):
    """What a file type has its tables in, and what its layers take on average; a tied table is as a head.

    Attributes:
        experts: what routed experts are in; None: as layers.
    """

    head: str
    embedding: str
    layers: str
    experts: str | None = None


_BITS: Mapping[tuple[str, str], Mapping[str, int]] = {
    ("q5_k", "q2_k"): {"iq1_s": 20_042, "iq1_m": 21_460, "iq2_xxs": 23_824, "iq2_xs": 25_882},
    ("q5_k", "iq3_s"): {"iq2_s": 27_403, "iq2_m": 29_294, "iq3_xxs": 32_548},
    ("q6_k", "iq3_s"): {"iq3_xs": 34_977, "iq3_s": 36_606, "iq3_m": 37_628},
    ("q6_k", "q2_k"): {"q2_k_s": 29_697, "q2_k": 31_593},
    ("q6_k", "q3_k"): {"q3_k_s": 36_429, "q3_k_m": 39_960, "q3_k_l": 42_979},
    ("q6_k", "q4_k"): {"q4_k_s": 46_672, "q4_k_m": 48_944},
    ("q6_k", "q5_k"): {"q5_k_s": 55_704, "q5_k_m": 57_036},
    ("q6_k", "iq4_xs"): {"iq4_xs": 44_597},
    ("q6_k", "iq4_nl"): {"iq4_nl": 46_818},
}
"""Ten-thousandths of a bit a weight, by the blocks of a head and of an embedding."""

_FALLS_TO: Mapping[str, str] = MappingProxyType(
    {
        **dict.fromkeys(("iq1_s", "iq1_m", "iq2_xxs", "iq2_xs", "iq2_s", "iq3_xxs", "iq3_s", "iq4_xs"), "iq4_nl"),
        **dict.fromkeys(("q2_k", "q3_k", "tq1_0", "tq2_0"), "q4_0"),
        "q4_k": "q5_0",
        "q5_k": "q5_1",
        "q6_k": "q8_0",
    }
)
"""Blocks of 32 that hold a row which blocks of 256 do not fill (llama-quant.cpp, tensor_type_fallback)."""
_BASE: Mapping[str, str] = MappingProxyType(
    {"iq2_m": "iq2_s", "iq3_xs": "iq3_s", "iq3_m": "iq3_s"}
    | {f"q{bits}_k_{size}": f"q{bits}_k" for bits in (2, 3, 4, 5) for size in "sml"}
)
"""The blocks of most matrices of a file type's layers, where its name is not theirs (llama_ftype_get_default_type)."""
_EIGHTHS: Mapping[str, Mapping[str, int]] = MappingProxyType(
    {
        "q2_k": {"q3_k": 8},
        "q2_k_s": {"q4_k": 1, "q2_k": 7},
        "q3_k_m": {"q4_k": 8},
        "q3_k_l": {"q5_k": 8},
        "q4_k_s": {"q5_k": 1, "q4_k": 7},
        "q4_k_m": {"q6_k": 4, "q4_k": 4},
        "q5_k_m": {"q6_k": 4, "q5_k": 4},
        "iq3_m": {"q4_k": 1, "iq3_s": 7},
    }
)
"""Eighths of the layers whose down-projections are in other blocks than the base's, as with an importance matrix."""

_BLOCKS_TOO = frozenset(
    {"iq1_s", "iq1_m", "iq2_xxs", "iq2_xs", "iq2_s", "iq3_xxs", "iq3_s", "iq4_xs", "iq4_nl", "q2_k"}
)
_OF_BLOCK: Mapping[str, tuple[str, str]] = MappingProxyType(
    {name: ("q6_k", name) for name in ("q4_0", "q4_1", "q5_0", "q5_1", "q6_k")}
    | dict.fromkeys(("tq1_0", "tq2_0"), ("q6_k", "q4_k"))
)
"""File types whose layers are all in the block of their name: the blocks of a head and of an embedding."""
_WIDE: Mapping[str, str] = MappingProxyType(
    {"q2_k_l": "q2_k", "q3_k_xl": "q3_k_l", "q4_k_l": "q4_k_m", "q5_k_l": "q5_k_m", "q6_k_l": "q6_k"}
)
"""What people call a file whose tables are in q8_0, by the type that its layers are of."""
_WIDE_TABLE = "q8_0"
_TABLES_WIDE = "llama.cpp, as bartowski's model cards say: embedding and output weights in Q8_0, all else as the type's"
EXPERTS_APART: Mapping[str, Tables] = MappingProxyType({"mxfp4_moe": Tables("q8_0", "q8_0", "q8_0", "mxfp4")})
"""File types that have routed experts in blocks of their own (llama-quant.cpp, LLAMA_FTYPE_MOSTLY_MXFP4_MOE)."""


def file_types(blocks: Mapping[str, ElementFormat]) -> Iterator[ElementFormat]:
    """The formats of whole files and of their layers."""
    for name, tables in EXPERTS_APART.items():
        rest = blocks[tables.layers]
        about = f"{tables.experts} for routed experts, else {tables.layers}, as of llama-quantize; some leave more"
        yield ElementFormat(name, rest.block_elems, rest.block_bytes, about, _FALLBACK)
    sizes: dict[str, Fraction] = {}
    for both, types in _BITS.items():
        head, embedding = (Fraction(blocks[each].block_bytes, blocks[each].block_elems) for each in both)
        for name, bits in types.items():
            of_file = name + OF_FILE if name in blocks else name
            size = round(Fraction(bits, 8))
            about = f"{8 * size / MIX_BLOCK:g} bits a weight of Llama-3.1-8B: a mix of blocks, which differs by model"
            yield ElementFormat(of_file, MIX_BLOCK, size, about, _PUBLISHED if name == "q3_k_m" else SOURCE)
            left = (Fraction(bits, 8 * MIX_BLOCK) * _ALL - (head + embedding) * _TABLE) / (_ALL - 2 * _TABLE)
            size = round(left * MIX_BLOCK)
            about = f"{8 * size / MIX_BLOCK:g} bits a weight of Llama-3.1-8B's layers in a file of {of_file}"
            yield ElementFormat(name + OF_LAYERS, MIX_BLOCK, size, about, _LAYERS)
            yield from _of_uneven_rows(name, left, blocks)
            sizes[name] = left
    sizes["q6_k"] = Fraction(blocks["q6_k"].block_bytes, blocks["q6_k"].block_elems)
    table = Fraction(blocks[_WIDE_TABLE].block_bytes, blocks[_WIDE_TABLE].block_elems)
    for wide, name in _WIDE.items():
        size = round((sizes[name] * (_ALL - 2 * _TABLE) + 2 * table * _TABLE) / _ALL * MIX_BLOCK)
        about = f"{8 * size / MIX_BLOCK:g} bits a weight of Llama-3.1-8B: {name} with its tables in {_WIDE_TABLE}"
        yield ElementFormat(wide, MIX_BLOCK, size, about, _TABLES_WIDE)


def _of_uneven_rows(name: str, layers: Fraction, blocks: Mapping[str, ElementFormat]) -> Iterator[ElementFormat]:
    """What a file's layers are in where blocks of 256 do not fill the rows of some of their matrices."""

    def size(block: str) -> Fraction:
        return Fraction(blocks[block].block_bytes, blocks[block].block_elems)

    base = _BASE.get(name, name)
    eighths = _EIGHTHS.get(name, {base: 8})
    down = sum((size(each) * count for each, count in eighths.items()), Fraction()) / 8
    fallen = sum((size(_FALLS_TO.get(each, each)) * count for each, count in eighths.items()), Fraction()) / 8
    of_layers = _ALL - 2 * _TABLE
    rows = (layers * of_layers - down * _DOWN) / (of_layers - _DOWN)
    more = max(rows - size(base), Fraction()) if base in {"q3_k", "q4_k", "q5_k"} else 0
    sizes = {
        OF_ROWS: rows,
        OF_DOWN: down,
        OF_ROWS + FALLEN: size(_FALLS_TO.get(base, base)) + more,
        OF_DOWN + FALLEN: fallen,
    }
    for suffix, each in sizes.items():
        what = "down-projections" if suffix.startswith(OF_DOWN) else "other matrices"
        where = ", in blocks of 32 since those of 256 do not fill their rows" if suffix.endswith(FALLEN) else ""
        whole = round(each * MIX_BLOCK)
        about = f"{8 * whole / MIX_BLOCK:g} bits a weight of the layers' {what} in a file of {name}{where}"
        yield ElementFormat(name + suffix, MIX_BLOCK, whole, about, _FALLBACK)


def is_mix(element_format: ElementFormat) -> bool:
    """Whether it is a file type of several kinds of blocks, whose bits are those of one model."""
    return element_format.source in {SOURCE, _PUBLISHED, _TABLES_WIDE}


def is_file_type(name: str) -> bool:
    """Whether people and llama.cpp call a file type so, and no block."""
    of_bits = any(name in types for types in _BITS.values())
    return name in EXPERTS_APART or name in _WIDE or (of_bits and name not in _BLOCKS_TOO)


def shown(element_format: ElementFormat) -> str:
    """The name that people and llama.cpp call a format by."""
    return element_format.name.removesuffix(OF_FILE)


def rows_of(layers: str, *, down: bool, uneven: bool, attention: bool) -> str:
    """What some matrices of layers are in: down-projections or others, with or without attention's, of such rows."""
    name = layers.removesuffix(OF_LAYERS)
    if name == layers or not (down or attention or name == "iq3_xs"):
        block = _BASE.get(name, name)
        return _FALLS_TO.get(block, block) if uneven else block
    return name + (OF_DOWN if down else OF_ROWS) + (FALLEN if uneven else "")


def table_in(tables: Tables, hidden_size: int | None, *, is_head: bool) -> str:
    """The blocks that a table is in: of 32 where those of 256 do not fill its rows, as a head in q8_0."""
    if not (hidden_size or EVEN) % EVEN:
        return tables.head if is_head else tables.embedding
    return "q8_0" if is_head else _FALLS_TO.get(tables.embedding, tables.embedding)


def file_type_of(name: str) -> str:
    """What llama-quantize makes of a name that a block has too (tools/quantize/quantize.cpp, QUANT_OPTIONS)."""
    return _OF_BLOCKS.get(name, name)


def tables_of(name: str) -> Tables | None:
    """What a format's files have their tables in, where in other blocks than their layers."""
    return _TABLES.get(name)


_TABLES: Mapping[str, Tables] = MappingProxyType(
    {
        name + suffix: Tables(head, embedding, name + OF_LAYERS)
        for (head, embedding), types in _BITS.items()
        for name in types
        for suffix in ("", OF_FILE)
    }
    | {name: Tables(head, embedding, name) for name, (head, embedding) in _OF_BLOCK.items()}
    | {
        wide: Tables(_WIDE_TABLE, _WIDE_TABLE, name if name in _OF_BLOCK else name + OF_LAYERS)
        for wide, name in _WIDE.items()
    }
    | dict(EXPERTS_APART)
)
_OF_BLOCKS: Mapping[str, str] = MappingProxyType(
    {
        **{name: name + OF_FILE for types in _BITS.values() for name in types if name in _BLOCKS_TOO},
        **{f"q{bits}_k": f"q{bits}_k_m" for bits in (3, 4, 5)},
    }
)
