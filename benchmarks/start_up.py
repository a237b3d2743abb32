"""How long kvcalc takes from start to answer, as a ratio to importing its libraries in the same environment.

    python benchmarks/start_up.py [RUNS]

Each command and its baseline run in turn, in fresh processes; the least CPU time of each counts, so that what else the
machine does matters little. Byte code is compiled first, as an installer does, so that a checkout without it does not
measure the compiler.
"""

from __future__ import annotations

import compileall
import json
import resource
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

import kvcalc
from kvcalc.catalogue.shipped import MODELS

PYTHON = sys.executable
KVCALC = str(Path(PYTHON).with_name("kvcalc"))
LIBRARIES = (PYTHON, "-c", "import typer, pydantic, yaml")
NOTHING = (PYTHON, "-c", "pass")

CONFIG = {
    "architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": 8192, "intermediate_size": 28672,
    "num_attention_heads": 64, "num_hidden_layers": 80, "num_key_value_heads": 8, "vocab_size": 128256,
    "max_position_embeddings": 8192, "torch_dtype": "bfloat16", "tie_word_embeddings": False,
}  # fmt: skip


class Comparison(NamedTuple):
    """A command, what it is compared with, and how many times as long it may take."""

    command: tuple[str, ...]
    limit: float
    baseline: tuple[str, ...] = LIBRARIES


def comparisons(folder: Path) -> tuple[Comparison, ...]:
    """What is measured; a config.json and a YAML file of one's own lie in the folder."""
    (folder / "config.json").write_text(json.dumps(CONFIG), encoding="utf-8")
    (folder / "own.yaml").write_text((MODELS / "llama-3-70b.yaml").read_text(encoding="utf-8"), encoding="utf-8")
    return (
        Comparison(("estimate", "llama-3-70b", "--json"), 1.15),
        Comparison(("estimate", "llama-3-70b"), 1.5),
        Comparison(("estimate", str(folder / "config.json"), "--json"), 1.4),
        Comparison(("estimate", str(folder / "own.yaml"), "--json"), 1.8),
        Comparison(("models", "list"), 1.5),
        Comparison(("--version",), 2.5, NOTHING),
    )


def seconds(command: tuple[str, ...]) -> float:
    """CPU time of one run in a fresh process."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main() -> int:
    """Compare, print, and exit 1 where a limit is passed."""
    runs = int(sys.argv[1]) if len(sys.argv) > 1 else 15
    compileall.compile_dir(str(Path(kvcalc.__file__).parent), quiet=2)
    passed = True
    with tempfile.TemporaryDirectory() as folder:
        for comparison in comparisons(Path(folder)):
            command = (KVCALC, *comparison.command)
            seconds(command), seconds(comparison.baseline)  # once to warm the disk's cache
            pairs = [(seconds(command), seconds(comparison.baseline)) for _ in range(runs)]
            ours, theirs = (min(column) for column in zip(*pairs, strict=True))
            passed &= ours / theirs <= comparison.limit
            words = " ".join(Path(word).name for word in comparison.command)
            print(
                f"{words} / {comparison.baseline[-1]}: {ours * 1000:.0f} ms / {theirs * 1000:.0f} ms "
                f"= {ours / theirs:.2f} (limit {comparison.limit}, least of {runs})"
            )
    return 0 if passed else 1


if __name__ == "__main__":
    sys.exit(main())
