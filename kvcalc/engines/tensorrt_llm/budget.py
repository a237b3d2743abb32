"""The memory of a rank as TensorRT-LLM shares it out: the cache has a share of what a profiling run leaves free.

tensorrt_llm/_torch/pyexecutor/_util.py, `_cal_max_memory`. What that run and the process take is hardly known
of TensorRT-LLM itself: it is counted as other engines were seen to take.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvcalc.engines.budget import Budget, Seen, Temporary, seen_overhead
from kvcalc.engines.tensorrt_llm.rules import UTIL
from kvcalc.term import Factor, Product, Sum
from kvcalc.units import GIB

if TYPE_CHECKING:
    from fractions import Fraction

    from kvcalc.engines.setup import Setup

LOW, TYPICAL, HIGH = 22 * GIB // 100, 150 * GIB // 100, 738 * GIB // 100
SEEN = "vLLM's start-up logs of text models, 0.22 to 7.38 GiB; the one known of TensorRT-LLM has 0.85 (1.1)"
CONTEXT = Seen(
    50, 74, 90, "SGLang's logs of 2026, 0.50 to 0.90 GiB before weights are loaded; none of TensorRT-LLM tells it"
)
COMMUNICATION = Seen(
    20, 20, 28, "SGLang's logs with four ranks, 0.20 to 0.28 GiB; none of TensorRT-LLM with several is known"
)


def budget_of(setup: Setup, share: Fraction, weights_bytes: int) -> Budget:
    """What a rank has beside weights of so many bytes."""
    memory = setup.gpu.memory_bytes
    peak = Product("temporary", (Factor("seen_in_practice", TYPICAL, "byte"),), SEEN)
    temporary, (others, *ends) = Temporary(peak, LOW, HIGH), _overhead(setup)
    if memory is None:
        return Budget(None, temporary, others)

    def left_beside(overhead: int) -> int:
        free = max(0, memory - weights_bytes - TYPICAL - overhead)
        return free - free * share.numerator // share.denominator

    kept = Product(
        "left free",
        (Factor("left_free", left_beside(others.bytes), "byte"),),
        f"{UTIL}, _cal_max_memory: (1 - free_gpu_memory_fraction) x what is free after the peak",
    )
    least, most = (end + left_beside(end) for end in ends)
    return Budget(memory, temporary, others, kept, overhead_seen=(least, most))


def _overhead(setup: Setup) -> tuple[Sum, int, int]:
    seen = {"context, libraries": CONTEXT}
    if setup.deployment.connected_ranks > 1:
        seen["communication"] = COMMUNICATION
    return seen_overhead(seen)
