"""What engines' own code computed, run live, beside kvcalc: how many vectors there are, and that all of them agree."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_TEXT = """\
## 2. The engine's own code, run live

`make test-live` installs vLLM and runs its planner of the KV cache on the CPU, without a GPU and without weights. What
it computed is kept with its version, and the ordinary tests compare kvcalc with it, exactly: blocks, printed tokens,
bytes of a request.
"""


def vectors() -> Iterator[str]:
    """The section of the page."""
    yield _TEXT
