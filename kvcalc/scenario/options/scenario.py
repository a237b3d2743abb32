"""What a scenario takes, and the verbs that ask about one."""

from collections.abc import Sequence
from typing import Annotated, TypedDict

from kvcalc.scenario.options.deployment import (
    ENGINE,
    AllowPp,
    EngineChoice,
    EngineSettings,
    GpuChoice,
    GpuMemory,
    NodeSize,
    Sizes,
    Spill,
    Utilization,
)
from kvcalc.scenario.options.drafting import Drafting
from kvcalc.scenario.options.lora import Adapters
from kvcalc.scenario.options.memory import CACHE_DTYPE, CacheDtype, Memory, StateDtypes, WeightDtype, of_memory
from kvcalc.scenario.options.model import Assumptions, ModelFields, ModelNumbers
from kvcalc.scenario.options.tiers import Tiers
from kvcalc.scenario.options.workload import Batch, Context, MoreContext, Requests
from kvcalc.scenario.reading import size, words


class HeldOptions(Batch, Context, MoreContext, WeightDtype, StateDtypes, Memory, total=False):
    """Of what a rank holds, but for the format of its cache."""


class DeployedOptions(
    EngineSettings,
    GpuChoice,
    GpuMemory,
    Utilization,
    NodeSize,
    Sizes,
    AllowPp,
    Spill,
    Assumptions,
    ModelNumbers,
    ModelFields,
    total=False,
):
    """Of where and how, but for the engine."""


class ScenarioOptions(
    CacheDtype, Requests, HeldOptions, Drafting, Adapters, EngineChoice, DeployedOptions, Tiers, total=False
):
    """Of one scenario: `make_scenario`, `estimate`."""


class CapacityOptions(ScenarioOptions, total=False):
    """Of `capacity`."""

    cache_memory: Annotated[
        int | str | None,
        of_memory(
            "SIZE", "What one rank has for the cache; then accelerator, weights and the rest play no part.", read=size
        ),
    ]


class EnginesChoice(TypedDict, total=False):
    engine: Annotated[
        str | Sequence[str],
        ENGINE._replace(
            help="Serving engine whose memory rules apply, NAME or NAME@VERSION, or several to compare: exact,vllm.",
            read=words,
            separators=",",
        ),
    ]


class CompareOptions(Requests, HeldOptions, Drafting, Adapters, EnginesChoice, DeployedOptions, total=False):
    """Of `compare`, which takes several formats and several engines."""

    cache_dtype: Annotated[
        str | Sequence[str] | None,
        CACHE_DTYPE._replace(
            help="Format of the KV cache, or several to compare: bf16,fp8,q8_0 (the model's dtype).", read=words
        ),
    ]
