"""What vLLM's own planner said of many models and settings, and what kvcalc says of the same: 0.33's, and older ones'.

The records were written by vLLM's code itself, run on a CPU: tests/live tells how, and `make test-live` asks it again.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from fuzzing import some
from vllm_vectors import differences, kind_of, models, records, tell

VERSION = "0.33"
OLDER = ("0.19", "0.26", "0.29", "0.31", "0.32")

REFUSED: dict[str, str] = {}
"""Kinds of which kvcalc refuses some, each with words of the refusal. The set only shrinks."""

EVERY = records(VERSION)
CONFIGS = models()


def test_there_are_many() -> None:
    assert len(EVERY) >= 200


@pytest.mark.parametrize("kind", sorted({kind_of(each["model"]) for each in EVERY}))
def test_kvcalc_says_what_the_planner_said(kind: str, tmp_path: Path) -> None:
    wrong, refused = [], set()
    for record in some(each for each in EVERY if kind_of(each["model"]) == kind):
        found = differences(record, VERSION, tmp_path, CONFIGS[record["model"]])
        if "refused" in found:
            refused.add(found["refused"])
        elif found:
            wrong.append(f"{tell(record)}: {found} (kvcalc, vLLM)")
    assert not wrong, f"{len(wrong)} of {kind}:\n" + "\n".join(wrong)
    assert not {reason for reason in refused if REFUSED.get(kind, "\0") not in reason}


@pytest.mark.parametrize("version", OLDER)
def test_kvcalc_says_what_older_planners_said(version: str, tmp_path: Path) -> None:
    """Of the real models, and of every one that this version serves."""
    kept = records(version)
    assert len(kept) >= 50
    wrong = []
    for record in some(kept):
        found = differences(record, version, tmp_path, CONFIGS[record["model"]])
        if found:
            wrong.append(f"{tell(record)}: {found} (kvcalc, vLLM)")
    assert not wrong, "\n".join(wrong)
