"""Everything a result depends on, in one value, and how it is made of what people give: names, numbers, options."""

from kvcalc.scenario.scenario import (
    DEFAULT_DTYPE,
    GpuLimit,
    Replacements,
    Scenario,
    cache_format,
    checkpoint_format,
    compute_format,
    once,
)
from kvcalc.scenario.workload import DEFAULT_CONTEXT, Workload, default_context

__all__ = [
    "DEFAULT_CONTEXT",
    "DEFAULT_DTYPE",
    "GpuLimit",
    "Replacements",
    "Scenario",
    "Workload",
    "cache_format",
    "checkpoint_format",
    "compute_format",
    "default_context",
    "once",
]
