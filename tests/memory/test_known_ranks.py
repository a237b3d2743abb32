"""Ranks that are kept between calls change no answer."""

from __future__ import annotations

from typing import Any

import kvcalc
from kvcalc.memory import known_ranks

ASKED: tuple[dict[str, Any], ...] = (
    {"batch": 4, "context": 4096},
    {"batch": 5, "context": 1024},
    {"batch": 4, "context": 4096, "shared_prefix": 1024},
    {"batch": 4, "context": 4096, "shared_prefix": 1024, "prefix_groups": 2},
    {"batch": 4, "mix": "75%:1024+64,25%:4096+16"},
    {"batch": 4, "context": 4096, "gpu": "a100-80gb"},
    {"batch": 4, "context": 4096, "cache_dtype": "fp8"},
    {"batch": 4, "context": 4096, "weight_dtype": "fp8"},
    {"batch": 4, "context": 4096, "weights": "9GiB"},
    {"batch": 4, "context": 4096, "temporary": "3GiB"},
    {"batch": 4, "context": 4096, "overhead": "3GiB"},
    {"batch": 4, "context": 4096, "reserve": ["mine=1GiB"]},
    {"batch": 4, "context": 4096, "utilization": 0.5},
    {"batch": 4, "context": 4096, "node_size": 4, "gpu": "h200"},
    {"batch": 4, "context": 4096, "lora": 16},
    {"batch": 4, "context": 4096, "mtp": 1},
    {"batch": 4, "context": 4096, "engine": "vllm"},
    {"batch": 9, "context": 1024, "engine": "vllm"},
    {"batch": 4, "context": 4096, "tp": 2, "pp": 2},
    {"batch": 4, "context": 4096},
)
"""Each differs from the first in something."""


def answered(asked: dict[str, Any]) -> tuple[dict[str, Any], object]:
    answer = kvcalc.estimate("mimo-7b", **asked)
    return answer.to_dict(), answer.cache.tree


def test_answers_are_the_same_whatever_was_asked_before() -> None:
    alone = []
    for asked in ASKED:
        known_ranks._known.cache_clear()  # noqa: SLF001  # as in a process of its own
        alone.append(answered(asked))
    backwards = [answered(asked) for asked in reversed(ASKED)]
    assert backwards[::-1] == alone
    assert [answered(asked) for asked in ASKED] == alone
    assert len({str(each) for each, _ in alone}) == len(ASKED) - 1


def test_ranks_of_other_workloads_are_kept() -> None:
    known_ranks._known.cache_clear()  # noqa: SLF001  # to count from nothing
    for context in range(1, 9):
        kvcalc.estimate("llama-3-8b", context=context)
    assert known_ranks._known.cache_info()[:2] == (7, 1)  # noqa: SLF001  # how often it was of use
