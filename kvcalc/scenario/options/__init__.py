"""The options, each once: a keyword of Python, its type, and beside it all that the command line needs.

A TypedDict is what a function or a command takes. Groups of options stand in workload, memory, deployment and model;
what a verb takes is put together from them in scenario, plan, report and verify. An option that means something else
to one command stands there again with what differs. Annotations are evaluated, not kept as text: the command line is
made of them at every start. A group is imported when the first of its names is used.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from kvcalc.scenario.options.bench import BenchOptions, MeasuredOptions, Measurement
    from kvcalc.scenario.options.demand import DemandOptions, ServedOptions, TraceOptions
    from kvcalc.scenario.options.deployment import DEFAULT_GPU, GPU, EngineChoice, EngineSettings, Utilization
    from kvcalc.scenario.options.memory import CacheDtype, Memory, WeightDtype
    from kvcalc.scenario.options.model import MODEL, Assumptions
    from kvcalc.scenario.options.plan import ALL_GPUS, PlannedOptions, PlanOptions
    from kvcalc.scenario.options.plot import PlotOptions
    from kvcalc.scenario.options.report import ReportOptions
    from kvcalc.scenario.options.scenario import CapacityOptions, CompareOptions, ScenarioOptions
    from kvcalc.scenario.options.sweep import SweepAxes, SweepFixed, SweepOptions, SweepRows
    from kvcalc.scenario.options.tiers import Tiers
    from kvcalc.scenario.options.verify import DEVICES, Proof, VerifiedOptions, VerifyOptions
    from kvcalc.scenario.options.workload import Batch, Context

__all__ = [
    "ALL_GPUS",
    "DEFAULT_GPU",
    "DEVICES",
    "GPU",
    "MODEL",
    "Assumptions",
    "Batch",
    "BenchOptions",
    "CacheDtype",
    "CapacityOptions",
    "CompareOptions",
    "Context",
    "DemandOptions",
    "EngineChoice",
    "EngineSettings",
    "MeasuredOptions",
    "Measurement",
    "Memory",
    "PlanOptions",
    "PlannedOptions",
    "PlotOptions",
    "Proof",
    "ReportOptions",
    "ScenarioOptions",
    "ServedOptions",
    "SweepAxes",
    "SweepFixed",
    "SweepOptions",
    "SweepRows",
    "Tiers",
    "TraceOptions",
    "Utilization",
    "VerifiedOptions",
    "VerifyOptions",
    "WeightDtype",
]

_HOME = {
    "ALL_GPUS": "plan",
    "Assumptions": "model",
    "Batch": "workload",
    "BenchOptions": "bench",
    "CacheDtype": "memory",
    "CapacityOptions": "scenario",
    "CompareOptions": "scenario",
    "Context": "workload",
    "DEFAULT_GPU": "deployment",
    "DEVICES": "verify",
    "DemandOptions": "demand",
    "EngineChoice": "deployment",
    "EngineSettings": "deployment",
    "GPU": "deployment",
    "MODEL": "model",
    "MeasuredOptions": "bench",
    "Measurement": "bench",
    "Memory": "memory",
    "PlanOptions": "plan",
    "PlannedOptions": "plan",
    "PlotOptions": "plot",
    "Proof": "verify",
    "ReportOptions": "report",
    "ScenarioOptions": "scenario",
    "ServedOptions": "demand",
    "SweepAxes": "sweep",
    "SweepFixed": "sweep",
    "SweepOptions": "sweep",
    "SweepRows": "sweep",
    "Tiers": "tiers",
    "TraceOptions": "demand",
    "Utilization": "deployment",
    "VerifiedOptions": "verify",
    "VerifyOptions": "verify",
    "WeightDtype": "memory",
}


def __getattr__(name: str) -> object:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module  # as in kvcalc itself

    value = getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
    globals()[name] = value
    return value
