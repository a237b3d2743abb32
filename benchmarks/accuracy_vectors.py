"""What an engine's own code computed, run live: how many vectors are kept, and of what."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

DATA = Path(__file__).parents[1] / "tests" / "data"
FOLDER = DATA / "vllm"

_TEXT = """\
## 2. The engine's own code, run live

`make test-live` installs engines and runs their own code on the CPU, without a GPU and without weights: vLLM's planner
of the KV cache; SGLang's server arguments and its planner of pools; the caches of mlx_lm, as small models fill them.
The ordinary tests run two: llama.cpp plans 200 shapes drawn by chance, and transformers' caches are filled by small
models. What the others computed is kept with their versions, and the ordinary tests compare kvcalc with it: of vLLM
blocks, tokens and concurrency as printed, and the bytes of a request; of SGLang tokens of both pools, slots of states,
pages, and the defaults that its server takes; of mlx_lm and transformers the bytes of the whole cache. All must be
equal, or the tests fail. Of TensorRT-LLM and LMDeploy no code is run: their cores are compiled for CUDA.
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
    yield from _others()
    yield ""


def _others() -> Iterator[str]:
    sglang = _read("sglang/plans.json")
    records = sglang["records"]
    kinds = Counter(each["kind"] for each in records)
    told = ", ".join(f"{kind} in {number:,}" for kind, number in sorted(kinds.items()))
    yield f"| sglang {sglang['version']} | {sglang['card']} | {len(records):,} | {len(records):,} drawn | {told} |"
    mlx = _read("mlx/caches.json")
    ran = [name for name, found in mlx["models"].items() if found is not None]
    rows = sum(len(found) for name, found in mlx.items() if name not in {"mlx_lm", "models"})
    yield f"| mlx_lm {mlx['mlx_lm']} | CPU | {rows + len(ran):,} | {len(ran):,} small | {', '.join(ran)} |"
    for version, models in _read("transformers/caches.json").items():
        filled = sum(size is not None for kinds in models.values() for size in kinds.values())
        yield f"| transformers {version} | CPU | {filled:,} | {len(models):,} small | dynamic and static caches |"


def _read(name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((DATA / name).read_text(encoding="utf-8"))
    return found


def _row(kept: dict[str, Any]) -> str:
    records = kept["records"]
    models = {each["model"] for each in records}
    kinds = Counter(kind for each in records for kind in {group[1] for group in each["says"]["groups"]})
    told = ", ".join(f"{kind} in {number:,}" for kind, number in kinds.most_common())
    return f"| {kept['engine']} {kept['version']} | {kept['card']} | {len(records):,} | {len(models):,} | {told} |"
