"""What is told of a log, and what is refused. Logs are those of tests/vllm_start_ups.py."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

import pytest
from conftest import ROOT, Kvcalc, codes
from vllm_start_ups import RANKS, V0_19, V0_31

import kvcalc as package
from kvcalc.errors import KvcalcError


def test_what_the_log_does_not_say_is_noted(log: Any) -> None:
    assert codes(package.capacity_from_log(log(RANKS), "llama-3-8b").notes) >= {"version-not-logged", "card-taken"}
    twice = package.capacity_from_log(log(V0_31 + V0_31))
    assert "several-starts" in codes(twice.notes)
    assert twice.log.starts == 2
    named = V0_31.replace("meta-llama/Meta-Llama-3-8B", "someone/Llama-3-8B-Instruct")
    assert "model-by-name" in codes(package.capacity_from_log(log(named)).notes)


def test_what_is_given_and_the_log_has_otherwise_is_told(log: Any) -> None:
    given: dict[str, Any] = {"tp": 2, "context": "4Ki", "utilization": "0.90", "gpu": "a100-80gb"}
    result = package.capacity_from_log(log(V0_19), "llama-3-70b", **given)
    told = [each.text for each in result.notes if each.code == "log-overridden"]
    assert told[0] == "the log has model llama-3-8b, llama-3-70b is used"
    assert told[1] == "the log has gpu h100-sxm, --gpu a100-80-sxm is used"
    assert set(told[2:]) == {
        "the log has tp 1, --tp 2 is used",
        "the log has context 8192, --context 4Ki is used",
        "the log has utilization 0.950000, --utilization 0.90 is used",
    }
    own = package.capacity_from_log(log(V0_31), engine_option={"max_num_seqs": "8"})
    assert any(each.text.startswith("the log has max-num-seqs 256, ") for each in own.notes)


def test_what_is_given_as_the_log_has_it_is_not_told(log: Any) -> None:
    given: dict[str, Any] = {"tp": 1, "context": "8Ki", "utilization": "0.95", "gpu": "h100"}
    assert "log-overridden" not in codes(package.capacity_from_log(log(V0_19), "llama-3-8b", **given).notes)
    assert "log-overridden" not in codes(package.capacity_from_log(log(RANKS), "llama-3-8b", context=4096).notes)


@pytest.mark.parametrize(
    ("name", "value", "option"),
    [
        ("gpu_memory_utilization", "95", "--utilization"),
        ("tensor_parallel_size", "3", "--tp"),
        ("max_num_seqs", "0", "--engine-option"),
    ],
)
def test_an_error_of_a_setting_of_the_log_names_the_log(
    kvcalc: Kvcalc, log: Any, name: str, value: str, option: str
) -> None:
    path = log(V0_31 + f"INFO non-default args: {{'{name}': {value}}}\n")
    told = kvcalc("capacity", "--from-log", path)
    assert told.code == 2
    assert f"--from-log: the log's {name} {value}: " in told.stderr
    assert option not in told.stderr.split(value)[0]


def test_an_error_of_an_option_that_is_given_names_the_option(kvcalc: Kvcalc, log: Any) -> None:
    told = kvcalc("capacity", "--from-log", log(V0_19), "--tp", "3")
    assert told.code == 2
    assert "the log's" not in told.stderr


def test_another_engine_than_the_logs_is_refused(kvcalc: Kvcalc, log: Any) -> None:
    told = kvcalc("capacity", "--from-log", log(V0_31), "--engine", "llama-cpp")
    assert told.code == 2
    assert "--engine llama-cpp: the log is vllm's" in told.stderr


@pytest.mark.parametrize(("version", "step"), [("0.40.1", "vllm@0.33.0"), ("0.5.5", "vllm@0.6.0")])
def test_a_version_beyond_those_known_is_refused_with_the_step_that_works(
    kvcalc: Kvcalc, log: Any, version: str, step: str
) -> None:
    path = log(V0_31.replace("0.31.0", version))
    told = kvcalc("capacity", "--from-log", path)
    assert told.code == 2
    assert f"--engine {step} compares" in told.stderr
    assert kvcalc("capacity", "--from-log", path, "--engine", step).code in {0, 1}


def test_another_version_than_the_logs_is_told(log: Any) -> None:
    result = package.capacity_from_log(log(V0_31), engine="vllm@0.29")
    assert any("engine version 0.31.0" in each.text for each in result.notes if each.code == "log-overridden")
    assert "log-overridden" not in codes(package.capacity_from_log(log(V0_31), engine="vllm@0.31.0").notes)


def test_what_the_log_does_not_say_is_told(log: Any) -> None:
    given: dict[str, Any] = {"cache_dtype": "fp8", "engine_option": {"enforce-eager": "true"}}
    result = package.capacity_from_log(log(V0_31), **given)
    assert [each.data["settings"] for each in result.notes if each.code == "log-silent"] == [
        ("cache-dtype", "enforce-eager")
    ]
    assert "log-silent" not in codes(package.capacity_from_log(log(V0_31)).notes)


def test_a_huge_log_is_read_up_to_a_limit(log: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kvcalc.logs.log_text.MAX_BYTES", len(V0_31.encode()))
    result = package.capacity_from_log(log(V0_31 + "INFO: 127.0.0.1 GET /health\n" * 1000))
    assert result.log.cut
    assert "log-cut" in codes(result.notes)


def test_nothing_known_is_refused_with_what_was_looked_for(kvcalc: Kvcalc, log: Any) -> None:
    told = kvcalc("capacity", "llama-3-8b", "--from-log", log("hello\n"))
    assert told.code == 2
    assert "Available KV cache memory" in told.stderr


@pytest.mark.parametrize("file", ["no-such-file.log", "."])
def test_a_file_that_cannot_be_read_is_refused(kvcalc: Kvcalc, file: str) -> None:
    told = kvcalc("capacity", "--from-log", file)
    assert told.code == 2
    assert "cannot be read" in told.stderr


def test_memory_for_the_cache_beside_a_log_is_refused(kvcalc: Kvcalc, log: Any) -> None:
    assert kvcalc("capacity", "--from-log", log(V0_31), "--cache-memory", "1GiB").code == 2


def test_the_log_is_not_written_over(kvcalc: Kvcalc, log: Any) -> None:
    path = log(V0_31)
    told = kvcalc("capacity", "--from-log", path, "-o", path)
    assert told.code == 2
    assert "is the log that is read" in told.stderr
    assert Path(path).read_text(encoding="utf-8") == V0_31


def test_standard_input_is_read(kvcalc: Kvcalc, monkeypatch: pytest.MonkeyPatch) -> None:
    stdin = io.TextIOWrapper(io.BytesIO(V0_31.encode()), encoding="utf-8")
    monkeypatch.setattr("sys.stdin", stdin)
    assert kvcalc("capacity", "--from-log", "-", "--gpu", "a100-80gb").code == 0


def test_csv_has_a_line_for_each_figure(kvcalc: Kvcalc, log: Any) -> None:
    told = kvcalc("capacity", "--from-log", log(V0_31), "--gpu", "a100-80gb", "--format", "csv")
    found = {row["name"]: row for row in csv.DictReader(io.StringIO(told.stdout))}
    assert found["tokens"]["printed"] == "460496"
    assert set(found["tokens"]) >= {"name", "unit", "printed", "predicted", "difference"}


HOSTILE = {
    "tensor_parallel_size": ["0", "-3", "999999999999", "1e9", "nan", "[]"],
    "gpu_memory_utilization": ["7", "-1", "0", "nan", "1e-9"],
    "max_model_len": ["0", "-1", "9" * 40, "x"],
    "kv_cache_dtype": ["'../../etc/passwd'", "'fp9'", "''"],
    "max_num_seqs": ["0", "9" * 30, "'y'"],
}


@pytest.mark.parametrize(("name", "value"), [(name, value) for name, values in HOSTILE.items() for value in values])
def test_a_hostile_setting_is_refused_or_computed(kvcalc: Kvcalc, log: Any, name: str, value: str) -> None:
    line = f"INFO non-default args: {{'{name}': {value}}}\n"
    told = kvcalc("capacity", "--from-log", log(V0_31 + line), "--gpu", "a100-80gb")
    assert told.code in {0, 1, 2}
    assert "Traceback" not in told.stderr


def test_every_field_is_documented(kvcalc: Kvcalc, log: Any) -> None:
    section = (ROOT / "docs" / "json.md").read_text(encoding="utf-8").split("## `kvcalc capacity --from-log`\n")[1]
    section = section.split("\n## ")[0]
    printed = json.loads(kvcalc("capacity", "--from-log", log(V0_31), "--json").stdout)
    told = {line.split("`")[1] for line in section.splitlines() if line.startswith("| `")}
    assert told == set(printed)
    for name in ("log", "exact"):
        assert all(f"`{name}.{key}`" in section for key in printed[name])
    for name in ("rows", "settings"):
        assert all(f"`{key}`" in section for key in printed[name][0])


def test_another_model_than_the_logs_may_be_a_value(log: Any) -> None:
    model = package.load_model("llama-3-8b")
    assert package.capacity_from_log(log(RANKS), model).model.name == "llama-3-8b"
    with pytest.raises(KvcalcError, match="no-such-model"):
        package.capacity_from_log(log(RANKS), "no-such-model")
