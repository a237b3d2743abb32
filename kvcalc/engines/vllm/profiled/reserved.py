"""What PyTorch keeps of its segments once a profiling run is over, which vLLM takes for consumed from 0.27 to 0.30.

From 0.27 on memory is consumed that the device has lost (total_consumed of vllm/utils/mem_utils.py). A small tensor in
a large block that is free again keeps all of its segment. From 0.31 on blocks of more than 20 MiB are not split while
memory is profiled (determine_available_memory of vllm/v1/worker/gpu_worker.py), and nothing is kept.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from kvcalc.engines.vllm.profiled.compiling import compiling
from kvcalc.engines.vllm.shapes import shapes_of
from kvcalc.term import Factor, Product
from kvcalc.units import GIB

if TYPE_CHECKING:
    from kvcalc.engines.setup import Setup
    from kvcalc.engines.vllm.settings import Settings
    from kvcalc.engines.vllm.traits import Traits

ALL_THAT_IS_CONSUMED, NOTHING_IS_SPLIT = (0, 27), (0, 31)
"""Not in 0.26; in 0.31, and not in 0.30."""

TYPICAL, TYPICAL_EAGER, MOST = GIB // 10, GIB // 20, 23 * GIB // 10
SOURCE = (
    "left in logs of six machines: 0, 0, 0.1, 0.14 and 0.28, and 2.1 and 2.3 with a tower; 0.02 to 0.08 of three with "
    "enforce-eager; where one without a tower is compiled, 0.28 (a vocabulary of 0.25), 1.4 and "
    "1.3 (of 1.45): the embedding that compiling makes [two machines]"
)


class Reserved(NamedTuple):
    """What is kept, and the most that was seen."""

    row: Product
    high: int


def reserved_of(setup: Setup, settings: Settings, traits: Traits, *, first: bool) -> Reserved | None:
    """What one GPU of NVIDIA's keeps, where it counts; tensor-parallel ranks were seen to keep nothing to speak of."""
    if not ALL_THAT_IS_CONSUMED <= settings.version < NOTHING_IS_SPLIT:
        return None
    if setup.gpu.vendor != "NVIDIA" or setup.deployment.tp > 1:
        return None
    shapes = shapes_of(setup.model, 1, 1)
    tokens = settings.max_num_batched_tokens
    timed = () if shapes is None else compiling(shapes, tokens, setup, settings, traits, first=first)
    typical = TYPICAL_EAGER if settings.enforce_eager else TYPICAL
    factors = timed[0].factors if timed else (Factor("seen_in_practice", typical, "byte"),)
    row = Product("reserved by PyTorch", factors, SOURCE)
    return Reserved(row, max(row.bytes, MOST))
