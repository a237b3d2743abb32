"""Packings that no library shares: byte for byte as plain Python does them by the rules, one number at a time.

Numbers are fractions, rounded where the rules round; what gguf can read of these layouts, it must read as we do.
"""

from __future__ import annotations

import itertools
import math
import struct
from collections.abc import Callable
from fractions import Fraction

import gguf
import numpy as np
import pytest
import torch
from fuzzing import examples
from hypothesis import example, given
from hypothesis import strategies as st
from numpy.typing import NDArray
from torch import Tensor

from kvcalc.reference.packing import packing

unhurried = examples(50)

Bytes = NDArray[np.uint8]

E2M1 = [Fraction(value) for value in (0, 0.5, 1, 1.5, 2, 3, 4, 6)]
E4M3 = [Fraction(m, 2**9) for m in range(8)]
E4M3 += [Fraction(8 + m, 8) * Fraction(2) ** (e - 7) for e in range(1, 16) for m in range(8)]
E4M3.pop()  # not a number
IQ4_NL = [-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113]


def float32(number: Fraction | float) -> float:
    """Division of two float32 in float64 is exact enough for this to be the float32 nearest to the quotient."""
    return float(struct.unpack("<f", struct.pack("<f", float(number)))[0])


def nearest_even(values: list[Fraction], number: Fraction) -> int:
    """The code of the nearest value, of the even code where two are as near; the last one for all above."""
    return min(range(len(values)), key=lambda code: (abs(values[code] - number), code % 2))


def signed(values: list[Fraction], sign_bit: int, numerator: float, denominator: Fraction) -> int:
    code = nearest_even(values, abs(Fraction(numerator)) / denominator)
    return code + (sign_bit if math.copysign(1, numerator) < 0 else 0)


def pairs(codes: list[int]) -> list[int]:
    return [low + 16 * high for low, high in zip(codes[0::2], codes[1::2], strict=True)]


def halves(codes: list[int]) -> list[int]:
    half = len(codes) // 2
    return [low + 16 * high for low, high in zip(codes[:half], codes[half:], strict=True)]


# --- how each format is defined ---


def mx(values: list[Fraction], sign_bit: int, greatest_exponent: int, block: list[float]) -> tuple[int, list[int]]:
    """OCP Microscaling Formats 1.0, 6.3: the exponent, and a code for each element."""
    largest = max(map(abs, block))
    exponent = math.frexp(largest)[1] - 1 - greatest_exponent if largest else -127
    exponent = max(exponent, -127)
    return exponent + 127, [signed(values, sign_bit, number, Fraction(2) ** exponent) for number in block]


def mxfp8(block: list[float]) -> list[int]:
    exponent, codes = mx(E4M3, 128, 8, block)
    return [exponent, *codes]


def mxfp4(block: list[float]) -> list[int]:
    exponent, codes = mx(E2M1, 8, 2, block)
    return [exponent, *pairs(codes)]


def nvfp4(tensor_scale: float, block: list[float]) -> list[int]:
    """The block's scale is its largest magnitude over 6; both are relative to the tensor's scale."""
    relative = [float32(number / tensor_scale) for number in block]
    scale = nearest_even(E4M3, Fraction(float32(max(map(abs, relative)) / 6)))
    if not scale:
        return [0] * 9
    return [scale, *pairs([signed(E2M1, 8, float32(number / float(E4M3[scale])), Fraction(1)) for number in relative])]


def int4(head: list[float]) -> list[int]:
    """From -7 to 7, half away from zero; of a scale whose inverse float32 does not reach, its largest number."""
    scale = float32(max(map(abs, head)) / 7)
    inverse = float32(min(1 / scale, float(np.finfo(np.float32).max))) if scale else 0.0
    steps = [float32(number * inverse) for number in head]
    codes = [min(7, math.floor(abs(step) + 0.5)) * (-1 if step < 0 else 1) % 16 for step in steps]
    return [*struct.pack("<f", scale), *pairs(codes + [0] * (len(codes) % 2))]


def iq4_nl(block: list[float]) -> list[int]:
    """llama.cpp, quantize_row_iq4_nl_impl without weights and with ntry = -1."""
    extreme = max(block, key=abs)
    if abs(extreme) < 1e-15:
        return [0] * 18
    inverse = float32(1 / float32(extreme / -127))
    scaled = [float32(inverse * number) for number in block]
    codes = [max(range(16), key=lambda code: (-abs(Fraction(IQ4_NL[code]) - Fraction(one)), code)) for one in scaled]
    exact = [Fraction(number) for number in block]
    numerator = sum(number**2 * IQ4_NL[code] * number for number, code in zip(exact, codes, strict=True))
    denominator = sum(number**2 * IQ4_NL[code] ** 2 for number, code in zip(exact, codes, strict=True))
    return [*struct.pack("<e", float32(Fraction(numerator) / denominator)), *halves(codes)]


# --- rows ---


def blocks_of(size: int) -> st.SearchStrategy[list[float]]:
    """Numbers among which ties are common, or of any magnitude, all times a power of two; some zero, of either sign."""
    ties = st.integers(-64, 64).map(lambda quarter: quarter / 4)
    any_size = st.floats(-8, 8, width=32)
    number = st.one_of(ties, any_size, st.sampled_from([0.0, -0.0]))
    return st.builds(
        lambda numbers, exponent: [float32(one * 2.0**exponent) for one in numbers],
        st.lists(number, min_size=size, max_size=size),
        st.integers(-20, 10),
    )


def stored(name: str, rows: list[float]) -> list[int]:
    kept: list[int] = packing(name).pack(torch.tensor(rows).reshape(1, 1, -1)).view(torch.uint8).flatten().tolist()
    return kept


@pytest.mark.parametrize(("name", "rule"), [("mxfp8", mxfp8), ("mxfp4", mxfp4), ("iq4_nl", iq4_nl)])
@unhurried
@given(first=blocks_of(32), second=blocks_of(32))
def test_blocks_are_stored_by_the_rules(
    name: str, rule: Callable[[list[float]], list[int]], first: list[float], second: list[float]
) -> None:
    assert stored(name, first + second) == rule(first) + rule(second)


@unhurried
@given(first=blocks_of(16), second=blocks_of(16))
def test_nvfp4_is_stored_by_the_rules(first: list[float], second: list[float]) -> None:
    largest = max(map(abs, first + second))
    scale = float32(max(largest / 2688, 2.0**-126)) if largest else 1.0
    assert stored("nvfp4", first + second) == nvfp4(scale, first) + nvfp4(scale, second)


@unhurried
@given(block=blocks_of(16))
@example(block=[2.0**-10 * 6 + j * 2.0**-16 for j in range(16)])
@example(block=[2.0**-11] * 8 + [-(2.0**-12)] * 8)  # a scale that rounds to zero
@example(block=[1e30, -1e30, *range(14)])
def test_nvfp4_is_stored_by_the_rules_of_a_tensor_whose_scale_is_1(block: list[float]) -> None:
    kept = packing("nvfp4")
    kept.pack(torch.full((1, 1, 16), 2688.0))
    assert kept.pack(torch.tensor(block).reshape(1, 1, 16)).flatten().tolist() == nvfp4(1.0, block)


@unhurried
@given(block=st.integers(1, 9).flatmap(blocks_of))
@example(block=[2.0**-140, -(2.0**-149)])
@example(block=[7 * 2.0**-129, 2.0**-129])
def test_int4_is_stored_by_the_rules(block: list[float]) -> None:
    assert stored("int4_per_token_head", block) == int4(block)


@unhurried
@given(first=blocks_of(7), second=blocks_of(7))
def test_each_head_of_int4_has_its_own_scale_and_padding(first: list[float], second: list[float]) -> None:
    kept = packing("int4_per_token_head")
    rows = torch.tensor([first, second]).reshape(1, 1, 2, 7)
    bytes_of_heads = kept.pack(rows)
    assert bytes_of_heads.shape == (1, 1, 2, 8)
    assert bytes_of_heads.flatten().tolist() == int4(first) + int4(second)
    back = kept.unpack(bytes_of_heads, (2, 7), torch.float32)
    assert back.shape == rows.shape
    lost = 7 * 2.0**-128  # fp32 has no inverse of a smaller scale, so that all of such a head reads as zero
    assert ((back - rows).abs() <= 0.50001 / 7 * rows.abs().amax(-1, keepdim=True) + lost).all()


# --- by hand ---


def test_an_mxfp4_block_by_hand() -> None:
    """The largest magnitude is in [4, 8) x 2^3, so that the scale is 2^3."""
    values = [0, 0.5, 1, 1.5, 2, 3, 4, 6]
    ties = [0.25, 0.75, 1.25, 1.75, 2.5, 3.5, 5, 7.999]  # to the even code; above 6 it saturates
    row = [8.0 * one for one in (*values, *(-one for one in values), *ties, *(-one for one in ties))]
    row[8] = -0.0
    codes = [*range(16), 0, 2, 2, 4, 4, 6, 6, 7, 8, 10, 10, 12, 12, 14, 14, 15]
    assert stored("mxfp4", row) == [130, *pairs(codes)]


def test_an_mxfp8_block_by_hand() -> None:
    """The largest magnitude is in [256, 512), so that the scale is 1; above 448 it saturates."""
    row = [511.0, -449.0, 448, 1, -1, 0.001953125, 17, 19, -0.0] + [0.0] * 23
    assert stored("mxfp8", row) == [127, 0x7E, 0xFE, 0x7E, 0x38, 0xB8, 0x01, 0x58, 0x5A, 0x80] + [0] * 23


@pytest.mark.parametrize(("name", "emax"), [("mxfp8", 8), ("mxfp4", 2)])
@pytest.mark.parametrize("exponent", [-149, -127, -126, -120, -1, 0, 1, 126, 127])
def test_the_shared_exponent_is_that_of_the_largest_magnitude(name: str, emax: int, exponent: int) -> None:
    """Of a power of two and of all up to the next; never below 2^-127."""
    least = 2.0**exponent
    below_next = float32(np.nextafter(np.float32(2) * np.float32(least), np.float32(0))) if exponent < 127 else 3.4e38
    for largest in (least, -least, below_next):
        assert stored(name, [0.0, largest, *[0.0] * 30])[0] == max(exponent - emax + 127, 0)


def test_every_shared_exponent_is_read_as_torch_reads_it() -> None:
    exponents = torch.arange(255, dtype=torch.uint8)
    block = torch.zeros(1, 255, 1, 33, dtype=torch.uint8)
    block[0, :, 0, 0], block[0, :, 0, 1] = exponents, 0x38  # 1 in e4m3
    back = packing("mxfp8").unpack(block, (32,), torch.float32)[0, :, 0]
    assert torch.equal(back, exponents.view(torch.float8_e8m0fnu).float())


def test_a_block_of_nvfp4_beside_a_larger_one_by_hand() -> None:
    """The tensor's scale is 2; the second block's is 1/8 of it, in e4m3 of bias 7."""
    row = [5376.0, *[0.0] * 15, *(0.25 * one for one in (6, -6, 4, 2.5, 5, -0.25, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0))]
    assert stored("nvfp4", row) == [0x7E, 7, *[0] * 7, 4 << 3, *pairs([7, 15, 6, 4, 6, 8, 0, 2]), *[0] * 4]


def test_a_block_of_nvfp4_that_is_too_small_beside_a_larger_one_is_zeros() -> None:
    row = [2688.0, *[0.0] * 15, *[0.005] * 16]  # 0.005 / 6 is less than half of the least scale, 2^-9
    assert stored("nvfp4", row)[9:] == [0] * 9
    row[16] = 0.006
    assert stored("nvfp4", row)[9] == 1


def test_int4_of_a_head_by_hand() -> None:
    row = [7.0, -7, 0.5, -0.5, 1.5, 2.4999, -0.0, 6.5, -6.5]
    codes = [7, 9, 1, 15, 2, 2, 0, 7, 9, 0]
    assert stored("int4_per_token_head", row) == [*struct.pack("<f", 1.0), *pairs(codes)]


@pytest.mark.parametrize("sign", [1, -1])
def test_iq4_nl_of_its_own_values_by_hand(sign: int) -> None:
    """The extreme is -127 steps, whatever its sign; the scale comes back as it was."""
    row = [sign * 0.5 * value for value in IQ4_NL]
    codes = list(range(16))
    assert stored("iq4_nl", row + row[::-1]) == [*struct.pack("<e", sign * 0.5), *halves(codes + codes[::-1])]


def test_iq4_nl_between_two_of_its_values_takes_the_upper_one() -> None:
    middles = [(low + high) / 2 for low, high in itertools.pairwise(IQ4_NL)]
    row = [-127.0, *middles, *[1.0] * 16]
    assert stored("iq4_nl", row)[2:] == halves([*range(16), *[8] * 16])
    assert stored("iq4_nl", row) == iq4_nl(row)


@pytest.mark.parametrize(("magnitude", "kept"), [(0.9e-15, False), (1.1e-15, True)])
def test_iq4_nl_takes_next_to_nothing_for_nothing(magnitude: float, kept: bool) -> None:
    assert any(stored("iq4_nl", [magnitude, -magnitude, *[0.0] * 30])[2:]) == kept


# --- as gguf reads them ---


def codes_in_pairs(joined: Bytes) -> Bytes:
    return np.stack((joined & 15, joined >> 4), -1).reshape(*joined.shape[:-1], -1)


def in_halves(codes: Bytes) -> Bytes:
    low, high = np.split(codes, 2, axis=-1)
    joined: Bytes = low | (high << np.uint8(4))
    return joined


def random_rows(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def packed_and_back(name: str, rows: Tensor, first: Tensor | None = None) -> tuple[Bytes, NDArray[np.float32]]:
    kept = packing(name)
    if first is not None:
        kept.pack(first)
    blocks = kept.pack(rows)
    return blocks[0].numpy(), kept.unpack(blocks, tuple(rows.shape[2:]), torch.float32)[0].numpy()


@pytest.mark.parametrize("magnitude", [1e-3, 1.0, 300.0])
def test_gguf_reads_iq4_nl_as_we_do(magnitude: float) -> None:
    blocks, back = packed_and_back("iq4_nl", random_rows(1, 40, 256) * magnitude)
    read = gguf.quants.dequantize(blocks.reshape(40, -1), gguf.GGMLQuantizationType.IQ4_NL)
    np.testing.assert_array_equal(read, back)


@pytest.mark.parametrize("magnitude", [1e-30, 1e-3, 1.0, 300.0, 1e30])
def test_gguf_reads_mxfp4_as_we_do_and_packs_it_as_near(magnitude: float) -> None:
    rows = random_rows(1, 40, 256) * magnitude
    blocks, back = packed_and_back("mxfp4", rows)
    ours = np.concatenate((blocks[..., :1], in_halves(codes_in_pairs(blocks[..., 1:]))), -1)
    kind = gguf.GGMLQuantizationType.MXFP4
    np.testing.assert_array_equal(gguf.quants.dequantize(ours.reshape(40, -1), kind), back)
    theirs = gguf.quants.quantize(rows[0].numpy(), kind)
    np.testing.assert_array_equal(theirs.reshape(ours.shape)[..., 0], ours[..., 0])
    np.testing.assert_array_equal(gguf.quants.dequantize(theirs, kind), back)  # no ties among these


def test_gguf_reads_nvfp4_as_we_do_and_has_the_same_scales() -> None:
    rows = random_rows(1, 40, 256) * torch.exp2(torch.arange(40) - 25.0).unsqueeze(-1)
    blocks, back = packed_and_back("nvfp4", rows, torch.full((1, 1, 16), 2688.0))  # the tensor's scale is 1
    four = blocks.reshape(-1, 4, 9)  # gguf puts four blocks together, their scales first
    codes = in_halves(codes_in_pairs(four[..., 1:]))
    ours = np.concatenate((four[..., 0], codes.reshape(-1, 32)), -1)
    read = gguf.quants.dequantize(ours.reshape(40, -1), gguf.GGMLQuantizationType.NVFP4)
    np.testing.assert_array_equal(read, back)
    sixths = rows.reshape(-1, 16).abs().amax(-1).numpy() / 6
    normal = (sixths >= 2**-6) & (sixths < 248)  # gguf rounds neither up to 2^-6 nor to what lies between 240 and 448
    scales = gguf.quants.NVFP4.fp32_to_ue4m3(sixths)
    assert normal.sum() > 100
    np.testing.assert_array_equal(blocks[..., 0].flatten()[normal], scales[normal])


# --- how far they are off ---


@pytest.mark.parametrize(("name", "size", "bound"), [("mxfp4", 32, 1 / 3), ("nvfp4", 16, 0.2), ("mxfp8", 32, 1 / 8)])
@pytest.mark.parametrize("magnitude", [1e-30, 1e-3, 1.0, 1e4])
def test_a_block_is_as_near_as_its_largest_step(name: str, size: int, bound: float, magnitude: float) -> None:
    """Half a step at the top, or what saturates: 8 at 6, or 512 at 448; of nvfp4, half of 2 / 6 and its scale's."""
    rows = random_rows(1, 64, 512) * magnitude
    _, back = packed_and_back(name, rows)
    error = np.abs(back - rows[0].numpy()).reshape(64, -1, size)
    largest = rows[0].abs().numpy().reshape(64, -1, size).max(-1, keepdims=True)
    assert (error <= bound * largest).all()


@pytest.mark.parametrize("name", ["iq4_nl", "nvfp4", "mxfp8", "mxfp4", "int4_per_token_head"])
@pytest.mark.parametrize("constant", [1.0, -1.0, 0.1, -300.0, 6e4])
def test_a_constant_comes_back(name: str, constant: float) -> None:
    _, back = packed_and_back(name, torch.full((1, 2, 64), constant))
    off = {"mxfp8": 1 / 16, "mxfp4": 1 / 4}.get(name, 1e-3)
    np.testing.assert_allclose(back, constant, rtol=off)


@pytest.mark.parametrize("name", ["mxfp8", "mxfp4"])
def test_what_is_infinite_stays_so_and_its_neighbours_are_numbers(name: str) -> None:
    """The elements saturate, at a scale that takes them beyond float32."""
    _, back = packed_and_back(name, torch.tensor([math.inf, -math.inf, *[1.0] * 30]).reshape(1, 1, 32))
    assert back.tolist() == [[math.inf, -math.inf, *[0.0] * 30]]


@pytest.mark.parametrize("name", ["mxfp8", "mxfp4", "nvfp4"])
def test_zero_keeps_its_sign(name: str) -> None:
    _, back = packed_and_back(name, torch.tensor([0.0, -0.0, 1.0, -1.0] * 8).reshape(1, 1, 32))
    assert np.signbit(back).tolist() == [[False, True, False, True] * 8]
