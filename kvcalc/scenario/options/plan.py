"""What `plan` takes."""

from collections.abc import Iterable, Mapping, Sequence
from fractions import Fraction
from pathlib import Path
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
    of_deployment_switch,
    ranks,
)
from kvcalc.scenario.options.drafting import Drafting
from kvcalc.scenario.options.lora import Adapters
from kvcalc.scenario.options.memory import CacheDtype, Memory, StateDtypes, WeightDtype
from kvcalc.scenario.options.model import Assumptions, ModelFields, ModelNumbers
from kvcalc.scenario.options.tiers import HANDOFF
from kvcalc.scenario.options.workload import BATCH, Context, MoreContext, Requests, of_workload
from kvcalc.scenario.prices import prices
from kvcalc.scenario.reading import accelerators, count, counts, positive
from kvcalc.units import MAX_CONTEXT

ALL_GPUS = "all"
DEFAULT_MAX_GPUS = 1024
"""GPUs that a plan may use."""
MAX_LIMIT = 1000
"""Deployments in an answer."""


_sizes = counts(MAX_RANKS)


def _gpu_names_and_all() -> Iterable[str]:
    return (*gpu_names(), ALL_GPUS)


ACCELERATORS = ACCELERATOR._replace(
    help="Accelerators to choose from, as A,B, or all; repeatable.",
    repeatable=True,
    values=_gpu_names_and_all,
    separators=",",
    read=accelerators,
)
MAX_GPUS = of_deployment("N", "At most N GPUs.", flags=("--max-gpus", "--gpus"), default=DEFAULT_MAX_GPUS, read=ranks)


class PlannedPools(TypedDict, total=False):
    """Pools that read prompts, and others that decode."""

    handoff: Annotated[
        int | str | None,
        HANDOFF._replace(
            help="With --rps: pools that read prompts, each GPU of which sends so much a second, and that decode.",
            panel=BATCH.panel,
        ),
    ]


class PlannedOptions(
    Context,
    Requests,
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
    PlannedPools,
    total=False,
):
    """Of a scenario whose workload is sized, and whose deployment is looked for."""


class Planned(TypedDict, total=False):
    """How many sequences are to be held."""

    batch: Annotated[int | str | None, BATCH._replace(help=f"{BATCH.help[:-1]} (1).", default=None)]


class Sizing(TypedDict, total=False):
    """The same said in other ways."""

    tokens: Annotated[
        int | str | None,
        of_workload("N", "Tokens held at the same time, in sequences of the context.", read=count(MAX_CONTEXT)),
    ]
    rps: Annotated[
        float | str | Fraction | None,
        of_workload("R", "Requests a second: the batch is R x S (Little's law).", read=positive),
    ]
    latency: Annotated[
        float | str | Fraction | None,
        of_workload("S", "Seconds that a request takes (at least, by bounds of its tokens).", read=positive),
    ]


class PlannedOn(TypedDict, total=False):
    """Where it is looked for."""

    gpu: Annotated[Gpu | str | Sequence[Gpu | str], ACCELERATORS]
    max_gpus: Annotated[int | str, MAX_GPUS]


class PlannedSpare(TypedDict, total=False):
    """What is taken beyond what the workload needs, and what it costs."""

    spare: Annotated[
        int | str,
        of_deployment(
            "N", "Replicas to add to those that hold the workload.", default=0, read=count(MAX_RANKS, least=0)
        ),
    ]
    whole_nodes: Annotated[bool, of_deployment_switch("Take whole nodes, and count all GPUs of them.")]
    prices: Annotated[
        Mapping[str, float | str | Fraction] | str | Path | None,
        of_deployment(
            "NAME=USD",
            "Price of one accelerator for an hour, as A=2.5,B=4 or a YAML or CSV file: the cheapest come first; "
            "repeatable.",
            flags=("--price",),
            read=prices,
            repeatable=True,
            values=gpu_names,
            separators=",",
        ),
    ]


class PlannedSizes(TypedDict, total=False):
    """Which deployments are looked at, and how many are shown."""

    tp: Annotated[
        int | str | Sequence[int] | None, TP._replace(help="These tensor-parallel sizes only, as 4,8.", read=_sizes)
    ]
    pp: Annotated[
        int | str | Sequence[int] | None,
        PP._replace(help="These numbers of pipeline stages only, as 1,2.", read=_sizes),
    ]
    limit: Annotated[
        int | str | None,
        Option("N", "Deployments to show (10, and the best of each accelerator named).", read=count(MAX_LIMIT)),
    ]


class PlanOnly(Planned, Sizing, PlannedOn, PlannedSpare, PlannedSizes, total=False):
    """What `plan` looks for, and where."""


class PlanOptions(PlanOnly, PlannedOptions, GpuMemory, NodeSize, total=False):
    """Of `plan`."""
