"""The memory of a rank as LMDeploy shares it out: the cache has a share of what the weights leave free.

What the process itself takes is not known of LMDeploy: it is counted as other engines were seen to take. Activations
have what is left free.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvcalc.engines.budget import Budget, Seen, Temporary, seen_overhead
from kvcalc.engines.lmdeploy.rules import EXECUTOR, SLABS, TURBOMIND
from kvcalc.engines.lmdeploy.slabs import slabs_bytes
from kvcalc.term import Factor, Product, Sum

if TYPE_CHECKING:
    from kvcalc.engines.lmdeploy.options import Settings
    from kvcalc.engines.setup import Setup

CONTEXT = Seen(
    50, 74, 90, "SGLang's logs of 2026, 0.50 to 0.90 GiB before weights are loaded; none of LMDeploy is known"
)
COMMUNICATION = Seen(20, 20, 28, "SGLang's logs with four ranks, 0.20 to 0.28 GiB; none of LMDeploy is known")
FEWEST_BLOCKS = 16
"""With fewer the pytorch backend halves what one pass reads of prompts."""
TOO_FEW_BLOCKS = 2
"""With no more it does not start, whatever it could halve (_get_num_gpu_blocks)."""
BYTES_OF_LOGIT = 2
NOTHING = Temporary(Sum("temporary", ()), 0, 0)


def budget_of(setup: Setup, settings: Settings, block: int, weights_bytes: int) -> Budget:
    """What a rank has beside weights of so many bytes, where a block of all layers has `block`."""
    memory, (others, *ends) = setup.gpu.memory_bytes, _overhead(setup)
    if memory is None:
        return Budget(None, NOTHING, others)
    if settings.turbomind:
        where = f"{TURBOMIND}, {SLABS}: for activations, and ends of slabs"
    else:
        where = f"{EXECUTOR}, _get_runtime_size: for activations"

    def left_beside(overhead: int) -> int:
        free = max(0, memory - weights_bytes - overhead)
        return free - (
            slabs_bytes(settings.of(free), block) if settings.turbomind else _by_pytorch(setup, settings, block, free)
        )

    left = Product("left free", (Factor("left_free", left_beside(others.bytes), "byte"),), where)
    least, most = (end + left_beside(end) for end in ends)
    return Budget(memory, NOTHING, others, left, overhead_seen=(least, most))


def _by_pytorch(setup: Setup, settings: Settings, block: int, free: int) -> int:
    """Bytes of the cache, none where it does not start; a pass reads less of prompts while few blocks are left."""
    prefill = settings.prefill
    while prefill:
        logits = (prefill + 2 * settings.batches) * (setup.model.vocab_size or 0) * BYTES_OF_LOGIT
        cache = settings.of(max(0, free - logits))
        if not block or cache // block >= FEWEST_BLOCKS:
            return cache
        if cache // block <= TOO_FEW_BLOCKS:
            return 0
        prefill //= 2
    return 0


def _overhead(setup: Setup) -> tuple[Sum, int, int]:
    seen = {"context, libraries": CONTEXT}
    if setup.deployment.connected_ranks > 1:
        seen["communication"] = COMMUNICATION
    return seen_overhead(seen)
