"""Every packing beside bytes that something else makes: plain Python by the format's rules, or the gguf package."""

from __future__ import annotations

import math
import struct
from collections.abc import Callable
from fractions import Fraction
from itertools import product

import gguf
import numpy as np
import pytest
import torch
from each import for_each
from test_packing_exact import E4M3, float32, int4, iq4_nl, mxfp4, mxfp8, nearest_even, nvfp4, stored

from kvcalc.reference.packing import PACKED

E5M2 = [Fraction(m, 2**16) for m in range(4)]
E5M2 += [Fraction(4 + m, 4) * Fraction(2) ** (e - 15) for e in range(1, 31) for m in range(4)]
INT8 = [Fraction(number) for number in range(128)]

Rule = Callable[[list[float]], list[int]]


def bf16(rows: list[float]) -> list[int]:
    """The upper half of a float32, rounded to even."""
    words = [struct.unpack("<I", struct.pack("<f", number))[0] for number in rows]
    rounded = [(word + 0x7FFF + ((word >> 16) & 1)) >> 16 for word in words]
    return [*struct.pack(f"<{len(rows)}H", *rounded)]


def ieee(letter: str) -> Rule:
    return lambda rows: [*struct.pack(f"<{len(rows)}{letter}", *rows)]


def codes(values: list[Fraction], rows: list[float], scale: float, *, inverse: bool) -> list[int]:
    """The nearest value's code, to even; of integers in two's complement, of floats with a sign bit."""
    one = float32(1 / scale)
    steps = [float32(number * one) if inverse else float32(number / scale) for number in rows]
    found = [nearest_even(values, abs(Fraction(step))) for step in steps]
    signs = [math.copysign(1, step) < 0 for step in steps]
    if values is INT8:
        return [-code % 256 if sign else code for code, sign in zip(found, signs, strict=True)]
    return [code + 128 * sign for code, sign in zip(found, signs, strict=True)]


def scale_of_the_tensor(values: list[Fraction]) -> Rule:
    """One scale, which stays outside."""
    return lambda rows: codes(values, rows, max(map(abs, rows)) / float(values[-1]), inverse=False)


def scale_in_front(values: list[Fraction], elements: int) -> Rule:
    """An fp32 scale before so many codes."""

    def rule(rows: list[float]) -> list[int]:
        found = []
        for start in range(0, len(rows), elements):
            block = rows[start : start + elements]
            scale = float32(max(map(abs, block)) / float(values[-1]))
            found += [*struct.pack("<f", scale), *codes(values, block, scale, inverse=True)]
        return found

    return rule


def by_gguf(name: str) -> Rule:
    kind = gguf.GGMLQuantizationType[name.upper()]
    return lambda rows: [*gguf.quants.quantize(np.array([rows], dtype=np.float32), kind).flatten().tolist()]


def in_blocks(rule: Rule, size: int) -> Rule:
    return lambda rows: [byte for start in range(0, len(rows), size) for byte in rule(rows[start : start + size])]


def nvfp4_of_a_tensor(rows: list[float]) -> list[int]:
    scale = float32(max(map(abs, rows)) / 2688)
    return in_blocks(lambda block: nvfp4(scale, block), 16)(rows)


def entries_of_512(rows: list[float]) -> list[int]:
    """Seven groups of 64 in fp8, 64 numbers in bf16, the groups' scales as exponents of two, and a byte of nothing."""
    row = [*rows, *[0.0] * (-len(rows) % 512)]
    values, scales = [], []
    for start in range(0, 448, 64):
        group = row[start : start + 64]
        least = float32(max(map(abs, group)) / 448)
        exponent = max(-127, math.ceil(math.log2(max(least, 2.0**-127))))
        values += codes(E4M3, group, 2.0**exponent, inverse=True)
        scales.append(exponent + 127)
    return [*values, *bf16(row[448:]), *scales, 0]


RULES: dict[str, Rule] = {
    "fp32": ieee("f"),
    "bf16": bf16,
    "fp16": ieee("e"),
    "fp8": scale_of_the_tensor(E4M3),
    "fp8_e5m2": scale_of_the_tensor(E5M2),
    "int8": scale_of_the_tensor(INT8),
    "fp8_per_token_head": scale_in_front(E4M3, 256),
    "int8_per_token_head": scale_in_front(INT8, 256),
    "int4_per_token_head": int4,
    "fp8_block128": scale_in_front(E4M3, 128),
    "fp8_ds_v4": entries_of_512,
    **{name: by_gguf(name) for name in ("q8_0", "q5_1", "q5_0", "q4_1", "q4_0")},
    "iq4_nl": in_blocks(iq4_nl, 32),
    "nvfp4": nvfp4_of_a_tensor,
    "mxfp8": in_blocks(mxfp8, 32),
    "mxfp4": in_blocks(mxfp4, 32),
}


def test_every_packing_has_its_rules() -> None:
    assert set(RULES) == set(PACKED)


@pytest.mark.parametrize("name", PACKED)
@for_each(("seed", "magnitude"), product([1, 2], [1e-3, 1.0, 300.0]))
def test_it_stores_the_bytes_of_its_rules(name: str, magnitude: float, seed: int) -> None:
    """A row of 256 numbers: one head of one token."""
    rows = (torch.randn(256, generator=torch.Generator().manual_seed(seed)) * magnitude).tolist()
    assert stored(name, rows) == RULES[name](rows)
