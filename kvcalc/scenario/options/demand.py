"""What `demand` takes."""

from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import Annotated, TypedDict

from kvcalc.scenario.option import Option
from kvcalc.scenario.options.deployment import (
    AllowPp,
    EngineChoice,
    EngineSettings,
    GpuChoice,
    GpuMemory,
    NodeSize,
    Sizes,
    Utilization,
)
from kvcalc.scenario.options.drafting import Drafting
from kvcalc.scenario.options.lora import Adapters
from kvcalc.scenario.options.memory import CacheDtype, Memory, StateDtypes, WeightDtype
from kvcalc.scenario.options.model import Assumptions, ModelFields, ModelNumbers
from kvcalc.scenario.reading import count, positive, size
from kvcalc.units import MAX_BATCH, MAX_CONTEXT

of_requests = partial(Option, panel="Requests")
TIME_UNITS = ("s", "ms", "us", "ns")
MAX_SEED = 10**18


class ServedOptions(
    CacheDtype,
    WeightDtype,
    StateDtypes,
    Memory,
    Drafting,
    Adapters,
    EngineChoice,
    EngineSettings,
    GpuChoice,
    GpuMemory,
    Utilization,
    NodeSize,
    Sizes,
    AllowPp,
    Assumptions,
    ModelNumbers,
    ModelFields,
    total=False,
):
    """Of a scenario whose workload comes from a trace."""


class TraceOptions(TypedDict, total=False):
    """Of the trace, and of how its requests come and go."""

    trace: Annotated[
        str | Path | None,
        of_requests(
            "FILE",
            "Requests as CSV or JSON Lines, of Azure, BurstGPT, Mooncake, Qwen-Bailian or your own (- is stdin).",
            values=lambda: ("chat", "agents"),
        ),
    ]
    tokens_per_second: Annotated[
        float | str | Fraction | None,
        of_requests("R", "Tokens that each request decodes a second (the bound of one alone).", read=positive),
    ]
    concurrency: Annotated[
        int | str | None,
        of_requests("N", "Requests at most at the same time; the others wait (all).", read=count(MAX_BATCH)),
    ]
    rate: Annotated[
        float | str | Fraction | None,
        of_requests("R", "Requests a second, as a Poisson process instead of the trace's arrivals.", read=positive),
    ]
    seed: Annotated[int | str, of_requests("N", "Of that process.", default=0, read=count(MAX_SEED, least=0))]
    prefix_cache: Annotated[
        int | str | None,
        of_requests(
            "SIZE", "What all GPUs keep of prefixes, of a trace with hash_ids (what requests leave).", read=size
        ),
    ]
    time_unit: Annotated[
        str | None,
        of_requests(
            "|".join(TIME_UNITS), "Unit of times that are numbers (the format's, or s).", values=lambda: TIME_UNITS
        ),
    ]
    hash_block: Annotated[
        int | str | None,
        of_requests("N", "Tokens of a block that hash_ids name (the format's).", read=count(MAX_CONTEXT)),
    ]


class DemandOptions(TraceOptions, ServedOptions, total=False):
    """Of `demand`."""
