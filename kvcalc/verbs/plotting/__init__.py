"""The verb `plot`: what a planner looks at, as charts. Every value is one of `estimate`, by the code of `sweep`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kvcalc.catalogue import find_gpu
from kvcalc.errors import KvcalcError, nearest_or_all
from kvcalc.scenario.option import given_of
from kvcalc.scenario.plan_request import priced_by_name
from kvcalc.scenario.prices import prices as read_prices
from kvcalc.units import SIZE_UNITS
from kvcalc.verbs.plotting.curves import cache_chart, sequences_chart
from kvcalc.verbs.plotting.lines import lines_of
from kvcalc.verbs.plotting.stacked import memory_chart
from kvcalc.verbs.plotting.steps import gpus_chart

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from fractions import Fraction

    from kvcalc.charts.chart import Chart

KINDS = {
    "cache": "the cache of a GPU against context",
    "sequences": "the sequences that fit against context",
    "gpus": "GPUs, or USD an hour, against sequences",
    "memory": "the parts of a GPU's memory, by tensor-parallel size",
}
"""What can be plotted, and what each is."""

_X = {"cache": "context", "sequences": "context", "gpus": "batch", "memory": None}
_TPS = (1, 2, 4, 8)
_PLACED = ("tp", "pp", "dp", "ep", "dcp", "dp_attention", "gpus")
_IN_PARTS = ("input_tokens", "output_tokens", "mix")


def plot(kind: str, models: Sequence[Any], options: Mapping[str, Any], unit: str = "GiB") -> Chart:
    """A chart.

    Args:
        kind: of `KINDS`.
        models: of what `load_model` takes, or models; none where options describe one.
        options: of `PlotOptions`.
        unit: of sizes.

    Raises:
        KvcalcError: there is no such kind, an option cannot be, or no point of the picture has a value.
    """
    if kind not in KINDS:
        near = nearest_or_all(kind, KINDS)
        first = (
            f"; the kind comes first: kvcalc plot {next(iter(KINDS))} MODEL" if not models and "?" not in near else ""
        )
        raise KvcalcError(f"KIND: no picture of '{kind[:40]}'{near}{first}")
    if unit not in SIZE_UNITS:
        raise KvcalcError(f"--unit: no unit '{unit[:40]}'{nearest_or_all(unit, SIZE_UNITS)}")
    given = dict(given_of(options))
    prices, mechanisms = given.pop("prices", None), bool(given.pop("mechanisms", False))
    _refuse(kind, given, mechanisms=mechanisms, priced=prices is not None)
    x, asked = _X[kind], any(given.get(name) for name in _PLACED)
    if kind == "memory" and not asked:
        given["tp"] = _TPS
    lines = lines_of(models, given, x, mechanisms=mechanisms)
    if kind == "memory":
        return memory_chart(lines, unit, asked=asked)
    if kind == "gpus":
        return gpus_chart(lines, given, _usd(prices, given))
    return (cache_chart if kind == "cache" else sequences_chart)(lines, given, unit)


def _refuse(kind: str, given: Mapping[str, Any], *, mechanisms: bool, priced: bool) -> None:
    """What does not go with a kind of picture."""
    if priced and kind != "gpus":
        raise KvcalcError(f"--price: is of plot gpus; leave it out of plot {kind}")
    if mechanisms and kind not in {"cache", "sequences"}:
        raise KvcalcError(f"--mechanisms: is of plot cache and plot sequences; leave it out of plot {kind}")
    if _X[kind] == "context":
        for name in _IN_PARTS:
            if name in given:
                label = name.removesuffix("_tokens")
                raise KvcalcError(f"--{label}: sets the context, which is the axis of plot {kind}; give --context")


def _usd(prices: Any, given: Mapping[str, Any]) -> Mapping[str, Fraction]:
    """Accelerator -> USD of one for an hour."""
    if prices is None:
        return {}
    from kvcalc.scenario.axes import axis_values  # hardly ever asked for

    gpus = [
        find_gpu(each) if isinstance(each, str) else each for each in axis_values("gpu", given.get("gpu", "h100-sxm"))
    ]
    return priced_by_name(read_prices(prices, "--price"), gpus)
