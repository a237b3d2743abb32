"""Collections while something is verified find what the run makes, and pass over what was there."""

from __future__ import annotations

import gc
import subprocess
import sys
import weakref
from collections.abc import Iterator

import pytest

from kvcalc.verification.host_memory import only_new_garbage

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


class Ring:
    """An object that only a collection finds."""

    def __init__(self) -> None:
        self.itself = self


def unreachable() -> weakref.ref[Ring]:
    return weakref.ref(Ring())


def is_frozen(ring: Ring) -> bool:
    return all(each is not ring for each in gc.get_objects())


@pytest.fixture(autouse=True)
def _nothing_frozen() -> Iterator[None]:
    frozen = gc.get_freeze_count()
    gc.unfreeze()
    yield
    if frozen:
        gc.freeze()


def test_garbage_of_before_and_of_the_run_is_found() -> None:
    before = unreachable()
    with only_new_garbage():
        assert before() is None
        during = unreachable()
        gc.collect()
        assert during() is None
    assert gc.get_freeze_count() == 0


def test_what_was_there_is_collected_again_afterwards() -> None:
    ring = Ring()
    seen = weakref.ref(ring)
    with only_new_garbage():
        del ring
        gc.collect()
        assert seen() is not None
    gc.collect()
    assert seen() is None


def test_what_a_process_has_frozen_stays_frozen() -> None:
    ring = Ring()
    gc.freeze()
    try:
        with only_new_garbage():
            assert is_frozen(ring)
        assert is_frozen(ring)
    finally:
        gc.unfreeze()


def test_a_run_within_another_leaves_its_objects_frozen() -> None:
    ring = Ring()
    with only_new_garbage():
        with only_new_garbage():
            assert is_frozen(ring)
        assert is_frozen(ring)
    assert not is_frozen(ring)


def test_only_one_collection_of_a_run_looks_at_everything() -> None:
    """Of four ranks there are eight between which memory is measured, and more that Python starts itself."""
    done = subprocess.run([sys.executable, "-c", COUNTS], capture_output=True, text=True, check=True)
    tracked, *objects = map(int, done.stdout.split())
    assert len(objects) >= 9
    assert sum(found > tracked / 2 for found in objects) <= 1
