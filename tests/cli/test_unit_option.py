"""--unit is obeyed wherever sizes are told, and printed rows add up to the printed total."""

from __future__ import annotations

import re
from decimal import ROUND_HALF_UP, Decimal
from typing import Any

import pytest
from conftest import Kvcalc
from fuzzing import examples
from hypothesis import given
from hypothesis import strategies as st

import kvcalc as package
from kvcalc.mechanisms import GQA, MLA, Attention, Mamba2
from kvcalc.model.layers import LayerGroup
from kvcalc.model.model import WeightPart
from kvcalc.render.screens.capacity import capacity_report
from kvcalc.render.screens.estimate_view import estimate_view
from kvcalc.render.view import Grid, View, Weight
from kvcalc.units import with_unit

BYTES = {
    "B": 1,
    "KB": 10**3,
    "MB": 10**6,
    "GB": 10**9,
    "TB": 10**12,
    "KiB": 2**10,
    "MiB": 2**20,
    "GiB": 2**30,
    "TiB": 2**40,
}
LEAST = {unit: Decimal(1 if unit == "B" else "0.01") for unit in BYTES}


def rounded(size: int, unit: str) -> Decimal:
    return (Decimal(size) / BYTES[unit]).quantize(LEAST[unit], ROUND_HALF_UP)


def number(cell: str) -> Decimal:
    """As printed; what is too little to be printed counts as nothing."""
    return Decimal(0) if cell == "<0.01" else Decimal(cell.replace(",", ""))


def memory_of(view: View) -> Grid:
    """The table of what a GPU holds."""
    return next(
        block
        for block in view.blocks
        if isinstance(block, Grid) and len(block.columns) == 3 and block.columns[1].title.endswith(" per GPU")
    )


_FIGURE = re.compile(r" *(?:[\d,]+\.\d\d|<0\.01|[\d,]+) (?!to )\D.*: ")
"""A term of a row: its figure, its name, and its formula."""


def assert_adds_up(view: View, total_bytes: int, usable_bytes: int, unit: str) -> None:
    rows = memory_of(view).rows
    top = [number(row.cells[1]) for row in rows if row.weight is Weight.PLAIN]
    (total,) = (row for row in rows if row.weight is Weight.TOTAL)

    assert number(total.cells[1]) == sum(top) == rounded(total_bytes, unit)
    for row in rows:
        if inner := [number(line.split()[0]) for line in row.cells[2].split("\n") if _FIGURE.match(line)]:
            assert sum(inner) == number(row.cells[1])
    spare, words = total.cells[2].split(" ", 1)
    left = number(spare) if words.startswith("free") else -number(spare)
    assert number(total.cells[1]) + left == rounded(usable_bytes, unit)


@st.composite
def models(draw: st.DrawFn) -> package.Model:
    width = st.integers(1, 3000)
    state = Mamba2(num_heads=2, head_dim=draw(width), state_size=draw(width), num_groups=1, conv_kernel=4)
    kinds: list[Attention] = [
        GQA(num_heads=8, num_kv_heads=2, head_dim=draw(width)),
        GQA(num_heads=8, num_kv_heads=4, head_dim=draw(width)),
        MLA(num_heads=8, kv_lora_rank=draw(width), qk_rope_head_dim=4, qk_nope_head_dim=4, v_head_dim=4),
        state,
    ]
    layers = [
        LayerGroup(count=draw(st.integers(1, 90)), attention=each)
        for each in draw(st.lists(st.sampled_from(kinds), min_size=1, max_size=4, unique_by=id))
    ]
    parts = draw(st.lists(st.integers(1, 10**12), max_size=5))
    weights = tuple(WeightPart(part=f"part {index}", parameters=size, format="fp8") for index, size in enumerate(parts))
    parameters = None if parts else draw(st.integers(1, 10**12))
    return package.Model(name="random", layers=tuple(layers), weights=weights, parameters=parameters)


sizes = st.integers(0, 10**12)


@st.composite
def options(draw: st.DrawFn) -> dict[str, Any]:
    given: dict[str, Any] = {
        "batch": draw(st.integers(1, 10**4)),
        "context": draw(st.integers(1, 10**6)),
        "gpu_memory": draw(st.integers(100, 10**13)),
        "tp": draw(st.sampled_from([1, 2])),
    }
    given |= {name: draw(sizes) for name in ("temporary", "overhead") if draw(st.booleans())}
    given["reserve"] = {f"row {index}": draw(sizes) for index in range(draw(st.integers(0, 3)))}
    return given


@examples(150)
@given(models(), options(), st.sampled_from(sorted(BYTES)))
def test_printed_rows_add_up_to_the_printed_total(model: package.Model, given: dict[str, Any], unit: str) -> None:
    result = package.estimate(model, **given)
    total = result.memory.per_rank.total_bytes
    assert total is not None
    assert_adds_up(estimate_view(result, unit, explain=True), total, result.gpus.usable_bytes, unit)


@examples(25)
@given(models(), options(), st.sampled_from(sorted(BYTES)))
def test_so_do_those_of_a_capacity(model: package.Model, given: dict[str, Any], unit: str) -> None:
    result = package.capacity(model, **given)
    view = capacity_report(result, unit, explain=True, command="").view()
    assert result.gpus is not None
    assert_adds_up(view, result.at_limit.bytes, result.gpus.usable_bytes, unit)


def test_three_equal_parts_of_a_rounded_whole(kvcalc: Kvcalc) -> None:
    """A third of a GiB is 0.33 three times over, and their sum is 1.00: one of them is 0.34, the first of equals."""
    third = 2**30 // 3
    given = [word for name in "abc" for word in ("--reserve", f"{name}={third}")]
    shown = kvcalc("estimate", "llama-3-8b", "-c", "1", *given, "--weights", "0", "--temporary", "0", "--overhead", "0")
    assert re.findall(r"^reserve +([\d.]+)  (.*)", shown.stdout, re.MULTILINE) == [
        ("1.00", "0.34 a (given); 0.33 b (given); 0.33 c (given)")
    ]


COMMANDS = [
    "estimate llama-3-70b -b 32 -c 8192 --explain",
    "estimate llama-3-70b --tp 2 -c 8192",
    "estimate deepseek-v3 --gpu h200 --tp 8 -c 131072",
    "estimate gemma-3-27b --tp 2 --pp 2 -c 131072",
    "estimate qwen3-next-80b-a3b --tp 4 --utilization 0.9999",
    "estimate llama-3-70b --tp 4 --batch 100 --context 8192 --spill",
    "estimate llama-3-70b --tp 1 -c 8192 --check",
    "compare llama-3-70b -b 32 -c 8192 --explain",
    "compare llama-3-70b deepseek-v3 gemma-3-27b --context 32Ki --gpu h200",
    "compare qwen3-next-80b-a3b --cache-dtype bf16,fp8",
    "capacity llama-3-70b --tp 1 -c 8192",
    "capacity deepseek-v3 --gpu h200 --tp 8 -c 131072 --explain",
    "capacity gemma-3-27b --cache-memory 20000000000 --context 32Ki --batch 4",
    "plan llama-3-70b -b 32 -c 8192",
    "plan llama-3-70b -b 32 -c 8192 --max-gpus 1",
    pytest.param("verify llama-3-8b --device meta -c 8192", marks=pytest.mark.torch),
    "gpus show b200",
    "models list",
]


@pytest.mark.parametrize("words", COMMANDS)
@pytest.mark.parametrize("how", ["table", "markdown"])
def test_no_size_is_told_in_another_unit(kvcalc: Kvcalc, words: str, how: str) -> None:
    run = kvcalc(*words.split(), "--unit", "MB", "--format", how)
    assert run.code in {0, 1}
    told = [line for line in f"{run.stdout}{run.stderr}".splitlines() if not line.startswith("source of ")]
    told = [re.sub(r'"[^"]*" \(\d+\)', "", line) for line in told]  # articles in their own words
    told = [line for line in told if not re.match(r"(\| )?(label|title|device|aliases|notes|source)", line)]
    found = [match for line in told for match in re.findall(r"\d ?([KMGT]i?B)\b(?!/s)", line)]
    assert set(found) <= {"MB"}
    assert not re.search(r"\b(GiB|GB per|KiB|MiB)\b", "\n".join(told))


def test_notes_tell_sizes_in_the_unit_and_json_in_bytes(kvcalc: Kvcalc) -> None:
    words = ("estimate", "gemma-3-27b", "--tp", "2", "-c", "131072")
    assert "an engine without windows 66,571,993,088 bytes (62.00 GiB) a replica" in kvcalc(*words).stderr
    assert "without windows 66,571,993,088 bytes (66.57 GB) a replica" in kvcalc(*words, "--unit", "GB").stderr
    assert "without windows 66,571,993,088 bytes a replica" in kvcalc(*words, "--unit", "B").stderr
    assert "without windows 66,571,993,088 bytes a replica" in kvcalc(*words, "--unit", "GB", "--json").stdout


def test_what_does_not_fit_lacks_bytes_in_the_unit(kvcalc: Kvcalc) -> None:
    words = ("capacity", "llama-3-70b", "--tp", "1", "-c", "8192", "--unit", "GB")
    assert "a rank lacks 68,042,385,653 bytes (68.04 GB); 2 GPUs" in kvcalc(*words).stderr
    words = ("plan", "llama-3-70b", "-c", "8192", "--max-gpus", "1", "--unit", "TB")
    assert "lacks 66,667,996,118 bytes (0.07 TB) a GPU for one" in kvcalc(*words).stderr


def test_a_refusal_tells_bytes_in_the_unit_too(kvcalc: Kvcalc) -> None:
    words = ("estimate", "llama-3-70b", "--tp", "1", "-c", "8192", "--spill", "--unit", "GB")
    assert "a rank lacks 65,358,031,093 bytes (65.36 GB) for the rest" in kvcalc(*words).stderr
    assert "80GB (80,000,000,000 bytes)" in kvcalc("estimate", "llama-3-8b", "--gpu-memory", "80G").stderr


def test_the_next_command_of_a_plan_keeps_the_unit(kvcalc: Kvcalc) -> None:
    last = kvcalc("plan", "llama-3-8b", "-c", "8192", "--unit", "MB").stdout.splitlines()[-1]
    assert last.startswith("next: kvcalc estimate llama-3-8b --unit MB ")


def test_an_accelerator_and_the_models_have_the_unit(kvcalc: Kvcalc) -> None:
    assert "85,020,639,232 bytes (85.02 GB)" in kvcalc("gpus", "show", "h100", "--unit", "GB").stdout
    header, *rows = kvcalc("models", "list", "--unit", "KiB").stdout.splitlines()
    assert "KiB/token" in header
    (row,) = (row.split() for row in rows if row.startswith("llama-3-8b "))
    assert row[3] == "128.00"


@pytest.mark.parametrize(
    ("text", "unit", "told"),
    [
        ("lacks 1,342,177,280 bytes for one", "GiB", "lacks 1,342,177,280 bytes (1.25 GiB) for one"),
        ("lacks 1,342,177,280 bytes for one", "MB", "lacks 1,342,177,280 bytes (1,342.18 MB) for one"),
        ("lacks 1,342,177,280 bytes for one", "B", "lacks 1,342,177,280 bytes for one"),
        ("132 bytes a token", "GiB", "132 bytes a token"),
        ("0 bytes", "KiB", "0 bytes"),
        ("lacks 1 bytes for one of 41 bytes", "GiB", "lacks 1 byte for one of 41 bytes"),
        ("80GB (80,000,000,000 bytes)", "GiB", "80GB (80,000,000,000 bytes)"),
        ("60.77 GiB in the checkpoint", "GiB", "60.77 GiB in the checkpoint"),
        ("60.77 GiB in the checkpoint", "GB", "65.25 GB in the checkpoint"),
    ],
)
def test_a_sentence_with_a_unit(text: str, unit: str, told: str) -> None:
    assert with_unit(text, unit) == told
