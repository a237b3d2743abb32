"""What the rules of each engine are compared with, and how many cases of it the tests keep."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).parents[2]
LIVE, RUN, LOGS = "the engine's own code, run", "what its code computed, kept", "public logs"


class Evidence(NamedTuple):
    """One kind of it.

    Attributes:
        what: in words, with the versions that were run.
        place: its file, or files.
        cases: how many a file has.
    """

    what: str
    place: str
    cases: Callable[[Any], int] = len

    def number(self) -> int:
        """How many cases are kept."""
        return sum(self.cases(_read(path)) for path in sorted(ROOT.glob(self.place)))


def _read(path: Path) -> Any:
    text = path.read_text(encoding="utf-8")
    return json.loads(text) if path.suffix == ".json" else text


def _under(key: str) -> Callable[[Any], int]:
    return lambda found: len(found[key])


def _rows(text: str) -> int:
    return len(text.splitlines()) - 1


def _defaults(found: Any) -> int:
    return sum(len(each["versions"]) * len(each["says"]) for each in found["records"])


def _caches(found: Any) -> int:
    return sum(size is not None for models in found.values() for kinds in models.values() for size in kinds.values())


def _steps(found: Any) -> int:
    return sum(
        len([size for size in each.values() if size is not None]) for each in found.values() if each != found["mlx_lm"]
    )


_VLLM, _SGLANG, _LLAMA_CPP = "tests/data/vllm", "tests/data/sglang", "tests/data/llama_cpp"

EVIDENCE: Mapping[str, tuple[Evidence, ...]] = {
    "exact": (
        Evidence("shapes of published models", "tests/data/model_facts.csv", _rows),
        Evidence(
            "figures that papers and vendors print",
            "tests/data/published_figures.yaml",
            lambda text: text.count("\n- "),
        ),
    ),
    "vllm": (
        Evidence("plans of its own planner, 0.19 to 0.33", f"{_VLLM}/planner-[0-9]*.json", _under("records")),
        Evidence("weights of its own classes, 0.33", f"{_VLLM}/weights-0.33.json", _under("records")),
        Evidence("public start-up logs", f"{_VLLM}/logs.json", _under("logs")),
    ),
    "sglang": (
        Evidence("plans of its own planner, 0.5.23", f"{_SGLANG}/plans.json", _under("records")),
        Evidence("defaults of its server, by version and card", f"{_SGLANG}/defaults.json", _defaults),
        Evidence("public start-up logs", f"{_SGLANG}/logs.json", _under("logs")),
        Evidence("pools that servers printed, given their memory", f"{_SGLANG}/printed-pools.json"),
    ),
    "llama-cpp": (
        Evidence(
            "shapes that its own library planned, each with several contexts",
            f"{_LLAMA_CPP}/sizes.json",
            _under("sizes"),
        ),
        Evidence("shapes of published models that it planned", f"{_LLAMA_CPP}/classes.json", _under("models")),
        Evidence("public start-up logs", f"{_LLAMA_CPP}/logs.json", _under("logs")),
    ),
    "transformers": (
        Evidence("caches that small models filled, 4.57 to 5.24", "tests/data/transformers/caches.json", _caches),
    ),
    "mlx": (Evidence("caches that mlx_lm filled, 0.32.2", "tests/data/mlx/caches.json", _steps),),
    "tensorrt-llm": (
        Evidence("public start-up logs", "tests/tensorrt_llm_start_ups.py", lambda text: text.count("stored file ")),
    ),
    "lmdeploy": (),
}
"""By engine; none of one whose rules were only read."""
