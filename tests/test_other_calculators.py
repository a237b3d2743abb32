"""The eight models that other calculators get wrong: kvcalc is exact, by arithmetic that stands in the benchmark."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
from conftest import ROOT

import kvcalc

sys.path.insert(0, str(ROOT / "benchmarks"))
from other_calculators import CONFIGS, CONTEXTS, PAGE, Trap


@pytest.mark.parametrize(("trap", "config"), CONFIGS.items(), ids=[trap.repository for trap in CONFIGS])
def test_a_trap_is_exact(trap: Trap, config: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps(config), encoding="utf-8")
    for context in CONTEXTS:
        answer = kvcalc.estimate(str(tmp_path / "config.json"), context=context, cache_dtype="bf16")
        assert answer.cache.bytes == trap.right(context)


def test_the_page_is_of_these_models() -> None:
    page = PAGE.read_text(encoding="utf-8")
    assert all(trap.repository in page for trap in CONFIGS)
    assert f"| exact | | {len(CONFIGS)} of {len(CONFIGS)} |" in page
