"""kvcalc from Python: the same calculations as on the command line, by name or by value.

Numbers may be integers or the spellings of the command line ('128Ki', '1.5GiB').
"""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack

from kvcalc.catalogue import find_gpu, find_model
from kvcalc.scenario.make import scenario_of
from kvcalc.scenario.option import accepts, given_of, read_options
from kvcalc.scenario.options import (
    CapacityOptions,
    CompareOptions,
    DemandOptions,
    PlanOptions,
    PlotOptions,
    ScenarioOptions,
    SweepOptions,
)
from kvcalc.verbs.estimate import estimate as _estimate

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from kvcalc.charts.picture import Picture
    from kvcalc.gpu import Gpu
    from kvcalc.model.model import Model
    from kvcalc.scenario import Scenario
    from kvcalc.verbs.capacity_result import Capacity
    from kvcalc.verbs.comparing.result import Comparison
    from kvcalc.verbs.demand.result import Demand
    from kvcalc.verbs.estimate_result import Estimate
    from kvcalc.verbs.log_check.result import LogCheck
    from kvcalc.verbs.planning.result import Plan
    from kvcalc.verbs.sweeping.row import SweepRow
    from kvcalc.verbs.sweeping.sweep import Sweep

    AnyModel = Model | str | Path | Scenario


def load_model(model: str | Path, *, assume: Mapping[str, Any] | None = None) -> Model:
    """A model from a YAML file or a config.json, or of the catalogue by name or hub id.

    Args:
        model: a path or a name.
        assume: keys and values that decide what an imported file does not.

    Raises:
        KvcalcError: there is none, or its file has mistakes.
    """
    return find_model(str(model), assume).model


def load_gpu(gpu: str) -> Gpu:
    """An accelerator of the catalogue, by name or alias.

    Raises:
        KvcalcError: there is none.
    """
    return find_gpu(str(gpu))


@accepts(ScenarioOptions)
def estimate(model: AnyModel | None = None, **options: Unpack[ScenarioOptions]) -> Estimate:
    """The cache, the memory and the GPU count: `estimate("llama-3-70b", batch=32, context="8Ki", tp=4)`.

    Args:
        model: a scenario, or what `make_scenario` takes.
        options: as below.

    Raises:
        KvcalcError: anything that cannot be, with the option named.
    """
    return _estimate(scenario_of(model, options))


@accepts(CapacityOptions)
def capacity(model: AnyModel | None = None, **options: Unpack[CapacityOptions]) -> Capacity:
    """The most tokens, sequences and context that fit: `capacity("llama-3-70b", tp=8, context="8Ki").sequences`.

    Args:
        model: a scenario, or what `make_scenario` takes.
        options: as below.

    Raises:
        KvcalcError: anything that cannot be, with the option named.
    """
    from kvcalc.scenario.cache_memory import beside_cache_memory
    from kvcalc.verbs.capacity import capacity as _capacity

    given = read_options(CapacityOptions, {"cache_memory": options.pop("cache_memory", None)})["cache_memory"]
    asked = scenario_of(model, options)
    if given is not None:
        asked = replace(asked, notes=(*asked.notes, *beside_cache_memory(given_of(options), plain=asked.engine.plain)))
    return _capacity(asked, given)


@accepts(ScenarioOptions)
def capacity_from_log(
    log: str | Path, model: Model | str | Path | None = None, **options: Unpack[ScenarioOptions]
) -> LogCheck:
    """A server's start-up log beside what is predicted of it: `capacity_from_log("vllm.log").row("tokens").difference`.

    Args:
        log: its path, or '-' for standard input.
        model: what `make_scenario` takes; without it the log's own, where the catalogue has it.
        options: as below; they win over what the log says.

    Raises:
        KvcalcError: no known line in the log, a model that is not known, or anything that cannot be.
    """
    from kvcalc.logs import read_log
    from kvcalc.verbs.log_check import check_log

    said, cut = read_log(log)
    return check_log(said, model, options, cut=cut)


@accepts(CapacityOptions)
def capacity_from_command(command: str, **options: Unpack[CapacityOptions]) -> Capacity:
    """What a server holds that is started so: `capacity_from_command("vllm serve Qwen/Qwen3-8B", gpu="l40s").tokens`.

    Args:
        command: of vLLM, SGLang, llama.cpp or TensorRT-LLM, as it stands in a script; it is not run.
        options: as below; they win over what the command says.

    Raises:
        KvcalcError: no known server is started, its model is not known, an option changes memory in a way that is not
            followed, or anything that cannot be.
    """
    from kvcalc.logs.command import read_command
    from kvcalc.verbs.from_command import asked_by
    from kvcalc.verbs.from_command.blamed import blamed_on_the_line
    from kvcalc.verbs.from_command.fitted import fitted

    server = read_command(command)
    model, said, notes = asked_by(server, options)
    with blamed_on_the_line(options, said):
        memory = said.pop("cache_memory", None)
        asked = scenario_of(model, said)
        asked = replace(asked, notes=(*notes, *asked.notes))
        lengths = ("context", "input_tokens", "output_tokens", "mix")
        if server.fits_context and all(options.get(name) is None for name in lengths):
            return fitted(asked, memory)
        return capacity(asked, cache_memory=memory) if memory is not None else capacity(asked)


@accepts(CompareOptions)
def compare(models: AnyModel | Sequence[AnyModel] | None = None, **options: Unpack[CompareOptions]) -> Comparison:
    """One model under each mechanism, or several side by side: `compare("llama-3-70b").rows[0].cache_bytes`.

    Args:
        models: a scenario, or what `make_scenario` takes; or a list of them.
        options: as below.

    Raises:
        KvcalcError: anything that cannot be, with the option named.
    """
    from kvcalc.scenario.alike import scenarios_alike
    from kvcalc.verbs.comparing import compare as _compare

    return _compare(scenarios_alike(models, options.pop("cache_dtype", None), options.pop("engine", None), options))


@accepts(PlanOptions)
def plan(model: Model | str | Path | None = None, **options: Unpack[PlanOptions]) -> Plan:
    """The smallest legal deployments that hold a workload: `plan("llama-3-70b", batch=32).deployments[0].count`.

    Args:
        model: what `make_scenario` takes.
        options: as below.

    Raises:
        KvcalcError: anything that cannot be, with the option named.
    """
    from kvcalc.scenario.plan_request import make_plan_request
    from kvcalc.verbs.planning.plan import plan as _plan

    return _plan(*make_plan_request(model, options))


@accepts(DemandOptions)
def demand(model: Model | str | Path | None = None, **options: Unpack[DemandOptions]) -> Demand:
    """What the requests of a trace hold over time: `demand("llama-3-8b", trace="azure.csv").cache.p95_bytes`.

    Args:
        model: what `make_scenario` takes.
        options: as below; `trace` is needed.

    Raises:
        KvcalcError: a trace that cannot be read, or anything else that cannot be, with the option named.
    """
    from kvcalc.scenario.demand_request import make_demand_request
    from kvcalc.verbs.demand.demand import demand as _demand

    return _demand(*make_demand_request(model, options))


@accepts(SweepOptions)
def sweep(
    models: Model | str | Path | Sequence[Model | str | Path] | None = None,
    *,
    progress: Callable[[str, int, int], None] | None = None,
    **options: Unpack[SweepOptions],
) -> Iterator[SweepRow]:
    """Many scenarios as rows, one at a time: `sweep("llama-3-70b", batch=[1, 8], context="1Ki..1Mi*2", tp="4,8")`.

    A scenario that is wrong is a row with `error`. Axes take lists, ranges of Python, or texts as on the command line.

    Args:
        models: one or several of what `load_model` takes, or models.
        progress: is told what is being done, how many rows are there, of how many.
        options: as below.

    Raises:
        KvcalcError: an axis, a file or any other option cannot be read; with `strict`, the first wrong scenario's.
    """
    from kvcalc.verbs.sweeping.row import rows_of
    from kvcalc.verbs.sweeping.sweep import sweep as _sweep

    def rows(opened: ExitStack, asked: Sweep) -> Iterator[SweepRow]:
        done = 0
        with opened:
            for chunk in asked.chunks:
                yield from rows_of(chunk, asked.columns)
                done += chunk.rows
                if progress is not None and asked.number is not None:
                    progress("scenarios", done, asked.number)

    with ExitStack() as stack:  # what cannot be read is refused here, not at the first row
        asked = stack.enter_context(_sweep(models, options))
        return rows(stack.pop_all(), asked)


@accepts(PlotOptions)
def plot(
    kind: str,
    models: Model | str | Path | Sequence[Model | str | Path] | None = None,
    *,
    unit: str = "GiB",
    **options: Unpack[PlotOptions],
) -> Picture:
    """A picture, which a notebook shows: `plot("cache", "llama-3-70b", cache_dtype=["bf16", "fp8"]).to_svg()`.

    Args:
        kind: cache or sequences (against the context), gpus (against the batch) or memory (by tensor-parallel size).
        models: one or several of what `load_model` takes, or models.
        unit: of sizes.
        options: as below; axes take lists, ranges of Python, or texts as on the command line.

    Raises:
        KvcalcError: anything that cannot be, with the option named, or a picture without a single value.
    """
    from kvcalc.charts.picture import Picture
    from kvcalc.verbs.plotting import plot as _plot

    named = list(models) if isinstance(models, list | tuple) else [] if models is None else [models]
    return Picture(_plot(kind, named, options, unit))
