"""The memory of a rank as TensorRT-LLM shares it out: the cache has a share of what a profiling run leaves free.

tensorrt_llm/_torch/pyexecutor/_util.py, `_cal_max_memory`. What that run and the process take is hardly known
of TensorRT-LLM itself: it is counted as other engines were seen to take.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvcalc.engines.budget import Budget, Temporary
from kvcalc.engines.tensorrt_llm.rules import UTIL
from kvcalc.term import Factor, Product, Sum
from kvcalc.units import GIB

if TYPE_CHECKING:
    from collections.abc import Iterator
    from fractions import Fraction

    from kvcalc.engines.setup import Setup

LOW, TYPICAL, HIGH = 22 * GIB // 100, 150 * GIB // 100, 738 * GIB // 100
SEEN = "vLLM's start-up logs of text models, 0.22 to 7.38 GiB; the one known of TensorRT-LLM has 0.85 (1.1)"
CONTEXT = 74 * GIB // 100
CONTEXT_SEEN = "SGLang's logs of 2026, 0.50 to 0.90 GiB before weights are loaded; none of TensorRT-LLM tells it"
COMMUNICATION = 20 * GIB // 100
COMMUNICATION_SEEN = "SGLang's logs with four ranks, 0.20 to 0.28 GiB; none of TensorRT-LLM with several is known"


def budget_of(setup: Setup, share: Fraction, weights_bytes: int) -> Budget:
    """What a rank has beside weights of so many bytes."""
    memory = setup.gpu.memory_bytes
    peak = Product("temporary", (Factor("seen_in_practice", TYPICAL, "byte"),), SEEN)
    temporary, rows = Temporary(peak, LOW, HIGH), tuple(_rows(setup))
    others = Sum("overhead", rows)
    if memory is None:
        return Budget(None, temporary, others)
    free = max(0, memory - weights_bytes - TYPICAL - others.bytes)
    left = free - free * share.numerator // share.denominator
    kept = Product(
        "left free",
        (Factor("left_free", left, "byte"),),
        f"{UTIL}, _cal_max_memory: (1 - free_gpu_memory_fraction) x what is free after the peak",
    )
    return Budget(memory, temporary, others, kept)


def _rows(setup: Setup) -> Iterator[Product]:
    yield Product("context, libraries", (Factor("seen_in_practice", CONTEXT, "byte"),), CONTEXT_SEEN)
    if setup.deployment.connected_ranks > 1:
        yield Product("communication", (Factor("seen_in_practice", COMMUNICATION, "byte"),), COMMUNICATION_SEEN)
