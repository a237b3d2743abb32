"""docs/json.md tells every field of the JSON, and none that does not exist."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from kvcalc.cli.app import run

TEXT = (Path(__file__).parent.parent / "docs" / "json.md").read_text(encoding="utf-8")


def paths(value: Any, prefix: str = "") -> set[str]:
    """The paths of an object's leaves; lists and ranks are leaves."""
    if isinstance(value, dict) and not prefix.endswith("per_rank"):
        return {path for key, item in value.items() for path in paths(item, f"{prefix}.{key}" if prefix else key)}
    return {prefix}


def test_every_field_is_documented(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["estimate", "gemma-3-27b", "--tp", "2", "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    fields = [cell for line in TEXT.splitlines() if line.startswith("| `") for cell in line.split("|")[1:2]]
    documented = {name for cell in fields for name in re.findall(r"`([^`]+)`", cell)}
    assert paths(printed) == documented


@pytest.mark.parametrize(("row", "keys"), [("memory.per_rank", "per_rank"), ("cache.terms", "terms")])
def test_records_are_documented(row: str, keys: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["estimate", "gemma-3-27b", "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    record = printed["memory"]["per_rank"] if keys == "per_rank" else printed["cache"]["terms"][0]
    told = re.findall(r"`([^`]+)`", next(line for line in TEXT.splitlines() if line.startswith(f"| `{row}`")))
    assert set(record) <= set(told)
