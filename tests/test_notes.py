"""Notes: a code, a sentence and its figures."""

from __future__ import annotations

import pickle

import pytest

from kvcalc.note import CODES, Note, note, register


def test_a_note_is_a_value() -> None:
    one = note("default-context", "context is not given: 8,192 is used", context=8192)
    assert one == note("default-context", "context is not given: 8,192 is used", context=8192)
    assert one.data == {"context": 8192}
    assert str(one) == one.text
    assert pickle.loads(pickle.dumps(one)) == one  # noqa: S301  # its own
    assert len({one, one}) == 1


def test_a_code_that_is_not_registered_is_refused() -> None:
    with pytest.raises(ValueError, match="no-such-code is not registered"):
        Note("no-such-code", "text")


def test_a_code_has_one_meaning() -> None:
    register({"default-context": CODES["default-context"]})
    with pytest.raises(ValueError, match="already"):
        register({"default-context": "another"})
