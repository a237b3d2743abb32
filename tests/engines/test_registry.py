"""Engines are found by name, and imported when they are asked for."""

from __future__ import annotations

import subprocess
import sys

import pytest

import kvcalc
from kvcalc.deployment import Deployment
from kvcalc.engines import ENGINES, version_number
from kvcalc.errors import KvcalcError
from kvcalc.memory import Ranks

PROGRAM = """
import sys
from kvcalc.cli.app import run
run(["estimate", "llama-3-8b", "--engine", "exact", "--json", "-o", "/dev/null"])
print(sorted(name for name in sys.modules if name.startswith(("kvcalc.engines.vllm", "kvcalc.engines.llama_cpp"))))
"""


def test_an_engine_has_the_name_that_it_is_found_by() -> None:
    assert [engine.name for engine in ENGINES.values()] == list(ENGINES)


def test_other_engines_are_not_imported() -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n", done.stderr


@pytest.mark.parametrize(
    ("version", "number"),
    [
        ("0.19", (0, 19, 0, 0)),
        ("v0.10.1.1", (0, 10, 1, 1)),
        ("0.6.3.post1", (0, 6, 3, 1)),
        ("0.20.1rc1", (0, 20, 1, -1)),
    ],
)
def test_versions_are_compared_as_numbers(version: str, number: tuple[int, ...]) -> None:
    assert version_number(version) == number


@pytest.mark.parametrize(
    ("engine", "served", "refused"),
    [
        ("mlx", ["m4-max", "h100"], ["mi300x", "arc-b580", "tpu-v5e", "gaudi3", "trn2"]),
        ("llama-cpp", ["m4-max", "h100", "mi300x", "arc-b580"], ["tpu-v5e", "gaudi1", "gaudi3", "trn2", "inf2"]),
        ("tensorrt-llm", ["h100"], ["m4-max", "mi300x"]),
        ("lmdeploy", ["h100"], ["m4-max", "mi300x"]),
        ("sglang", ["h100", "mi300x"], ["m4-max", "tpu-v5e"]),
    ],
)
def test_an_engine_is_counted_on_accelerators_that_it_runs_on(
    engine: str, served: list[str], refused: list[str]
) -> None:
    for gpu in served:
        assert kvcalc.estimate("llama-3.2-1b", engine=engine, gpu=gpu, context=1024).cache.bytes
    for gpu in refused:
        with pytest.raises(KvcalcError, match=f"--gpu: {gpu}"):
            kvcalc.estimate("llama-3.2-1b", engine=engine, gpu=gpu, context=1024)


@pytest.mark.parametrize("name", sorted(ENGINES))
def test_an_engine_refuses_the_sizes_that_it_never_spreads_by_and_serves_the_others(name: str) -> None:
    """A search tries no size that `spreads_by` leaves out."""
    asked = kvcalc.make_scenario("qwen3-30b-a3b", engine=name, gpu="h100")
    sizes = {
        "tp": Deployment(2),
        "pp": Deployment(1, 2),
        "dcp": Deployment(8, dcp=2),
        "ep": Deployment(2, ep=2),
        "dp_attention": Deployment(1, 1, 2, 2, dp_attention=True),
    }
    ranks, engine = Ranks(asked), asked.engine
    for size, deployment in sizes.items():
        refused = ranks.why_not_served(deployment)
        assert (refused is None) == (size in engine.spreads_by), (size, refused)
        assert refused is None or refused.startswith(f"{engine.size_refused(deployment)}: ")
