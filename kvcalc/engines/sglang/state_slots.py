"""How many slots of states a sequence needs under SGLang: copies for equal prefixes beside the one that it writes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvcalc.engines.sglang.model_types import EXTRA_BUFFER
from kvcalc.engines.sglang.served import NEVER, has_states
from kvcalc.errors import KvcalcError

if TYPE_CHECKING:
    from kvcalc.engines.setup import Setup
    from kvcalc.engines.sglang.settings import Settings

SLOTS = {"no_buffer": 3, "extra_buffer_lazy": 4, "extra_buffer": 5}
"""Of states that a sequence needs, by mamba_radix_cache_strategy; extra_buffer one less where steps do not overlap."""

ON_AMD = (0, 5, 16)
"""Cards of AMD's have extra_buffer too since then (_platform_supports_mamba_cache_extra_buffer, before 0.5.20 in
sglang/srt/server_args.py; 0.5.15 has CUDA, MUSA and NPUs)."""


def refuse_strategy(setup: Setup, settings: Settings) -> None:
    """Refuses what SGLang does not start with (sglang/srt/arg_groups/model_hook.py, and _calculate_mamba_ratio).

    Raises:
        KvcalcError: the strategy needs states, or steps that overlap.
    """
    strategy, option = settings.mamba_radix_cache_strategy, "--engine-option mamba-radix-cache-strategy"
    if strategy is None or settings.disable_radix_cache:
        return
    if strategy != "no_buffer" and not has_states(setup.model):
        raise KvcalcError(f"{option}: {strategy} goes with models that keep states; leave it out")
    if strategy == "extra_buffer_lazy" and settings.disable_overlap_schedule:
        raise KvcalcError(f"{option}: {strategy} goes with steps that overlap; leave disable-overlap-schedule out")


def slots_of_a_sequence(setup: Setup, settings: Settings) -> int:
    """Slots of states that a sequence needs (_calculate_mamba_ratio of kv_cache_configurator.py)."""
    if settings.disable_radix_cache:
        return 1
    strategy, overlap = settings.mamba_radix_cache_strategy, not settings.disable_overlap_schedule
    if strategy is None:
        of_class = EXTRA_BUFFER.get(setup.model.model_type or "", NEVER)
        since = max(of_class, ON_AMD) if setup.gpu.vendor == "AMD" else of_class
        extra = overlap and settings.version >= since
        strategy = "extra_buffer" if extra else "no_buffer"
    return SLOTS[strategy] - (strategy == "extra_buffer" and not overlap)
