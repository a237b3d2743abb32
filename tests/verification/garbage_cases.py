"""What `only_new_garbage` does with the objects of a process: cases that test_verify_garbage runs in small ones."""

from __future__ import annotations

import gc
import weakref

from kvcalc.verification.host_memory import only_new_garbage


class Ring:
    """An object that only a collection finds."""

    def __init__(self) -> None:
        self.itself = self


def unreachable() -> weakref.ref[Ring]:
    return weakref.ref(Ring())


def is_frozen(ring: Ring) -> bool:
    return all(each is not ring for each in gc.get_objects())


def garbage_of_before_and_of_the_run_is_found() -> None:
    before = unreachable()
    with only_new_garbage():
        assert before() is None
        during = unreachable()
        gc.collect()
        assert during() is None
    assert gc.get_freeze_count() == 0


def what_was_there_is_collected_again_afterwards() -> None:
    ring = Ring()
    seen = weakref.ref(ring)
    with only_new_garbage():
        del ring
        gc.collect()
        assert seen() is not None
    gc.collect()
    assert seen() is None


def what_a_process_has_frozen_stays_frozen() -> None:
    ring = Ring()
    gc.freeze()
    with only_new_garbage():
        assert is_frozen(ring)
    assert is_frozen(ring)


def a_run_within_another_leaves_its_objects_frozen() -> None:
    ring = Ring()
    with only_new_garbage():
        with only_new_garbage():
            assert is_frozen(ring)
        assert is_frozen(ring)
    assert not is_frozen(ring)


CASES = (
    garbage_of_before_and_of_the_run_is_found,
    what_was_there_is_collected_again_afterwards,
    what_a_process_has_frozen_stays_frozen,
    a_run_within_another_leaves_its_objects_frozen,
)
