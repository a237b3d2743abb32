"""How many examples a property test draws: the same in every `make test`, many fresh ones in `make fuzz`.

`make check` answers while one works, and `make test` judges: of what that draws it draws the first fifth, and of cases
that go the same way with other figures it tries a fifth.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import Any, TypeVar

from hypothesis import settings  # noqa: TID251  # here is where they are made

T = TypeVar("T")

PLAIN = 100
"""The examples of a test that states no number."""

PART_OF_CHECK = 5
"""One of so many is left in `make check`."""

settings.register_profile("suite", max_examples=PLAIN, deadline=None, derandomize=True)
settings.register_profile("check", max_examples=PLAIN // PART_OF_CHECK, deadline=None, derandomize=True)
settings.register_profile(
    "fuzz", max_examples=PLAIN * int(os.environ.get("FUZZ", "20")), deadline=None, print_blob=True
)
settings.load_profile("suite")  # pytest reads --hypothesis-profile after conftest.py and before the tests


def examples(number: int, **other: Any) -> settings:
    """That many examples in `make test`, FUZZ times as many in `make fuzz`, a fifth in `make check`."""
    return settings(max_examples=max(4, number * settings().max_examples // PLAIN), **other)


def some(cases: Iterable[T]) -> list[T]:
    """All cases in `make test`, every fifth in `make check`: for cases that go the same way with other figures."""
    return [*cases][:: PART_OF_CHECK if settings().max_examples < PLAIN else 1]
