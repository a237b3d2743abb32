"""KV-cache memory, exactly: `kvcalc.estimate("llama-3-70b", batch=32, context=8192).cache.bytes`.

The names below are loaded when first used, so that `import kvcalc` costs nothing.
"""

from __future__ import annotations

TYPE_CHECKING = False  # as typing's, which takes longer to import than the rest of `kvcalc --version`

if TYPE_CHECKING:
    from kvcalc.api import (
        capacity,
        capacity_from_command,
        capacity_from_log,
        compare,
        demand,
        estimate,
        load_gpu,
        load_model,
        plan,
        plot,
        sweep,
    )
    from kvcalc.charts.picture import Picture
    from kvcalc.deployment import Deployment
    from kvcalc.errors import CannotRunError, ExitCode, KvcalcError
    from kvcalc.gpu import Gpu
    from kvcalc.ladders import ladder
    from kvcalc.measure import bench, verify
    from kvcalc.model.model import Model
    from kvcalc.note import Note
    from kvcalc.review.make import report
    from kvcalc.review.review import Review
    from kvcalc.scenario import Replacements, Scenario, Workload
    from kvcalc.scenario.make import make_scenario
    from kvcalc.speed.result import Bench
    from kvcalc.verbs.capacity_result import Capacity
    from kvcalc.verbs.comparing.result import Comparison
    from kvcalc.verbs.demand.result import Demand
    from kvcalc.verbs.estimate_result import Estimate
    from kvcalc.verbs.ladder import CapacityLadder, ComparisonLadder, EstimateLadder
    from kvcalc.verbs.log_check.result import LogCheck
    from kvcalc.verbs.planning.result import Plan
    from kvcalc.verbs.sweeping.row import SweepRow
    from kvcalc.verification.result import Verification

__version__ = "0.1.0"

__all__ = [
    "Bench",
    "CannotRunError",
    "Capacity",
    "CapacityLadder",
    "Comparison",
    "ComparisonLadder",
    "Demand",
    "Deployment",
    "Estimate",
    "EstimateLadder",
    "ExitCode",
    "Gpu",
    "KvcalcError",
    "LogCheck",
    "Model",
    "Note",
    "Picture",
    "Plan",
    "Replacements",
    "Review",
    "Scenario",
    "SweepRow",
    "Verification",
    "Workload",
    "__version__",
    "bench",
    "capacity",
    "capacity_from_command",
    "capacity_from_log",
    "compare",
    "demand",
    "estimate",
    "ladder",
    "load_gpu",
    "load_model",
    "make_scenario",
    "plan",
    "plot",
    "report",
    "sweep",
    "verify",
]

_HOME = {
    "Bench": "speed.result",
    "CannotRunError": "errors",
    "Capacity": "verbs.capacity_result",
    "CapacityLadder": "verbs.ladder",
    "Comparison": "verbs.comparing.result",
    "ComparisonLadder": "verbs.ladder",
    "Demand": "verbs.demand.result",
    "Deployment": "deployment",
    "Estimate": "verbs.estimate_result",
    "EstimateLadder": "verbs.ladder",
    "ExitCode": "errors",
    "Gpu": "gpu",
    "KvcalcError": "errors",
    "LogCheck": "verbs.log_check.result",
    "Model": "model.model",
    "Note": "note",
    "Picture": "charts.picture",
    "Plan": "verbs.planning.result",
    "Replacements": "scenario",
    "Review": "review.review",
    "Scenario": "scenario",
    "SweepRow": "verbs.sweeping.row",
    "Verification": "verification.result",
    "Workload": "scenario",
    "bench": "measure",
    "capacity": "api",
    "capacity_from_command": "api",
    "capacity_from_log": "api",
    "compare": "api",
    "demand": "api",
    "estimate": "api",
    "ladder": "ladders",
    "load_gpu": "api",
    "load_model": "api",
    "make_scenario": "scenario.make",
    "plan": "api",
    "plot": "api",
    "report": "review.make",
    "sweep": "api",
    "verify": "measure",
}


def __getattr__(name: str) -> object:
    if name not in _HOME:
        raise AttributeError(f"module 'kvcalc' has no attribute {name!r}")
    from importlib import import_module

    value = getattr(import_module(f"kvcalc.{_HOME[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOME})
