"""docs/json.md tells every field of the JSON, and none that does not exist."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from conftest import ROOT

from kvcalc.cli.app import run

TEXT = (ROOT / "docs" / "json.md").read_text(encoding="utf-8")

ENVELOPE = {"schema_version", "command"}


def documented(command: str) -> list[str]:
    """The lines of a command's section."""
    section = TEXT.split(f"## `kvcalc {command}`\n")[1].split("\n## ")[0]
    return [line for line in section.splitlines() if line.startswith("| `")]


def paths(value: Any, prefix: str = "") -> set[str]:
    """The paths of an object's leaves; lists and ranks are leaves."""
    if isinstance(value, dict) and not prefix.endswith("per_rank"):
        return {path for key, item in value.items() for path in paths(item, f"{prefix}.{key}" if prefix else key)}
    return {prefix}


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ("estimate", ["gemma-3-27b", "--tp", "2"]),
        ("capacity", ["gemma-3-27b", "--tp", "2"]),
        ("plan", ["gemma-3-27b"]),
        ("demand", ["gemma-3-27b", "--trace", "chat"]),
        ("explain", ["gqa"]),
        pytest.param("verify", ["gemma-3-1b", "--tp", "2", "--device", "meta"], marks=pytest.mark.torch),
    ],
)
def test_every_field_is_documented(command: str, words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert run([command, *words, "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    told = {name for line in documented(command) for name in re.findall(r"`([^`]+)`", line.split("|")[1])}
    assert paths(printed) - ENVELOPE == told - ENVELOPE


@pytest.mark.parametrize(("command", "records"), [("models", "models"), ("gpus", "gpus")])
def test_every_field_of_a_list_is_documented(command: str, records: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run([command, "list", "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)[records]
    told = {name for line in documented(command) for name in re.findall(r"`([^`]+)`", line.split("|")[1])}
    assert {key for record in printed for key in record} == told


@pytest.mark.parametrize(("row", "keys"), [("memory.per_rank", "per_rank"), ("cache.terms", "terms")])
def test_records_are_documented(row: str, keys: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["estimate", "gemma-3-27b", "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    record = printed["memory"]["per_rank"] if keys == "per_rank" else printed["cache"]["terms"][0]
    told = re.findall(r"`([^`]+)`", next(line for line in documented("estimate") if line.startswith(f"| `{row}`")))
    assert set(record) <= set(told)


@pytest.mark.parametrize("records", ["deployments", "rejected"])
def test_records_of_a_plan_are_documented(records: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["plan", "llama-3-70b", "--batch", "32", "--json"]) == 0
    record = json.loads(capsys.readouterr().out)[records][0]
    told = re.findall(r"`([^`]+)`", next(line for line in documented("plan") if line.startswith(f"| `{records}`")))
    assert set(record) <= set(told)


@pytest.mark.parametrize("field", ["points", "prefix"])
def test_records_of_a_demand_are_documented(field: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["demand", "qwen3-8b", "--trace", "agents", "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)[field]
    record = printed[0] if isinstance(printed, list) else printed
    told = re.findall(r"`([^`]+)`", next(line for line in documented("demand") if line.startswith(f"| `{field}`")))
    assert set(record) <= set(told)


@pytest.mark.parametrize("field", ["decode.spill", "spill"])
def test_the_records_of_a_spill_are_documented(field: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["estimate", "llama-3-8b", "--batch", "100", "--spill", "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    record = printed["spill"] if field == "spill" else printed["decode"]["spill"]
    told = re.findall(r"`([^`]+)`", next(line for line in documented("estimate") if line.startswith(f"| `{field}`")))
    assert set(record) <= set(told)


@pytest.mark.torch
@pytest.mark.parametrize("records", ["checks", "measurements", "rungs", "unsupported"])
@pytest.mark.torch
def test_records_of_a_verification_are_documented(
    records: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    too_many_heads = tmp_path / "model.yaml"
    layers = "layers: [{count: 1, attention: {kind: mqa, num_heads: 16385, head_dim: 8}}]"
    too_many_heads.write_text(f"name: model\n{layers}\n", encoding="utf-8")
    model = str(too_many_heads) if records == "unsupported" else "gemma-3-1b"
    run(["verify", model, "--device", "meta", "--json"])
    record = json.loads(capsys.readouterr().out)[records][0]
    told = re.findall(r"`([^`]+)`", next(line for line in documented("verify") if line.startswith(f"| `{records}`")))
    assert set(record) <= set(told)


def test_every_field_of_a_comparison_is_documented(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["compare", "gemma-3-27b", "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    told = {name for line in documented("compare") for name in re.findall(r"`([^`]+)`", line.split("|")[1])}
    assert paths(printed) | {path for row in printed["rows"] for path in paths(row)} | {"given"} == told


@pytest.mark.parametrize("records", ["sayings", "contradictions"])
def test_records_of_a_comparison_are_documented(records: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["compare", "gemma-3-27b", "--json"]) == 0
    record = json.loads(capsys.readouterr().out)[records][0]
    told = re.findall(r"`([^`]+)`", next(line for line in documented("compare") if line.startswith(f"| `{records}`")))
    assert set(record) <= set(told)
