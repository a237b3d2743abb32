"""The memory of a rank as LMDeploy shares it out: the cache has a share of what the weights leave free.

What the process itself takes is not known of LMDeploy: it is counted as other engines were seen to take. Activations
have what is left free.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvcalc.engines.budget import Budget, Temporary
from kvcalc.engines.lmdeploy.rules import EXECUTOR, SLABS, TURBOMIND
from kvcalc.engines.lmdeploy.slabs import slabs_bytes
from kvcalc.term import Factor, Product, Sum
from kvcalc.units import GIB

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kvcalc.engines.lmdeploy.options import Settings
    from kvcalc.engines.setup import Setup

CONTEXT = 74 * GIB // 100
CONTEXT_SEEN = "SGLang's logs of 2026, 0.50 to 0.90 GiB before weights are loaded; none of LMDeploy is known"
COMMUNICATION = 20 * GIB // 100
COMMUNICATION_SEEN = "SGLang's logs with four ranks, 0.20 to 0.28 GiB; none of LMDeploy is known"
FEWEST_BLOCKS = 16
"""With fewer the pytorch backend halves what one pass reads of prompts."""
TOO_FEW_BLOCKS = 2
"""With no more it does not start, whatever it could halve (_get_num_gpu_blocks)."""
BYTES_OF_LOGIT = 2
NOTHING = Temporary(Sum("temporary", ()), 0, 0)


def budget_of(setup: Setup, settings: Settings, block: int, weights_bytes: int) -> Budget:
    """What a rank has beside weights of so many bytes, where a block of all layers has `block`."""
    memory, others = setup.gpu.memory_bytes, Sum("overhead", tuple(_rows(setup)))
    if memory is None:
        return Budget(None, NOTHING, others)
    free = max(0, memory - weights_bytes - others.bytes)
    if settings.turbomind:
        cache, where = (
            slabs_bytes(settings.of(free), block),
            f"{TURBOMIND}, {SLABS}: for activations, and ends of slabs",
        )
    else:
        cache, where = _by_pytorch(setup, settings, block, free), f"{EXECUTOR}, _get_runtime_size: for activations"
    return Budget(memory, NOTHING, others, Product("left free", (Factor("left_free", free - cache, "byte"),), where))


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


def _rows(setup: Setup) -> Iterator[Product]:
    yield Product("context, libraries", (Factor("seen_in_practice", CONTEXT, "byte"),), CONTEXT_SEEN)
    if setup.deployment.connected_ranks > 1:
        yield Product("communication", (Factor("seen_in_practice", COMMUNICATION, "byte"),), COMMUNICATION_SEEN)
