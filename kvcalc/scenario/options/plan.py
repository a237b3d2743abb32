"""What `plan` takes."""

from collections.abc import Iterable, Mapping, Sequence
from fractions import Fraction
from typing import Annotated, TypedDict

from kvcalc.deployment import MAX_RANKS
from kvcalc.gpu import Gpu
from kvcalc.scenario.option import Option
from kvcalc.scenario.options.deployment import (
    ACCELERATOR,
    PP,
    TP,
    AllowPp,
    EngineChoice,
    EngineSettings,
    GpuMemory,
    NodeSize,
    Utilization,
    gpu_names,
    of_deployment,
    ranks,
)
from kvcalc.scenario.options.drafting import Drafting
from kvcalc.scenario.options.lora import Adapters
from kvcalc.scenario.options.memory import CacheDtype, Memory, StateDtypes, WeightDtype
from kvcalc.scenario.options.model import Assumptions, ModelFields, ModelNumbers
from kvcalc.scenario.options.workload import BATCH, Context, MoreContext, of_workload
from kvcalc.scenario.reading import accelerators, count, pairs, positive
from kvcalc.units import MAX_CONTEXT

ALL_GPUS = "all"
DEFAULT_MAX_GPUS = 1024
"""GPUs that a plan may use."""
MAX_LIMIT = 1000
"""Deployments in an answer."""


def _gpu_names_and_all() -> Iterable[str]:
    return (*gpu_names(), ALL_GPUS)


class PlannedOptions(
    Context,
    MoreContext,
    CacheDtype,
    WeightDtype,
    StateDtypes,
    Memory,
    Drafting,
    Adapters,
    EngineChoice,
    EngineSettings,
    Utilization,
    AllowPp,
    Assumptions,
    ModelNumbers,
    ModelFields,
    total=False,
):
    """Of a scenario whose workload is sized, and whose deployment is looked for."""


class PlanOnly(TypedDict, total=False):
    """What `plan` looks for, and where."""

    batch: Annotated[int | str | None, BATCH._replace(help=f"{BATCH.help[:-1]} (1).", default=None)]
    tokens: Annotated[
        int | str | None,
        of_workload("N", "Tokens held at the same time, in sequences of the context.", read=count(MAX_CONTEXT)),
    ]
    rps: Annotated[
        float | str | Fraction | None,
        of_workload("R", "Requests a second: the batch is R x S (Little's law).", read=positive),
    ]
    latency: Annotated[float | str | Fraction | None, of_workload("S", "Seconds that a request takes.", read=positive)]
    gpu: Annotated[
        Gpu | str | Sequence[Gpu | str],
        ACCELERATOR._replace(
            help="Accelerators to choose from, as A,B, or all; repeatable.",
            repeatable=True,
            values=_gpu_names_and_all,
            separators=",",
            read=accelerators,
        ),
    ]
    max_gpus: Annotated[
        int | str,
        of_deployment("N", "At most N GPUs.", flags=("--max-gpus", "--gpus"), default=DEFAULT_MAX_GPUS, read=ranks),
    ]
    spare: Annotated[
        int | str,
        of_deployment(
            "N", "Replicas to add to those that hold the workload.", default=0, read=count(MAX_RANKS, least=0)
        ),
    ]
    prices: Annotated[
        Mapping[str, float | str | Fraction] | None,
        of_deployment(
            "NAME=USD",
            "Price of one accelerator for an hour: the cheapest come first; repeatable.",
            flags=("--price",),
            read=pairs("NAME=USD_PER_HOUR (for example h100=2.99)"),
            repeatable=True,
            values=gpu_names,
        ),
    ]
    tp: Annotated[int | str | None, TP._replace(help="This tensor-parallel size only.")]
    pp: Annotated[int | str | None, PP._replace(help="This number of pipeline stages only.")]
    limit: Annotated[int | str, Option("N", "Deployments to show.", default=10, read=count(MAX_LIMIT))]


class PlanOptions(PlanOnly, PlannedOptions, GpuMemory, NodeSize, total=False):
    """Of `plan`."""
