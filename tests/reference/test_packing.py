"""Packings: their bytes against literal counts and llama.cpp's Python package, their values against error bounds."""

from __future__ import annotations

import math
import struct
from itertools import product

import gguf
import numpy as np
import pytest
import torch
from each import for_each
from format_bytes import ROW_BYTES
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from kvcalc.errors import KvcalcError
from kvcalc.formats.element import FORMATS
from kvcalc.reference.packing import PACKED, Packing, packing
from kvcalc.term import Factor

GGML = {
    "q8_0": gguf.GGMLQuantizationType.Q8_0,
    "q5_1": gguf.GGMLQuantizationType.Q5_1,
    "q5_0": gguf.GGMLQuantizationType.Q5_0,
    "q4_1": gguf.GGMLQuantizationType.Q4_1,
    "q4_0": gguf.GGMLQuantizationType.Q4_0,
}
SCALE_IN_FP16 = (*GGML, "iq4_nl")
BLOCKED = {**dict.fromkeys(SCALE_IN_FP16, 32), "fp8_block128": 128, "nvfp4": 16, "mxfp8": 32, "mxfp4": 32}
BYTE_PER_TENSOR = ("fp8", "fp8_e5m2", "int8")
PER_TENSOR = (*BYTE_PER_TENSOR, "nvfp4")
PER_HEAD = ("fp8_per_token_head", "int8_per_token_head", "int4_per_token_head")
SCALED = tuple(name for name in PACKED if name not in {"fp32", "bf16", "fp16"})

DTYPES = (torch.bfloat16, torch.float16, torch.float32, torch.float64)


def fresh(name: str) -> Packing:
    return packing(name)


def round_trip(name: str, rows: Tensor) -> Tensor:
    kept = fresh(name)
    return kept.unpack(kept.pack(rows), rows.shape[2:], rows.dtype)


def random_rows(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def one_block(*values: float, size: int = 32) -> Tensor:
    return torch.tensor([*values, *[0.0] * (size - len(values))]).reshape(1, 1, size)


# --- bytes ---


@pytest.mark.parametrize("device", ["cpu", "meta"])
@pytest.mark.parametrize(("name", "sizes"), ROW_BYTES.items(), ids=list(ROW_BYTES))
def test_rows_of_2_sequences_of_5_tokens_take(name: str, sizes: tuple[int, ...], device: str) -> None:
    for row, size in zip(((8, 128), (3, 128), (128,)), sizes, strict=True):
        stored = fresh(name).pack(torch.zeros(2, 5, *row, device=device))
        assert stored.shape[:2] == (2, 5)
        assert stored.untyped_storage().nbytes() == 10 * size
        assert stored.nbytes == 10 * size


@pytest.mark.parametrize(
    ("name", "row", "size"),
    [
        ("q8_0", (2, 16), 34),  # a block runs over heads
        ("q4_0", (4, 8), 18),
        ("q8_0", (8, 40), 10 * 34),
        ("fp8_block128", (2, 64), 132),
        ("fp8_block128", (512,), 4 * 132),
        ("fp8_per_token_head", (3, 65), 3 * 69),
        ("int8_per_token_head", (65,), 69),
        ("fp8_per_token_head", (1, 1), 5),
        ("int4_per_token_head", (3, 65), 3 * 37),  # a head is padded, not the row
        ("int4_per_token_head", (65,), 37),
        ("int4_per_token_head", (2, 1), 10),
        ("q5_1", (4, 8), 24),
        ("nvfp4", (2, 8), 9),
        ("nvfp4", (3, 48), 9 * 9),
        ("mxfp4", (2, 16), 17),
        ("bf16", (3, 5), 30),
        ("int8", (1,), 1),
    ],
)
def test_a_row_of_another_shape_takes(name: str, row: tuple[int, ...], size: int) -> None:
    assert fresh(name).pack(torch.ones(1, 1, *row)).untyped_storage().nbytes() == size


def test_every_packing_has_its_bytes() -> None:
    assert set(PACKED) == set(ROW_BYTES)


def test_every_format_has_a_packing() -> None:
    assert set(FORMATS) == set(PACKED)


@given(name=st.sampled_from(PACKED), heads=st.none() | st.integers(1, 6), width=st.integers(1, 300))
def test_a_row_takes_what_its_format_says_or_is_refused_by_both(name: str, heads: int | None, width: int) -> None:
    row = (width,) if heads is None else (heads, width)
    factor = None if heads is None else Factor("heads", heads, "head")
    try:
        stated = math.prod(factor.value for factor in FORMATS[name].row(factor, (Factor("width", width),)))
    except KvcalcError:
        with pytest.raises(ValueError, match="do not divide"):
            fresh(name).pack(torch.empty(1, 1, *row, device="meta"))
        return
    for device in ("cpu", "meta"):
        assert fresh(name).pack(torch.ones(2, 3, *row, device=device)).untyped_storage().nbytes() == 6 * stated


@pytest.mark.parametrize("name", ["mxfp6", "fp9", "", "FP8"])
def test_there_is_no_packing_for_another_name(name: str) -> None:
    with pytest.raises(KvcalcError):
        packing(name)


@for_each(
    ("name", "row", "dtype"),
    product(PACKED, [(2, 128), (128,)], DTYPES),
)
def test_meta_has_the_shape_and_dtype_of_real_tensors(name: str, row: tuple[int, ...], dtype: torch.dtype) -> None:
    real, shapes = fresh(name), fresh(name)
    rows = random_rows(2, 3, *row).to(dtype)
    stored, stored_meta = real.pack(rows), shapes.pack(rows.to("meta"))
    assert (stored_meta.shape, stored_meta.dtype, stored_meta.device.type) == (stored.shape, stored.dtype, "meta")
    back, back_meta = real.unpack(stored, row, dtype), shapes.unpack(stored_meta, row, dtype)
    assert (back_meta.shape, back_meta.dtype, back_meta.device.type) == (back.shape, back.dtype, "meta")
    assert (back.shape, back.dtype) == (rows.shape, dtype)


@for_each(("name", "device", "shape"), product(PACKED, ["cpu", "meta"], [(1, 0), (0, 3)]))
def test_no_tokens_take_no_bytes(name: str, device: str, shape: tuple[int, int]) -> None:
    rows = torch.empty(*shape, 2, 128, device=device)
    stored = fresh(name).pack(rows)
    assert (stored.shape[:2], stored.nbytes) == (shape, 0)
    assert fresh(name).unpack(stored, (2, 128), torch.float32).shape == rows.shape


@for_each("name", PACKED)
def test_views_are_stored_whole_and_alone(name: str) -> None:
    heads_first = random_rows(2, 4, 3, 128)
    views = [heads_first.transpose(1, 2), heads_first[:, :1, :2], heads_first[:, :, :1].expand(2, 4, 6, 128)]
    for view in views:
        stored = fresh(name).pack(view)
        assert stored.is_contiguous()
        assert stored.untyped_storage().nbytes() == stored.nbytes
        assert torch.equal(stored.view(torch.uint8), fresh(name).pack(view.contiguous()).view(torch.uint8))


@for_each("name", PACKED)
def test_what_is_stored_does_not_follow_the_rows(name: str) -> None:
    rows = random_rows(1, 1, 128).to(torch.float16)
    kept = fresh(name)
    stored = kept.pack(rows)
    before = kept.unpack(stored, (128,), torch.float32).clone()
    rows.zero_()
    assert torch.equal(kept.unpack(stored, (128,), torch.float32), before)


@for_each("name", PACKED)
def test_a_part_of_the_cache_unpacks_as_it_does_in_the_whole(name: str) -> None:
    rows = random_rows(3, 4, 5, 128)
    kept = fresh(name)
    stored = kept.pack(rows)
    whole = kept.unpack(stored, (5, 128), torch.float32)
    assert torch.equal(kept.unpack(stored[1:, 2:3], (5, 128), torch.float32), whole[1:, 2:3])
    assert torch.equal(kept.unpack(stored.transpose(0, 1), (5, 128), torch.float32), whole.transpose(0, 1))


@for_each("name", PER_HEAD)
def test_a_token_unpacks_from_any_byte_of_the_cache(name: str) -> None:
    rows = random_rows(1, 9, 65)
    kept = fresh(name)
    stored, whole = kept.pack(rows), round_trip(name, rows)
    for token in range(9):
        one = slice(token, token + 1)
        assert torch.equal(kept.unpack(stored[:, one], (65,), torch.float32), whole[:, one])


@for_each("name", PACKED)
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_rows_of_16_bits_are_stored_as_the_same_rows_of_32(name: str, dtype: torch.dtype) -> None:
    rows = random_rows(2, 3, 4, 128).to(dtype)
    assert torch.equal(fresh(name).pack(rows).view(torch.uint8), fresh(name).pack(rows.float()).view(torch.uint8))


@pytest.mark.parametrize("device", ["cpu", "meta"])
@for_each(("name", "size"), BLOCKED.items())
def test_a_row_that_blocks_do_not_divide_is_refused(name: str, size: int, device: str) -> None:
    with pytest.raises(ValueError, match=rf"{size} elements .* row of {3 * (size - 1)}, \(3, {size - 1}\)"):
        fresh(name).pack(torch.zeros(1, 1, 3, size - 1, device=device))


# --- llama.cpp's layouts ---

Q8_TIES = one_block(127, 0.5, 1.5, 2.5, -0.5, -1.5, -2.5, 0.49999997, -0.49999997, 126.5, -126.5, 3.5000002)
Q4_TIES = one_block(-8, 0.5, 1.5, 2.5, -0.5, -1.5, -2.5, 6.5, 7, 7.5, 7.9999995, -7.5, 0.49999997, -0.49999997, 8)
ADVERSARIAL = {
    "zeros": one_block(),
    "one big value": one_block(3e4),
    "one big value among small ones": torch.cat((random_rows(1, 1, 31), torch.tensor([[[5e3]]])), -1),
    "negative extreme": one_block(1, 2, -3),
    "positive extreme": one_block(1, -2, 3),
    "both extremes, negative first": one_block(0, -5, 5),
    "both extremes, positive first": one_block(0, 5, -5),
    "all alike": torch.full((1, 1, 32), 0.1),
    "all alike, negative": torch.full((1, 1, 32), -0.1),
    "ties of q8_0": Q8_TIES,
    "ties of q8_0, small": Q8_TIES / 1024,
    "ties of q4_0": Q4_TIES,
    "ties of q4_0, negative": -Q4_TIES,
    "a subnormal fp16 scale": random_rows(1, 1, 32) * 1e-4,
    "a scale that fp16 rounds to zero": random_rows(1, 1, 32) * 1e-9,
    "a subnormal fp32 scale": random_rows(1, 1, 32) * 4e-37,
    "the largest fp16 scale": one_block(65504 * 8, -1e4),
}


def assert_is_as_gguf(name: str, rows: Tensor) -> None:
    flat = rows.flatten(2).numpy()
    expected = gguf.quants.quantize(flat, GGML[name])
    kept = fresh(name)
    stored = kept.pack(rows)
    np.testing.assert_array_equal(stored.flatten(2).numpy(), expected)
    back = kept.unpack(stored, rows.shape[2:], torch.float32)
    np.testing.assert_array_equal(back.flatten(2).numpy(), gguf.quants.dequantize(expected, GGML[name]))


@for_each(("name", "case"), product(GGML, ADVERSARIAL))
def test_an_adversarial_block_is_as_in_gguf(name: str, case: str) -> None:
    assert_is_as_gguf(name, ADVERSARIAL[case])


@for_each(("name", "row", "magnitude"), product(GGML, [(4, 64), (3, 96), (2, 16), (96,)], [1e-3, 1.0, 300.0]))
def test_random_rows_are_as_in_gguf(name: str, row: tuple[int, ...], magnitude: float) -> None:
    assert_is_as_gguf(name, random_rows(3, 40, *row) * magnitude)


@for_each("name", GGML)
@given(st.lists(st.integers(-40, 40), min_size=32, max_size=32), st.sampled_from([1.0, 0.5, 0.37, 3.0]))
def test_blocks_full_of_ties_are_as_in_gguf(name: str, halves: list[int], step: float) -> None:
    assert_is_as_gguf(name, one_block(*(half * step for half in halves)))


def test_a_q8_0_block_by_hand() -> None:
    values = [-254, *range(31)]  # a step of 2; halves go away from zero
    codes = [-127, *((value + 1) // 2 for value in range(31))]
    stored = fresh("q8_0").pack(one_block(*values))
    assert bytes(stored.flatten().tolist()) == struct.pack("<e32b", 2.0, *codes)


def test_a_q4_0_block_by_hand() -> None:
    values = [-16, 14, *range(-14, 16)]  # a step of 2: codes 0 to 15 stand for -16 to 14
    codes = [0, 15, *(min(15, (value + 17) // 2) for value in range(-14, 16))]
    stored = fresh("q4_0").pack(one_block(*values))
    assert bytes(stored.flatten().tolist()) == struct.pack(
        "<e16B", 2.0, *(codes[j] + 16 * codes[j + 16] for j in range(16))
    )


FIFTH_BITS = 0x0F0F00FF
FIVE_BITS = [16 * (FIFTH_BITS >> j & 1) + j // 2 % 16 for j in range(30)] + [31, 0]
"""32 codes, the last two the greatest and the least."""


def five_bits(scales: bytes, codes: list[int]) -> bytes:
    fifth = sum((code >> 4) << j for j, code in enumerate(codes))
    return scales + struct.pack("<I16B", fifth, *((codes[j] & 15) + 16 * (codes[j + 16] & 15) for j in range(16)))


def test_a_q5_0_block_by_hand() -> None:
    stored = fresh("q5_0").pack(one_block(*(2 * (code - 16) for code in FIVE_BITS)))
    assert bytes(stored.flatten().tolist()) == five_bits(struct.pack("<e", 2.0), FIVE_BITS)


def test_a_q5_1_block_by_hand() -> None:
    stored = fresh("q5_1").pack(one_block(*(2 * code + 100 for code in FIVE_BITS)))
    assert bytes(stored.flatten().tolist()) == five_bits(struct.pack("<2e", 2.0, 100.0), FIVE_BITS)


def test_a_q4_1_block_by_hand() -> None:
    codes = [*range(16), *range(15, -1, -1)]
    stored = fresh("q4_1").pack(one_block(*(0.5 * code - 3 for code in codes)))
    assert bytes(stored.flatten().tolist()) == struct.pack(
        "<2e16B", 0.5, -3.0, *(codes[j] + 16 * codes[j + 16] for j in range(16))
    )


# --- values ---


def rows_of(heads: int, width: int, exponent: int, seed: int) -> Tensor:
    """(2, 3, heads, width), whose magnitudes spread over some powers of two, some elements being zero."""
    rows = random_rows(2, 3, heads, width, seed=seed)
    spread = torch.exp2(4 * random_rows(2, 3, heads, width, seed=seed + 1).clamp(-3, 3))
    return torch.where(rows.abs() < 0.1, 0.0, rows * spread * 2.0**exponent)


drawn_rows = st.builds(rows_of, st.integers(1, 5), st.just(128), st.integers(-20, 4), st.integers(0, 2**20))
ragged_rows = st.builds(rows_of, st.integers(1, 5), st.integers(1, 70), st.integers(-60, 60), st.integers(0, 2**20))


@pytest.mark.parametrize(
    ("name", "dtype"), [("fp32", torch.float32), ("bf16", torch.bfloat16), ("fp16", torch.float16)]
)
@given(rows=ragged_rows)
def test_plain_formats_give_back_what_they_can_represent(name: str, dtype: torch.dtype, rows: Tensor) -> None:
    representable = rows.to(dtype).to(torch.float64)
    assert torch.equal(round_trip(name, representable), representable)


def float8_half_steps(rows: Tensor, scale: Tensor | float, fraction_bits: int, least_exponent: int) -> Tensor:
    """Half the distance of 8-bit floats around each row / scale, times scale."""
    exponent = torch.frexp(rows / scale)[1] - 1
    return torch.exp2(exponent.clamp(min=least_exponent).double() - fraction_bits - 1) * scale


@pytest.mark.parametrize(
    ("name", "largest", "fraction_bits", "least_exponent"), [("fp8", 448, 3, -6), ("fp8_e5m2", 57344, 2, -14)]
)
@given(rows=ragged_rows)
def test_fp8_is_within_half_a_step(
    name: str, largest: float, fraction_bits: int, least_exponent: int, rows: Tensor
) -> None:
    rows = rows.double()
    scale = rows.abs().max().clamp(min=1e-30) / largest
    bound = float8_half_steps(rows, scale, fraction_bits, least_exponent)
    assert ((round_trip(name, rows) - rows).abs() <= bound * (1 + 1e-5)).all()


@given(rows=ragged_rows)
def test_int8_is_within_half_a_step(rows: Tensor) -> None:
    step = rows.abs().max().double() / 127
    assert ((round_trip("int8", rows).double() - rows).abs() <= step * 0.50002).all()


@given(rows=ragged_rows)
def test_int8_per_token_head_is_within_half_a_step_of_its_head(rows: Tensor) -> None:
    step = rows.abs().amax(-1, keepdim=True).double() / 127
    assert ((round_trip("int8_per_token_head", rows).double() - rows).abs() <= step * 0.50002).all()


@given(rows=ragged_rows)
def test_fp8_per_token_head_is_within_half_a_step_of_its_head(rows: Tensor) -> None:
    rows = rows.double()
    scale = rows.abs().amax(-1, keepdim=True).clamp(min=1e-30) / 448
    bound = float8_half_steps(rows, scale, 3, -6)
    assert ((round_trip("fp8_per_token_head", rows) - rows).abs() <= bound * (1 + 1e-5)).all()


@given(rows=drawn_rows)
def test_fp8_block128_is_within_half_a_step_of_its_block(rows: Tensor) -> None:
    blocks = rows.double().reshape(2, 3, -1, 128)
    scale = blocks.abs().amax(-1, keepdim=True).clamp(min=1e-30) / 448
    error = (round_trip("fp8_block128", rows.double()).reshape(blocks.shape) - blocks).abs()
    assert (error <= float8_half_steps(blocks, scale, 3, -6) * (1 + 1e-5)).all()


@given(rows=drawn_rows)
def test_q8_0_is_within_half_a_step_of_its_block(rows: Tensor) -> None:
    blocks = rows.double().reshape(2, 3, -1, 32)
    step = blocks.abs().amax(-1, keepdim=True) / 127
    rounding_of_the_scale = 127 * torch.maximum(step * 2**-11, torch.tensor(2.0**-25))
    error = (round_trip("q8_0", rows.double()).reshape(blocks.shape) - blocks).abs()
    assert (error <= step * 0.50002 + rounding_of_the_scale).all()


@pytest.mark.parametrize(("name", "half"), [("q4_0", 8), ("q5_0", 16)])
@given(rows=drawn_rows)
def test_a_block_from_its_extreme_is_within_half_a_step_or_one_where_it_saturates(
    name: str, half: int, rows: Tensor
) -> None:
    blocks = rows.double().reshape(2, 3, -1, 32)
    extreme = blocks.gather(-1, blocks.abs().argmax(-1, keepdim=True))
    step = extreme.abs() / half
    saturates = blocks * extreme.sign() < -(half - 0.5) * step
    rounding_of_the_scale = half * torch.maximum(step * 2**-11, torch.tensor(2.0**-25))
    error = (round_trip(name, rows.double()).reshape(blocks.shape) - blocks).abs()
    assert (error <= torch.where(saturates, 1.0, 0.50002) * step + rounding_of_the_scale).all()


@pytest.mark.parametrize(("name", "top"), [("q4_1", 15), ("q5_1", 31)])
@given(rows=drawn_rows)
def test_a_block_from_its_least_is_within_half_a_step(name: str, top: int, rows: Tensor) -> None:
    rows = rows.clamp(-6e4, 6e4)  # the least is in fp16
    blocks = rows.double().reshape(2, 3, -1, 32)
    least = blocks.amin(-1, keepdim=True)
    step = (blocks.amax(-1, keepdim=True) - least) / top
    rounding = 2**-11 * (top * step + least.abs()) + (top + 1) * 2**-25  # of the scale and of the least, to fp16
    error = (round_trip(name, rows.double()).reshape(blocks.shape) - blocks).abs()
    assert (error <= 0.5001 * step + rounding).all()


@given(rows=ragged_rows)
def test_int4_per_token_head_is_within_half_a_step_of_its_head(rows: Tensor) -> None:
    step = rows.abs().amax(-1, keepdim=True).double() / 7
    assert ((round_trip("int4_per_token_head", rows).double() - rows).abs() <= step * 0.50002).all()


@for_each("name", PACKED)
def test_zeros_come_back_as_zeros(name: str) -> None:
    rows = torch.zeros(2, 3, 4, 128)
    assert torch.equal(round_trip(name, rows), rows)


@pytest.mark.parametrize("name", [name for name in PACKED if name not in {"q5_0", "q4_0"}])
def test_zeros_are_stored_as_zero_bytes(name: str) -> None:
    assert not fresh(name).pack(torch.zeros(1, 2, 128)).view(torch.uint8).any()


@pytest.mark.parametrize("name", [*PER_HEAD, *BLOCKED])
def test_zeros_do_not_touch_the_block_beside_them(name: str) -> None:
    rows = torch.stack((torch.zeros(128), random_rows(128))).reshape(1, 1, 2, 128)
    back = round_trip(name, rows)
    assert not back[..., 0, :].any()
    assert torch.equal(back[..., 1, :], round_trip(name, rows[..., 1, :]))


@for_each(("name", "magnitude"), product(SCALED, [1e-45, 1e-40, 1e-30]))
def test_tiny_rows_stay_finite_and_tiny(name: str, magnitude: float) -> None:
    rows = random_rows(1, 2, 2, 128).sign() * magnitude
    rows[..., ::2] = 0
    assert (round_trip(name, rows).abs() <= 1.2 * rows.abs()).all()  # e2m1 rounds 5 to 6


@pytest.mark.parametrize("name", [name for name in SCALED if name not in SCALE_IN_FP16])
def test_huge_rows_stay_finite(name: str) -> None:
    rows = random_rows(1, 2, 2, 128).sign() * 2.0**127
    torch.testing.assert_close(round_trip(name, rows), rows)


# --- one scale a tensor ---


@for_each("name", PER_TENSOR)
def test_later_rows_saturate_at_the_largest_of_the_first(name: str) -> None:
    kept = fresh(name)
    kept.pack(one_block(1.0, -3.0))
    later = kept.unpack(kept.pack(one_block(7.0, -1e30, math.inf, -math.inf, 3.0)), (32,), torch.float32)
    torch.testing.assert_close(later, one_block(3.0, -3.0, 3.0, -3.0, 3.0))


@for_each("name", PER_TENSOR)
def test_packing_later_rows_leaves_earlier_ones_as_they_were(name: str) -> None:
    kept, rows = fresh(name), random_rows(1, 4, 2, 16)
    stored = kept.pack(rows)
    before = kept.unpack(stored, (2, 16), torch.float32)
    kept.pack(1000 * rows)
    assert torch.equal(kept.unpack(stored, (2, 16), torch.float32), before)


@for_each("name", PER_TENSOR)
@pytest.mark.parametrize(
    "nothing", [torch.zeros(1, 2, 32), torch.empty(1, 0, 32), torch.empty(1, 2, 32, device="meta")]
)
def test_rows_of_nothing_leave_the_scale_to_later_rows(name: str, nothing: Tensor) -> None:
    kept = fresh(name)
    kept.pack(nothing)
    rows = one_block(1e-3, -2e-3)
    torch.testing.assert_close(kept.unpack(kept.pack(rows), (32,), torch.float32), rows, rtol=0.07, atol=1e-5)


@for_each("name", PER_TENSOR)
def test_each_tensor_has_its_own_scale(name: str) -> None:
    first, second = fresh(name), fresh(name)
    first.pack(one_block(1000.0))
    torch.testing.assert_close(second.unpack(second.pack(one_block(0.5)), (32,), torch.float32), one_block(0.5))


@pytest.mark.parametrize(
    ("name", "dtype"), [("fp8", torch.float8_e4m3fn), ("fp8_e5m2", torch.float8_e5m2), ("int8", torch.int8)]
)
def test_elements_are_stored_as_themselves(name: str, dtype: torch.dtype) -> None:
    stored = fresh(name).pack(random_rows(2, 3, 4, 5))
    assert (stored.shape, stored.dtype) == ((2, 3, 4, 5), dtype)
