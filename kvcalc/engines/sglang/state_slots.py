"""How many slots of states a sequence needs under SGLang: copies for equal prefixes beside the one that it writes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvcalc.engines.sglang.model_types import EXTRA_BUFFER
from kvcalc.engines.sglang.served import NEVER

if TYPE_CHECKING:
    from kvcalc.engines.setup import Setup
    from kvcalc.engines.sglang.settings import Settings

SLOTS = {"no_buffer": 3, "extra_buffer_lazy": 4, "extra_buffer": 5}
"""Of states that a sequence needs, by mamba_radix_cache_strategy; extra_buffer one less where steps do not overlap."""


def slots_of_a_sequence(setup: Setup, settings: Settings) -> int:
    """Slots of states that a sequence needs (_calculate_mamba_ratio of kv_cache_configurator.py)."""
    if settings.disable_radix_cache:
        return 1
    strategy, overlap = settings.mamba_radix_cache_strategy, not settings.disable_overlap_schedule
    if strategy is None:
        of_class = EXTRA_BUFFER.get(setup.model.model_type or "", NEVER)
        extra = overlap and settings.version >= of_class and setup.gpu.vendor != "AMD"
        strategy = "extra_buffer" if extra else "no_buffer"
    return SLOTS[strategy] - (strategy == "extra_buffer" and not overlap)
