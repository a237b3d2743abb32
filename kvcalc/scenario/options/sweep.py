"""What a sweep takes: the options of a scenario, of which some may have several values, and how many rows are made."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, TypedDict

from kvcalc.gpu import Gpu
from kvcalc.model.model import Model
from kvcalc.scenario.option import Option, options_of
from kvcalc.scenario.options.deployment import (
    ACCELERATOR,
    ENGINE,
    PP,
    TP,
    AllowPp,
    EngineSettings,
    GpuMemory,
    NodeSize,
    OtherSizes,
    Spill,
    Utilization,
)
from kvcalc.scenario.options.drafting import Drafting
from kvcalc.scenario.options.lora import Adapters
from kvcalc.scenario.options.memory import CACHE_DTYPE, Memory, StateDtypes
from kvcalc.scenario.options.model import MODEL, Assumptions, ModelFields, ModelNumbers
from kvcalc.scenario.options.scenario import ScenarioOptions
from kvcalc.scenario.options.tiers import Tiers
from kvcalc.scenario.options.workload import MoreContext, Requests
from kvcalc.scenario.reading import as_given

_PANEL = "Axes"

Counts = int | str | Sequence[int | str] | None
Names = str | Sequence[str | None] | None


def _axis(option: Option, help_: str | None = None) -> Option:
    """An option as an axis: read value by value, by what reads axes."""
    return option._replace(
        panel=_PANEL, help=help_ or option.help, read=as_given, separators=option.separators or ",", default=None
    )


_OF_SCENARIO = options_of(ScenarioOptions)


class SweepAxes(TypedDict, total=False):
    """What may have several values."""

    model: Annotated[
        Model | str | Path | Sequence[Model | str | Path] | None,
        _axis(MODEL, "Models, each as MODEL of kvcalc estimate.")._replace(metavar="MODEL", flags=("-m", "--model")),
    ]
    batch: Annotated[Counts, _axis(_OF_SCENARIO["batch"])]
    context: Annotated[Counts, _axis(_OF_SCENARIO["context"])]
    cache_dtype: Annotated[Names, _axis(CACHE_DTYPE)]
    weight_dtype: Annotated[Names, _axis(_OF_SCENARIO["weight_dtype"])]
    gpu: Annotated[Gpu | str | Sequence[Gpu | str] | None, _axis(ACCELERATOR)]
    tp: Annotated[Counts, _axis(TP)]
    pp: Annotated[Counts, _axis(PP)]
    engine: Annotated[Names, _axis(ENGINE)]


class SweepFixed(
    MoreContext,
    StateDtypes,
    Memory,
    Requests,
    Drafting,
    Adapters,
    Tiers,
    EngineSettings,
    GpuMemory,
    Utilization,
    NodeSize,
    OtherSizes,
    AllowPp,
    Spill,
    Assumptions,
    ModelNumbers,
    ModelFields,
    total=False,
):
    """What is the same in all scenarios."""


def _of_rows(metavar: str, sentence: str, **more: Any) -> Option:
    return Option(metavar, sentence, panel="Rows", **more)


class SweepRows(TypedDict, total=False):
    """Which rows are made, and what they have."""

    from_file: Annotated[
        str | Path | None,
        _of_rows(
            "FILE",
            "Instead of axes, a scenario a line: CSV or JSON Lines, columns named as options; - is stdin.",
            flags=("--from",),
        ),
    ]
    fields: Annotated[
        str | Sequence[str] | None, _of_rows("F,F", "Columns after the axes: paths of estimate --json, joined by _.")
    ]
    shard: Annotated[str | tuple[int, int] | None, _of_rows("K/N", "Every N-th block of rows, from the K-th.")]
    strict: Annotated[bool, _of_rows("", "Stop at the first wrong scenario, with exit status 2.", default=False)]
    yes: Annotated[bool, _of_rows("", "Allow more than 100,000,000 scenarios.", default=False)]


class SweepOptions(SweepAxes, SweepFixed, SweepRows, total=False):
    """Of `sweep`."""
