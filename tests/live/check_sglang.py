"""The defaults kept in tests/data/sglang against those of a wheel: `make test-live-sglang`, which names it."""

from __future__ import annotations

import json
import os
from pathlib import Path
from zipfile import Path as ZipPath

from write_flags import FLAGS, has, text_of
from write_sglang_vectors import ORDER, OUT, lines_of


def test_the_defaults_kept_are_those_of_the_wheel() -> None:
    wheel = Path(os.environ["SGLANG_WHEEL"])
    version = wheel.name.split("-")[1]
    kept = json.loads(OUT.read_text(encoding="utf-8"))
    says = next(record["says"] for record in kept["records"] if version in record["versions"])
    assert kept["order"] == list(ORDER)
    assert [json.loads(line) for line in lines_of(ZipPath(wheel) / "sglang")] == says


def test_the_flags_kept_are_those_of_the_wheel() -> None:
    wheel = Path(os.environ["SGLANG_WHEEL"])
    kept = json.loads((Path(__file__).parents[1] / "data" / "flags" / "sglang.json").read_text(encoding="utf-8"))
    order, version = kept["versions"].split(), wheel.name.split("-")[1]
    text = text_of("sglang", ZipPath(wheel))
    for flag in FLAGS["sglang"].split():
        first, last = map(order.index, kept["flags"][flag])
        assert has("sglang", text, flag) == (first <= order.index(version) <= last), flag
