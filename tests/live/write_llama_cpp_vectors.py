"""Writes tests/data/llama_cpp/sizes.json: what llama.cpp prints of every shape in every run."""

from __future__ import annotations

import json
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT / "tests"), str(ROOT)]

from llama_cpp_shapes import RUNS, SHAPES, Run, Shape  # noqa: E402  # found there
from llama_cpp_sizes import VERSION, LlamaCpp, Sizes  # noqa: E402  # likewise

FLASH = {"auto": -1, "off": 0, "on": 1}


def sizes_of(lib: LlamaCpp, model: int, run: Run) -> Sizes:
    """What a run takes."""
    return lib.sizes(
        model,
        run.context * run.slots,
        k=run.k,
        v=run.v,
        flash=FLASH[run.flash],
        n_seq_max=run.slots,
        n_ubatch=run.ubatch,
        kv_unified=run.unified,
        swa_full=run.swa_full,
    )


def made(lib: LlamaCpp, shape: Shape) -> int:
    """The model of a shape."""
    return lib.model(shape.arch, shape.vocab, shape.metadata)


def main() -> None:
    lib = LlamaCpp()
    found: dict[str, dict[str, object]] = {}
    for name, shape in SHAPES.items():
        model = made(lib, shape)
        of_runs: dict[str, object] = {}
        found[name] = of_runs
        for run in RUNS:
            if run.k != "f16" and not shape.metadata["attention.head_count"]:
                continue  # it keeps no K
            if run.k != run.v and "attention.kv_lora_rank" in shape.metadata:
                continue  # "model does not support different K and V cache types"
            sizes = sizes_of(lib, model, run)
            of_runs[run.name] = {"compute_mib": sizes.compute[0], "caches_mib": list(sizes.caches)}
        lib.free(model)
    about = f"llama.cpp {VERSION} (xllamacpp) on a device that answers as CUDA's back end: tests/live"
    path = ROOT / "tests" / "data" / "llama_cpp" / "sizes.json"
    text = json.dumps({"about": about, "sizes": found}, indent=1)
    path.write_text(f"{text}\n", encoding="utf-8")


if __name__ == "__main__":
    main()
