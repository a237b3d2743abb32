"""docs/accuracy.md is what kvcalc predicts today; `make accuracy` writes it anew."""

from __future__ import annotations

import json
from typing import Any

import pytest
from conftest import DATA, ROOT
from each import for_each

FACTS: list[dict[str, Any]] = [
    log
    for engine in ("vllm", "sglang")
    for log in json.loads((DATA / engine / "logs.json").read_text(encoding="utf-8"))["logs"]
]


def test_the_page_is_up_to_date(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    page = (ROOT / "docs" / "accuracy.md").read_text(encoding="utf-8")
    assert __import__("accuracy").page() == page, "run make accuracy, and read the difference"


def test_refusals_are_worse_than_any_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    accuracy = __import__("accuracy")
    errors = [0.01, 0.02, 0.03]
    assert accuracy.quantile(errors, 0, 0.5) == "2.00%"
    assert accuracy.quantile(errors, 2, 0.5) == "3.00%"
    assert accuracy.quantile(errors, 3, 0.9) == "refused"
    assert accuracy.quantile([], 1, 0.5) == "refused"


@for_each("fact", FACTS)
def test_a_log_has_its_source_and_nothing_of_its_machine(fact: dict[str, Any]) -> None:
    assert fact["source"]
    assert isinstance(fact["known"], bool)
    assert fact["printed"]
    assert "/home" not in json.dumps(fact)


def test_no_log_is_there_twice() -> None:
    assert len({fact["id"] for fact in FACTS}) == len(FACTS)


OLDER_THAN_ANY_KNOWN = "mistral-7b by SYCL on an Arc A770"
"""A log of March 2025, whose compute buffer without flash attention is a third larger than by the rules of b6182."""


def test_what_llama_cpp_keeps_is_as_its_logs_print_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    figures = __import__("accuracy_llama_cpp").figures_of_logs()
    kept = [each for each in figures if each.part in {"cache", "states"}]
    assert len(kept) > 60
    assert not [each.log["id"] for each in kept if abs(each.predicted / 2**20 - each.printed) > 0.0051]
    weights = [each for each in figures if each.part == "weights"]
    assert weights
    assert not [each.log["id"] for each in weights if abs(each.error) > 0.0005]
    later = [each for each in figures if each.part == "compute" and "first" in each.log]
    assert len(later) == 46
    assert [each.log["id"] for each in later if abs(each.error) > 0.1] == [OLDER_THAN_ANY_KNOWN]
