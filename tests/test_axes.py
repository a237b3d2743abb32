"""The values of an option that is given several at once."""

import pytest

from kvcalc.errors import KvcalcError
from kvcalc.scenario.axes import axis_values
from kvcalc.units import AmbiguousCountError


@pytest.mark.parametrize(
    ("name", "given", "values"),
    [
        ("context", "4Ki,16Ki,64Ki", [4096, 16384, 65536]),
        ("batch", "1,8,32", [1, 8, 32]),
        ("batch", "8..64+8", [8, 16, 24, 32, 40, 48, 56, 64]),
        ("batch", "1..10+4", [1, 5, 9]),
        ("context", "1Ki..8Ki*2", [1024, 2048, 4096, 8192]),
        ("context", "1Ki..10_000*3", [1024, 3072, 9216]),
        ("context", "1e3..1e+6*1e1", [1000, 10_000, 100_000, 1_000_000]),
        ("context", "max, 1e3..3e3+1e3", ["max", 1000, 2000, 3000]),
        ("tp", "7..7+1", [7]),
        ("tp", 4, [4]),
        ("batch", [1, "8", "16..32+16"], [1, 8, 16, 32]),
        ("batch", range(1, 4), [1, 2, 3]),
        ("batch", "1,0,x", [1, "0", "x"]),  # what reads a scenario says what is wrong
        ("model", "llama-3-8b,hf:Qwen/Qwen3-8B", ["llama-3-8b", "hf:Qwen/Qwen3-8B"]),
        ("model", ["a,b.yaml"], ["a,b.yaml"]),
        ("cache_dtype", "bf16,fp8", ["bf16", "fp8"]),
        ("cache_dtype", "k=q8_0,v=q4_0", ["k=q8_0,v=q4_0"]),
        ("cache_dtype", "bf16,k=q8_0,v=q4_0", ["bf16", "k=q8_0,v=q4_0"]),
        ("cache_dtype", [None, "fp8"], [None, "fp8"]),
        ("gpu", "rtx3090+rtx4090,h100", ["rtx3090+rtx4090", "h100"]),
        ("engine", "exact,vllm@0.20.0", ["exact", "vllm@0.20.0"]),
    ],
)
def test_values(name: str, given: object, values: list[object]) -> None:
    found = axis_values(name, given)
    assert len(found) == len(values)
    assert list(found) == values


@pytest.mark.parametrize(
    ("name", "given", "said"),
    [
        ("batch", "1,,8", "--batch: a value is empty: '1,,8'"),
        ("gpu", "h100,", "--gpu: a value is empty"),
        ("batch", [], "--batch: no value is given"),
        ("batch", "1..8", r"does not say how it goes on: 1..8+1 adds, 1..8*2 doubles"),
        ("batch", "8..1+1", "begins above its end"),
        ("batch", "1..8*1", "stays where it is"),
        ("batch", "1..8+0", "must be at least 1"),
        ("batch", "1..8-1", "not a number"),
        ("batch", "1..", "is not a range"),
        ("context", "1..1e13*2", "beyond the limit of 1,000,000,000,000"),
        ("context", "1,1..1e12+1", "more than 10,000,000 values"),
        ("context", "1..max*2", "is not a range of numbers"),
    ],
)
def test_refused(name: str, given: object, said: str) -> None:
    with pytest.raises(KvcalcError) as refused:
        axis_values(name, given)
    assert said in str(refused.value)


@pytest.mark.parametrize(
    ("given", "decimal", "binary"),
    [("4k,16k", "4000,16000", "4Ki,16Ki"), ("1,1k..1M*2", "1,1000..1000000*2", "1,1Ki..1Mi*2"), ("4k", "4000", "4Ki")],
)
def test_thousands_or_1024s(given: str, decimal: str, binary: str) -> None:
    with pytest.raises(AmbiguousCountError) as refused:
        axis_values("context", given)
    assert (refused.value.text, refused.value.decimal, refused.value.binary) == (given, decimal, binary)


def test_a_long_range_is_not_made_up() -> None:
    assert len(axis_values("context", "1..1e12+1")) == 10**12
