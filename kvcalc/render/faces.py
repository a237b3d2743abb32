"""How any result looks where no command asks: as text, and as HTML for notebooks."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from kvcalc.render import Report
from kvcalc.render.html import write
from kvcalc.render.screens.bench import bench_report
from kvcalc.render.screens.capacity import capacity_report
from kvcalc.render.screens.compare import compare_report
from kvcalc.render.screens.demand import demand_report
from kvcalc.render.screens.estimate import estimate_report
from kvcalc.render.screens.explain import explanation_report, topics_report
from kvcalc.render.screens.ladder import capacity_ladder_report, compare_ladder_report, estimate_ladder_report
from kvcalc.render.screens.listing import (
    gpu_report,
    gpus_report,
    model_report,
    models_report,
)
from kvcalc.render.screens.log_check import log_check_report
from kvcalc.render.screens.plan import plan_report
from kvcalc.render.screens.verify import verification_report
from kvcalc.render.terminal.table import draw
from kvcalc.speed.result import Bench
from kvcalc.units import with_unit
from kvcalc.verbs.capacity_result import Capacity
from kvcalc.verbs.comparing.result import Comparison
from kvcalc.verbs.demand.result import Demand
from kvcalc.verbs.estimate_result import Estimate
from kvcalc.verbs.explanation import Explanation, Topics
from kvcalc.verbs.ladder import CapacityLadder, ComparisonLadder, EstimateLadder
from kvcalc.verbs.listing.catalogue import GpuCard, GpuList, ModelCard, ModelList
from kvcalc.verbs.log_check.result import LogCheck
from kvcalc.verbs.planning.result import Plan
from kvcalc.verification.result import Verification

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from kvcalc.record import Result

_UNIT = "GiB"
_PLAIN: dict[str, Any] = {"unit": _UNIT, "explain": False, "command": ""}

REPORTS: Mapping[type[Result], Callable[[Any], Report]] = MappingProxyType(
    {
        Estimate: lambda result: estimate_report(result, **_PLAIN),
        EstimateLadder: lambda result: estimate_ladder_report(result, _UNIT, command=""),
        Capacity: lambda result: capacity_report(result, **_PLAIN),
        CapacityLadder: lambda result: capacity_ladder_report(result, _UNIT, command=""),
        LogCheck: lambda result: log_check_report(result, **_PLAIN),
        Plan: lambda result: plan_report(result, **_PLAIN),
        Demand: lambda result: demand_report(result, **_PLAIN),
        Comparison: lambda result: compare_report(result, **_PLAIN),
        ComparisonLadder: lambda result: compare_ladder_report(result, _UNIT, command=""),
        Bench: lambda result: bench_report(result, _UNIT),
        Verification: lambda result: verification_report(result, _UNIT),
        ModelList: lambda result: models_report(result, _UNIT),
        ModelCard: model_report,
        GpuList: lambda result: gpus_report(result, _UNIT),
        GpuCard: lambda result: gpu_report(result, _UNIT),
        Explanation: explanation_report,
        Topics: topics_report,
    }
)
"""How each kind of result is shown."""


def screen(result: Result) -> str:
    """What the command prints, without the notes; never with colours, since a text may go anywhere."""
    return draw(REPORTS[type(result)](result).view(), terminal=False, colours=False).removesuffix("\n")


def html(result: Result) -> str:
    """The same as tables of HTML, with the notes, which a notebook shows nowhere else."""
    report = REPORTS[type(result)](result)
    return write(report.view(), tuple(with_unit(note.text, _UNIT) for note in report.notes))
