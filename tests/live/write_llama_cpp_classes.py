"""Writes what llama.cpp prints of shapes with the dims of published models into tests/data/llama_cpp/classes.json.

The shapes, as keys of GGUF, are in that file already: a few layers of each model.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT / "tests"), str(ROOT)]

from llama_cpp_shapes import CLASS_RUNS  # noqa: E402  # found there
from llama_cpp_sizes import VERSION, LlamaCpp  # noqa: E402  # likewise

PATH = ROOT / "tests" / "data" / "llama_cpp" / "classes.json"


def printed(lib: LlamaCpp, keys: dict[str, Any]) -> dict[str, list[float] | None]:
    """The compute buffer and the caches in MiB of each run; None where llama.cpp refuses it."""
    metadata = {name: value for name, value in keys.items() if name not in {"arch", "vocab"}}
    model = lib.model(keys["arch"], keys["vocab"], {"context_length": 131072, **metadata})
    found: dict[str, list[float] | None] = {}
    for run in CLASS_RUNS:
        slots, step = run.slots, max(2048, run.ubatch)
        params = {"n_seq_max": slots, "n_ubatch": run.ubatch, "n_batch": step}
        try:
            sizes = lib.sizes(model, run.context * slots, k=run.k, v=run.v, **params)
        except ValueError:
            found[run.name] = None
        else:
            found[run.name] = [sizes.compute[0], *sizes.caches]
    lib.free(model)
    return found


def main() -> None:
    kept, lib = json.loads(PATH.read_text(encoding="utf-8")), LlamaCpp()
    models = {name: {"keys": each["keys"], "mib": printed(lib, each["keys"])} for name, each in kept["models"].items()}
    lines = ",\n".join(f'  "{name}": {json.dumps(each)}' for name, each in models.items())
    about = f"llama.cpp {VERSION} (xllamacpp) on a device that answers as CUDA's back end: tests/live"
    PATH.write_text(f'{{\n "about": "{about}",\n "models": {{\n{lines}\n }}\n}}\n', encoding="utf-8")


if __name__ == "__main__":
    main()
