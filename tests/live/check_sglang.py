"""The defaults kept in tests/data/sglang against those of a wheel: `make test-live-sglang`, which names it."""

from __future__ import annotations

import json
import os
from pathlib import Path
from zipfile import Path as ZipPath

from write_sglang_vectors import ORDER, OUT, lines_of


def test_the_defaults_kept_are_those_of_the_wheel() -> None:
    wheel = Path(os.environ["SGLANG_WHEEL"])
    version = wheel.name.split("-")[1]
    kept = json.loads(OUT.read_text(encoding="utf-8"))
    says = next(record["says"] for record in kept["records"] if version in record["versions"])
    assert kept["order"] == list(ORDER)
    assert [json.loads(line) for line in lines_of(ZipPath(wheel) / "sglang")] == says
