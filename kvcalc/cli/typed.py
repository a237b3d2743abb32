"""The command line that was typed, to be continued."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable


def typed(words: Iterable[str], *left_out: str) -> str:
    """The command line without some flags."""
    return shlex.join(["kvcalc", *(word for word in words if word not in left_out)])
