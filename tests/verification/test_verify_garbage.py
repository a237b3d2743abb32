"""Collections while something is verified find what the run makes, and pass over what was there."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from garbage_cases import CASES
from prepared import Ended, Prepared

CASE = f"""
import gc, sys
gc.unfreeze()
sys.path.append({str(Path(__file__).parent)!r})
import garbage_cases
getattr(garbage_cases, sys.argv[1])()
"""

COUNTS = """
import gc, sys
import kvcalc
kvcalc.verify("llama-3-8b", context=16, device="meta")
tracked = len(gc.get_objects())
most = []
gc.callbacks.append(lambda phase, info: most.append(len(gc.get_objects())) if phase == "start" else None)
result = kvcalc.verify("llama-3-8b", context=16, device="cpu", tp=2, pp=2)
assert result.verified
assert not {"torch._dynamo", "sympy"} & sys.modules.keys()
print(tracked, *most)
"""


@pytest.fixture(scope="module")
def small() -> Iterator[Prepared]:
    """A process without torch, and so without its quarter of a million objects."""
    with Prepared(("kvcalc.verification.host_memory",)) as process:
        yield process


@pytest.mark.parametrize("case", [case.__name__ for case in CASES])
def test_of_the_objects_of_a_process(small: Prepared, case: str) -> None:
    assert small.run(case, program=CASE) == Ended(0, "", "")


def test_only_one_collection_of_a_run_looks_at_everything() -> None:
    """Of four ranks there are eight between which memory is measured, and more that Python starts itself."""
    done = subprocess.run([sys.executable, "-c", COUNTS], capture_output=True, text=True, check=True)
    tracked, *objects = map(int, done.stdout.split())
    assert len(objects) >= 9
    assert sum(found > tracked / 2 for found in objects) <= 1
