"""How many examples a property test draws: the same in every `make test`, many fresh ones in `make fuzz`."""

from __future__ import annotations

import os
from typing import Any

from hypothesis import settings  # noqa: TID251  # here is where they are made

PLAIN = 100
"""The examples of a test that states no number."""

settings.register_profile("suite", max_examples=PLAIN, deadline=None, derandomize=True)
settings.register_profile(
    "fuzz", max_examples=PLAIN * int(os.environ.get("FUZZ", "20")), deadline=None, print_blob=True
)
settings.load_profile("suite")  # pytest reads --hypothesis-profile after conftest.py and before the tests


def examples(number: int, **other: Any) -> settings:
    """That many examples in `make test`, and FUZZ times as many in `make fuzz`."""
    return settings(max_examples=max(4, number * settings().max_examples // PLAIN), **other)
