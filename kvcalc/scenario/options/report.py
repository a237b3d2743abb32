"""What `report` takes: what an estimate, a capacity, a plan and a comparison take, each option once."""

from collections.abc import Sequence
from typing import Annotated, TypedDict

from kvcalc.scenario.options.deployment import (
    AllowPp,
    EngineChoice,
    EngineSettings,
    GpuMemory,
    NodeSize,
    Sizes,
    Spill,
    Utilization,
)
from kvcalc.scenario.options.drafting import Drafting
from kvcalc.scenario.options.lora import Adapters
from kvcalc.scenario.options.memory import CacheDtype
from kvcalc.scenario.options.model import Assumptions, ModelFields, ModelNumbers
from kvcalc.scenario.options.plan import ACCELERATORS, MAX_GPUS, PlannedSpare, Sizing
from kvcalc.scenario.options.scenario import HeldOptions
from kvcalc.scenario.options.tiers import Tiers
from kvcalc.scenario.options.workload import Requests


class Accelerators(TypedDict, total=False):
    """Of a report: several are for the plan."""

    gpu: Annotated[
        str | Sequence[str],
        ACCELERATORS._replace(
            help="Accelerator; of several, as A,B, the plan chooses, and all else is of the first; repeatable."
        ),
    ]
    max_gpus: Annotated[int | str, MAX_GPUS._replace(help="The plan takes at most N GPUs.", flags=("--max-gpus",))]


class ReportOptions(
    CacheDtype,
    Requests,
    HeldOptions,
    Sizing,
    Drafting,
    Adapters,
    EngineChoice,
    EngineSettings,
    Accelerators,
    GpuMemory,
    Utilization,
    NodeSize,
    Sizes,
    PlannedSpare,
    AllowPp,
    Spill,
    Assumptions,
    ModelNumbers,
    ModelFields,
    Tiers,
    total=False,
):
    """Of `report`."""
