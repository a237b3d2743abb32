"""Several values of an option: an answer for each, as if it had been asked alone."""

from __future__ import annotations

import csv
import io
import json
from typing import Any

import pytest
from conftest import Kvcalc

import kvcalc
from kvcalc import catalogue, load_gpu
from kvcalc.catalogue.shipped import CONFIGS
from kvcalc.errors import KvcalcError

LLAMA = ("llama-3-70b", "-c", "8192")


def answered(kvcalc: Kvcalc, *words: str) -> Any:
    run = kvcalc(*words, "--json")
    assert run.code == 0
    return json.loads(run.stdout)


LADDERS = [
    (["estimate", "llama-3-70b"], [("batch", "1,8"), ("context", "4Ki..16Ki*2")]),
    (["estimate", "gemma-3-27b", "--context", "32Ki"], [("cache_dtype", "bf16,fp8"), ("engine", "exact,vllm")]),
    (["estimate", "qwen3-8b", "-c", "8192"], [("weight_dtype", "fp8,q8_0"), ("gpu", "h100, a100-80gb")]),
    (["estimate", "llama-3-8b", "-c", "8192"], [("tp", "1,2"), ("pp", "1..3+2")]),
    (["capacity", *LLAMA], [("tp", "2,4,8")]),
    (["capacity", "qwen3-8b", "--cache-memory", "8GiB"], [("context", "1Ki,2Ki"), ("cache_dtype", "k=q8_0,bf16")]),
    (["compare", *LLAMA], [("gpu", "h100,h200")]),
    (["compare", "llama-3-8b", "qwen3-8b", "--cache-dtype", "bf16,fp8"], [("batch", "1,8"), ("context", "2Ki,4Ki")]),
]  # fmt: skip


@pytest.mark.parametrize(("words", "axes"), LADDERS, ids=lambda value: " ".join(map(str, value)))
def test_each_row_is_what_its_values_alone_would_print(
    words: list[str], axes: list[tuple[str, str]], kvcalc: Kvcalc
) -> None:
    options = [word for name, values in axes for word in (f"--{name.replace('_', '-')}", values)]
    ladder = answered(kvcalc, *words, *options)
    assert {*ladder} == {"schema_version", "command", "rows"}
    assert (ladder["command"], len(ladder["rows"]) > 1) == (words[0], True)
    assert [[*row["axes"]] for row in ladder["rows"]] == [[name for name, _ in axes]] * len(ladder["rows"])
    for row in (ladder["rows"][0], ladder["rows"][-1]):
        alone = [word for name, value in row["axes"].items() for word in (f"--{name.replace('_', '-')}", str(value))]
        assert row["result"] == answered(kvcalc, *words, *alone)


def test_the_last_option_changes_fastest(kvcalc: Kvcalc) -> None:
    rows = answered(kvcalc, "estimate", "llama-3-8b", "--tp", "1,2", "-b", "1,8")["rows"]
    assert [row["axes"] for row in rows] == [{"batch": batch, "tp": tp} for batch in (1, 8) for tp in (1, 2)]


@pytest.mark.parametrize("of", [kvcalc.estimate, kvcalc.capacity, kvcalc.compare])
def test_the_longest_context_is_a_number(of: Any) -> None:
    """As in rows of a sweep: a column of numbers has no word in it."""
    longest, short = kvcalc.ladder(of, "qwen3-8b", context="max,4Ki").rows
    assert (longest.axes, short.axes) == ({"context": 40960}, {"context": 4096})
    assert longest.result == of("qwen3-8b", context=40960)


def test_a_single_value_is_one_object(kvcalc: Kvcalc) -> None:
    assert "rows" not in answered(kvcalc, "estimate", *LLAMA, "--cache-dtype", "k=q8_0,v=q4_0")
    assert answered(kvcalc, "compare", *LLAMA, "--cache-dtype", "bf16,fp8")["varies"] == ["format"]


@pytest.mark.parametrize("words", [("estimate", *LLAMA), ("capacity", *LLAMA), ("compare", *LLAMA)], ids=" ".join)
def test_csv_has_the_axes_first_and_then_the_columns_of_one(words: tuple[str, ...], kvcalc: Kvcalc) -> None:
    ladder = [*csv.DictReader(io.StringIO(kvcalc(*words, "--tp", "4,8", "--format", "csv").stdout))]
    alone = [*csv.DictReader(io.StringIO(kvcalc(*words, "--tp", "8", "--format", "csv").stdout))]
    assert [*ladder[0]] == list(dict.fromkeys(["tp", *alone[0]]))
    last = [{**row, "tp": each["tp"]} for row, each in zip(ladder[len(alone) :], alone, strict=True) if "tp" in each]
    assert (last or [{key: value for key, value in row.items() if key != "tp"} for row in ladder[1:]]) == alone


def test_csv_of_plans_and_comparisons_carries_the_workload(kvcalc: Kvcalc) -> None:
    for words in (("plan", "llama-3-8b"), ("compare", "llama-3-8b")):
        rows = [*csv.DictReader(io.StringIO(kvcalc(*words, "-b", "3", "-c", "4Ki", "--format", "csv").stdout))]
        assert {(row["batch"], row["context"]) for row in rows} == {("3", "4096")}
    nothing = kvcalc("plan", "llama-3.1-405b", "--max-gpus", "1", "--format", "csv")
    assert nothing.stdout.splitlines()[0].endswith(",batch,context")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("estimate", *LLAMA, "--tp", "2,3"), "error: tp 3: tp: 3 is illegal"),
        (("capacity", *LLAMA, "-b", "1,8", "--tp", "4,5"), "error: batch 1, tp 5: tp: 5 is illegal"),
        (("estimate", *LLAMA, "--gpu", "h100,h1OO"), "error: gpu h1OO: gpu: no accelerator"),
        (("estimate", *LLAMA, "--cache-dtype", "bf16,fp7"), "error: cache-dtype fp7: --cache-dtype: "),
        (("estimate", "llama-3-70bb", "-c", "1Ki,2Ki"), "error: model: no file, name or hub id 'llama-3-70bb'"),
        (("estimate", *LLAMA, "-b", "1,8", "--utilization", "2"), "error: --utilization: "),
        (("estimate", *LLAMA, "-b", "1,,8"), "error: --batch: a value is empty"),
        (("estimate", *LLAMA, "-b", "8..64"), "error: --batch: the range '8..64' does not say how it goes on"),
        (("estimate", *LLAMA, "-b", "1..5000+1"), "error: --batch: 5,000 rows are more than 1,000; kvcalc sweep"),
        (("estimate", *LLAMA, "-b", "1,8", "--explain"), "error: --explain: explains one answer; give --batch one"),
    ],
    ids=" ".join,
)  # fmt: skip
def test_a_wrong_row_is_named_and_nothing_is_printed(words: tuple[str, ...], message: str, kvcalc: Kvcalc) -> None:
    run = kvcalc(*words)
    assert (run.code, run.stdout) == (2, "")
    assert run.stderr.startswith(message)


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (("--tp", "4,8", "--check"), 0, ""),
        (("--tp", "1,2,4", "--check"), 1, "error: --check: 2 of 3 rows do not fit: tp 1, and 1 more"),
        (("--tp", "2,4", "--check"), 1, "error: --check: 1 of 2 rows do not fit: tp 2\n"),
        (("--tp", "2,4", "--check", "--accept-tight"), 0, ""),
        (("--tp", "1,2"), 0, ""),
    ],
    ids=str,
)
def test_a_check_asks_every_row(words: tuple[str, ...], code: int, message: str, kvcalc: Kvcalc) -> None:
    run = kvcalc("estimate", *LLAMA, *words)
    assert run.code == code
    assert message in run.stderr
    assert run.stdout


def test_a_check_without_weights_is_refused(kvcalc: Kvcalc) -> None:
    run = kvcalc("estimate", "--layers", "2", "--heads", "4", "--head-dim", "64", "-b", "1,2", "--check")
    assert run.code == 2
    assert "--check: whether it fits needs the weights" in run.stderr


def test_a_capacity_is_a_no_where_nothing_fits_in_any_row(kvcalc: Kvcalc) -> None:
    assert kvcalc("capacity", *LLAMA, "--tp", "1,2").code == 0
    run = kvcalc("capacity", *LLAMA, "--tp", "1", "--gpu", "t4,a10g")
    assert (run.code, run.stderr) == (1, "error: capacity: nothing fits in any of 2 rows\n")
    assert run.stdout


def test_a_mix_is_told(kvcalc: Kvcalc) -> None:
    run = kvcalc("estimate", "llama-3-8b", "--mix", "70%:2Ki+500,30%:16Ki+1Ki", "-b", "8,16")
    assert (run.code, run.stdout.splitlines()[1][:47]) == (0, "each: requests of a mix, their cache on average")


def test_from_python_values_are_lists_or_words() -> None:
    told = kvcalc.ladder(kvcalc.estimate, "llama-3-70b", batch=[1, 8], context="4Ki,16Ki", gpu=load_gpu("h200"))
    assert told == kvcalc.ladder(
        kvcalc.estimate, "llama-3-70b", batch=range(1, 9, 7), context=[4096, 16384], gpu="h200"
    )
    assert (told.axes, len(told.rows), told.brief) == (
        ("batch", "context"), 4, "4 rows: batch 1, context 4,096 to batch 8, context 16,384",
    )  # fmt: skip
    assert kvcalc.ladder(kvcalc.estimate, "llama-3-70b").brief == "1 row: nothing is varied"
    assert told.rows[3].result == kvcalc.estimate("llama-3-70b", batch=8, context=16384, gpu="h200")
    assert [note.code for note in told.notes] == []
    with pytest.raises(TypeError, match="estimate, capacity or compare"):
        kvcalc.ladder(kvcalc.plan, "llama-3-70b", batch=[1, 8])  # type: ignore[arg-type]  # the mistake
    with pytest.raises(TypeError, match="unexpected keyword argument 'contxt'"):
        kvcalc.ladder(kvcalc.estimate, "llama-3-70b", contxt=[1, 8])
    with pytest.raises(KvcalcError, match=r"^batch 0: "):
        kvcalc.ladder(kvcalc.estimate, "llama-3-70b", batch=[1, 0])


def test_a_file_is_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[str] = []
    found = catalogue.find_model

    def noted(text: str, assumed: Any) -> Any:
        read.append(text)
        return found(text, assumed)

    monkeypatch.setattr(catalogue, "find_model", noted)
    rows = kvcalc.ladder(kvcalc.capacity, CONFIGS / "models" / "llama-3-8b.yaml", tp=[1, 2]).rows
    assert [row.result.model.name for row in rows] == ["llama-3-8b"] * 2
    assert len(read) == 1
