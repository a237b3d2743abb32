"""What a picture takes: the axes of a sweep, all else of a scenario once, and what is beside them."""

from collections.abc import Mapping
from fractions import Fraction
from pathlib import Path
from typing import Annotated, TypedDict

from kvcalc.scenario.option import Option
from kvcalc.scenario.options.deployment import (
    AllowPp,
    EngineSettings,
    GpuMemory,
    NodeSize,
    OtherSizes,
    Utilization,
    gpu_names,
    of_deployment,
)
from kvcalc.scenario.options.drafting import Drafting
from kvcalc.scenario.options.lora import Adapters
from kvcalc.scenario.options.memory import Memory, StateDtypes
from kvcalc.scenario.options.model import Assumptions, ModelFields, ModelNumbers
from kvcalc.scenario.options.sweep import SweepAxes
from kvcalc.scenario.options.workload import MoreContext, Requests
from kvcalc.scenario.prices import prices


class Pictured(TypedDict, total=False):
    """Of pictures alone."""

    mechanisms: Annotated[
        bool,
        Option(
            "", "A line for each mechanism that the model could have, as compare has rows.", panel="Axes", default=False
        ),
    ]
    prices: Annotated[
        Mapping[str, float | str | Fraction] | str | Path | None,
        of_deployment(
            "NAME=USD",
            "Of plot gpus: price of one accelerator for an hour; the picture is then of USD; repeatable.",
            flags=("--price",),
            read=prices,
            repeatable=True,
            values=gpu_names,
            separators=",",
        ),
    ]


class PlotOptions(
    SweepAxes,
    MoreContext,
    StateDtypes,
    Memory,
    Requests,
    Drafting,
    Adapters,
    EngineSettings,
    GpuMemory,
    Utilization,
    NodeSize,
    OtherSizes,
    AllowPp,
    Assumptions,
    ModelNumbers,
    ModelFields,
    Pictured,
    total=False,
):
    """Of `plot`, whose models stand before them: what changes a picture."""
