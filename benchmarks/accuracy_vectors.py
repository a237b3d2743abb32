"""What an engine's own code computed, run live: how many vectors are kept, and of what."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

FOLDER = Path(__file__).parents[1] / "tests" / "data" / "vllm"

_TEXT = """\
## 2. The engine's own code, run live

`make test-live` installs vLLM and runs its planner of the KV cache on the CPU, without a GPU and without weights. What
it computed is kept with its version, and the ordinary tests (`tests/engines/test_vllm_vectors.py`) compare kvcalc with
it: blocks, tokens and concurrency as printed, and the bytes of a request must be equal, or the tests fail.
"""
_NONE = """## 2. The engine's own code, run live

Nothing of it is kept yet.
"""


def vectors() -> Iterator[str]:
    """The section of the page."""
    files = sorted(FOLDER.glob("planner-[0-9]*.json"))  # by version
    yield _TEXT if files else _NONE
    if not files:
        return
    yield "| engine | on a pretended | vectors | models | layers of these kinds |"
    yield "| --- | --- | ---: | ---: | --- |"
    for path in files:
        yield _row(json.loads(path.read_text(encoding="utf-8")))
    yield ""


def _row(kept: dict[str, Any]) -> str:
    records = kept["records"]
    models = {each["model"] for each in records}
    kinds = Counter(kind for each in records for kind in {group[1] for group in each["says"]["groups"]})
    told = ", ".join(f"{kind} in {number:,}" for kind, number in kinds.most_common())
    return f"| {kept['engine']} {kept['version']} | {kept['card']} | {len(records):,} | {len(models):,} | {told} |"
