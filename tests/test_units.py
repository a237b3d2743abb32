"""Sizes, counts and fractions as people type them, and sizes as they are printed."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kvcalc.errors import KvcalcError
from kvcalc.units import (
    MAX_SIZE,
    AmbiguousCountError,
    check_count,
    format_size,
    parse_count,
    parse_fraction,
    parse_size,
)

UNITS = {
    "B": 1,
    "KB": 1_000,
    "MB": 1_000_000,
    "GB": 1_000_000_000,
    "TB": 1_000_000_000_000,
    "KiB": 1_024,
    "MiB": 1_048_576,
    "GiB": 1_073_741_824,
    "TiB": 1_099_511_627_776,
}

units = st.sampled_from(sorted(UNITS))


@pytest.mark.parametrize(("unit", "size"), UNITS.items(), ids=list(UNITS))
def test_every_unit_has_its_bytes(unit: str, size: int) -> None:
    assert parse_size(f"3{unit}", "--weights") == 3 * size


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("0", 0),
        ("123", 123),
        ("1_000", 1_000),
        ("80 GB", 80_000_000_000),
        (" 80GB ", 80_000_000_000),
        ("1.5GiB", 1_610_612_736),
        ("0.5KiB", 512),
        ("1e3GiB", 1_073_741_824_000),
        ("1e3", 1_000),
        ("2.0", 2),
        ("0.1GB", 100_000_000),
        ("1.4B", 1),
        ("1.5B", 2),
        ("1000000TB", 10**18),
    ],
    ids=repr,
)
def test_a_size_is_read_to_the_byte(text: str, size: int) -> None:
    assert parse_size(text, "--weights") == size


@pytest.mark.parametrize(
    ("text", "decimal", "binary"),
    [
        ("80G", "80GB (80,000,000,000 bytes)", "80GiB (85,899,345,920 bytes)"),
        ("80g", "80GB (80,000,000,000 bytes)", "80GiB (85,899,345,920 bytes)"),
        ("80gb", "80GB (80,000,000,000 bytes)", "80GiB (85,899,345,920 bytes)"),
        ("80K", "80KB (80,000 bytes)", "80KiB (81,920 bytes)"),
        ("1.5M", "1.5MB (1,500,000 bytes)", "1.5MiB (1,572,864 bytes)"),
        ("2 T", "2TB (2,000,000,000,000 bytes)", "2TiB (2,199,023,255,552 bytes)"),
    ],
    ids=lambda text: text if len(text) < 6 else "",
)
def test_a_size_with_two_meanings_is_refused_with_both(text: str, decimal: str, binary: str) -> None:
    with pytest.raises(KvcalcError) as refused:
        parse_size(text, "--weights")
    message = str(refused.value)
    assert message.startswith("--weights: ")
    assert decimal in message
    assert binary in message


@pytest.mark.parametrize(
    ("text", "fragment"),
    [
        ("", "not a number"),
        (" ", "not a number"),
        ("GiB", "not a number"),
        ("nan", "not a number"),
        ("inf", "not a number"),
        ("1,5GB", "not a number"),
        ("1e", "e"),
        ("0x10", "0x10"),
        ("_1", "not a number"),
        ("\u0661\u0662", "not a number"),
        ("1 2", "1 2"),
        ("-1", "-1"),
        ("-1GiB", "-1GiB"),
        ("2.5", "whole"),
        ("80XB", "XB"),
        ("80GIB", "GiB"),
        ("1e19", "beyond"),
        ("1e999", "beyond"),
        ("1000001TB", "beyond"),
        ("9" * 1000, "not a number"),
    ],
    ids=lambda text: text[:20],
)
def test_what_is_no_size_is_refused(text: str, fragment: str) -> None:
    with pytest.raises(KvcalcError, match=r"^--weights: ") as refused:
        parse_size(text, "--weights")
    assert fragment in str(refused.value)
    assert len(str(refused.value)) < 300


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("8192", 8_192),
        (" 8192 ", 8_192),
        ("131_072", 131_072),
        ("128Ki", 131_072),
        ("1Mi", 1_048_576),
        ("1Gi", 1_073_741_824),
        ("1.5Ki", 1_536),
        ("1e6", 1_000_000),
        ("1.5e3", 1_500),
        ("1E+2", 100),
        ("1.0", 1),
        ("1", 1),
        ("1e12", 10**12),
    ],
    ids=repr,
)
def test_a_count_is_read_as_an_integer(text: str, count: int) -> None:
    assert parse_count(text, "--context", 10**12) == count


@pytest.mark.parametrize(
    ("text", "fragment"),
    [
        ("1.5", "whole"),
        ("1.3Ki", "whole"),
        ("1e-1", "whole"),
        ("0", "at least 1"),
        ("0Ki", "at least 1"),
        ("-1", "at least 1"),
        ("", "not a number"),
        ("nan", "not a number"),
        ("inf", "not a number"),
        ("max", "not a number"),
        ("8,192", "'8,192' is several values, and only one is accepted here"),
        ("1Ki..4Ki*2", "is several values, and only one is accepted here"),
        ("8192 tokens", "whole"),
        ("128KiB", "whole"),
        ("1e13", "limit of 1,000,000,000,000"),
        ("1000000000001", "limit of 1,000,000,000,000"),
        ("1e999", "limit of 1,000,000,000,000"),
        ("9" * 1000, "not a number"),
    ],
    ids=lambda text: text[:20],
)
def test_what_is_no_count_is_refused(text: str, fragment: str) -> None:
    with pytest.raises(KvcalcError, match=r"^--context: ") as refused:
        parse_count(text, "--context", 10**12)
    assert fragment in str(refused.value)
    assert len(str(refused.value)) < 300


@pytest.mark.parametrize(
    ("text", "decimal", "binary", "binary_value"),
    [
        ("128k", "128000", "128Ki", "131072"),
        ("128K", "128000", "128Ki", "131072"),
        ("1.5k", "1500", "1.5Ki", "1536"),
        ("2m", "2000000", "2Mi", "2097152"),
        ("1G", "1000000000", "1Gi", "1073741824"),
    ],
)
def test_a_count_with_two_meanings_is_refused_with_both(
    text: str, decimal: str, binary: str, binary_value: str
) -> None:
    with pytest.raises(AmbiguousCountError) as refused:
        parse_count(text, "--context", 10**12)
    assert (refused.value.text, refused.value.decimal, refused.value.binary) == (text, decimal, binary)
    assert str(refused.value).startswith(f"--context: '{text}' ")
    assert decimal in str(refused.value)
    assert f"{binary} for {binary_value}" in str(refused.value)


def test_a_count_of_a_thousand_digits_does_not_fill_the_message() -> None:
    with pytest.raises(KvcalcError, match=r"about 10\^1000") as refused:
        check_count(10**1000, "batch", 10**9)
    assert len(str(refused.value)) < 100


@pytest.mark.parametrize(
    ("text", "fraction"),
    [
        ("0.92", Fraction(23, 25)),
        (".92", Fraction(23, 25)),
        ("1", Fraction(1)),
        ("1.0", Fraction(1)),
        ("9e-1", Fraction(9, 10)),
    ],
    ids=repr,
)
def test_a_utilization_is_exact(text: str, fraction: Fraction) -> None:
    assert parse_fraction(text, "--utilization") == fraction


@pytest.mark.parametrize("text", ["0", "0.0", "1.1", "92", "-0.5", "92%", "0.9GB", "x", "", "nan", "inf", "-inf"])
def test_what_is_no_utilization_is_refused(text: str) -> None:
    with pytest.raises(KvcalcError, match=r"^--utilization: ") as refused:
        parse_fraction(text, "--utilization")
    assert f"'{text}'" in str(refused.value)


@pytest.mark.parametrize(
    ("size", "unit", "shown"),
    [
        (1_342_177_280, "GiB", "1.25"),
        (134_217_728, "GiB", "0.13"),  # 0.125: half up, not to even
        (402_653_184, "GiB", "0.38"),  # 0.375
        (1_134_999_999, "GB", "1.13"),
        (1_135_000_000, "GB", "1.14"),
        (10**15, "GB", "1,000,000.00"),
        (1_234_567, "B", "1,234,567"),
        (0, "B", "0"),
        (1_536, "KiB", "1.50"),
        (10**30, "TB", "1,000,000,000,000,000,000.00"),
    ],
)
def test_a_size_is_shown_rounded_half_up(size: int, unit: str, shown: str) -> None:
    assert format_size(size, unit) == shown


@given(st.integers(0, MAX_SIZE))
def test_bytes_are_read_as_they_are_written(size: int) -> None:
    assert parse_size(f"{size}B", "x") == parse_size(str(size), "x") == parse_size(f"{size:_}", "x") == size


@given(st.integers(0, 10**5), units)
def test_a_unit_multiplies(number: int, unit: str) -> None:
    assert parse_size(f"{number}{unit}", "x") == number * UNITS[unit]


@given(st.integers(1, 10**12))
def test_counts_are_read_as_they_are_written(count: int) -> None:
    assert parse_count(str(count), "x", 10**12) == parse_count(f"{count:_}", "x", 10**12) == count


@given(st.integers(1, 10**6))
def test_ki_multiplies_a_count_by_1024(count: int) -> None:
    assert parse_count(f"{count}Ki", "x", 10**12) == 1024 * count


@given(st.integers(0, 10**15), st.sampled_from(["GiB", "GB", "MiB", "MB", "KiB", "KB"]))
def test_a_shown_size_is_within_half_of_its_last_digit(size: int, unit: str) -> None:
    shown = format_size(size, unit).replace(",", "")
    if shown.startswith("<"):
        assert 0 < size < UNITS[unit] * Fraction(shown[1:])
    else:
        assert abs(Fraction(shown) * UNITS[unit] - size) <= Fraction(UNITS[unit], 200)


@given(st.text() | st.text("0123456789_.eE+-KMGTiB "))
def test_any_text_is_read_or_refused_with_the_option_named(text: str) -> None:
    for read in (
        lambda: parse_size(text, "--option"),
        lambda: parse_count(text, "--option", 10**12),
        lambda: parse_fraction(text, "--option"),
    ):
        try:
            assert read() >= 0
        except KvcalcError as refused:
            assert str(refused).startswith("--option: ")  # noqa: PT017  # either outcome is right, nothing else is
