"""What a plan is asked for: a workload in one of three ways, accelerators by name, and what may be used."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

from kvcalc.catalogue import find_gpu, shipped_gpus
from kvcalc.catalogue.gpu_table import table
from kvcalc.errors import KvcalcError
from kvcalc.gpu import Gpu
from kvcalc.note import Note, note
from kvcalc.scenario.make import check_cards, gpu_of, make_scenario
from kvcalc.scenario.option import options_of, read_options
from kvcalc.scenario.options import ALL_GPUS, PlannedOptions, PlanOptions
from kvcalc.scenario.prices import priced
from kvcalc.scenario.reading import positive
from kvcalc.units import MAX_BATCH

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from fractions import Fraction
    from pathlib import Path

    from kvcalc.model.model import Model
    from kvcalc.scenario.prices import Price
    from kvcalc.scenario.scenario import Scenario
    from kvcalc.scenario.workload import Workload


class Limits(NamedTuple):
    """What a plan may use.

    Attributes:
        max_gpus: at most so many, spares among them.
        spare: replicas beyond those that hold the batch.
        keep: at most so many deployments; None: some, and the best of each accelerator that was named.
        tps: the only tensor-parallel sizes; None for all that are legal within a node.
        pps: the only numbers of pipeline stages; None for all that are worth trying.
        whole_nodes: whether all GPUs of a node are taken.
        named: accelerators that were asked for by name.
        requests_per_second: whose number at a time is to follow from bounds.
        pools_for: requests a second that pools which read prompts and pools which decode serve.
    """

    max_gpus: int
    spare: int = 0
    keep: int | None = None
    tps: tuple[int, ...] | None = None
    pps: tuple[int, ...] | None = None
    whole_nodes: bool = False
    named: frozenset[str] = frozenset()
    requests_per_second: Fraction | None = None
    pools_for: Fraction | None = None


class PlanRequest(NamedTuple):
    """A plan that is asked for.

    Attributes:
        scenario: the model, the workload and what stands beside the cache.
        gpus: accelerators to choose from.
        limits: what may be used.
        prices: accelerator -> USD of one for an hour.
    """

    scenario: Scenario
    gpus: tuple[Gpu, ...]
    limits: Limits
    prices: Mapping[str, Fraction]


def make_plan_request(model: Model | str | Path | None, options: Mapping[str, Any]) -> PlanRequest:
    """What `plan` is asked for, from its options as people write them.

    Raises:
        KvcalcError: anything that cannot be, with the option named.
    """
    given = read_options(PlanOptions, options)
    found = _accelerators(given)
    passed_on: Any = {name: value for name, value in options.items() if name in options_of(PlannedOptions)}
    asked = make_scenario(model, gpu=found.gpus[0], **passed_on)
    for gpu in found.gpus:
        check_cards(gpu, asked.engine)
    size = _sizing(asked.workload, given)
    notes = (each for each in (size.note, found.note) if each is not None)
    return PlanRequest(
        replace(asked, workload=replace(asked.workload, batch=size.batch), notes=(*asked.notes, *notes)),
        found.gpus,
        Limits(
            given["max_gpus"],
            given["spare"],
            given["limit"],
            given["tp"],
            given["pp"],
            given["whole_nodes"],
            frozenset(found.named),
            given["rps"] if given["latency"] is None else None,
            _pools_for(asked, given),
        ),
        priced_by_name(given["prices"] or (), found.gpus),
    )


def _pools_for(asked: Scenario, given: Mapping[str, Any]) -> Fraction | None:
    """Requests a second of pools, which are asked for where a hand-off has a rate.

    Raises:
        KvcalcError: how many requests there are is not told, or several unlike cards are one deployment.
    """
    if asked.beside.handoff is None:
        return None
    if given["rps"] is None:
        raise KvcalcError(
            "--handoff: goes with --rps R --input N --output M: pools that serve so many requests a second"
        )
    if asked.gpu.number_together is not None:
        raise KvcalcError("--handoff: pools are of one kind of accelerator; leave --handoff out, or give --gpu A,B")
    rate: Fraction = given["rps"]
    return rate


class _Sizing(NamedTuple):
    """How many sequences are to be held at the same time, and how that number came about."""

    batch: int
    note: Note | None


class _Accelerators(NamedTuple):
    """Those to choose from, and what was left out.

    Attributes:
        named: those that were asked for by name.
    """

    gpus: tuple[Gpu, ...]
    named: tuple[str, ...]
    note: Note | None


def _sizing(workload: Workload, given: Mapping[str, Any]) -> _Sizing:
    """The batch: given, or tokens / context, or requests a second x seconds (Little's law), rounded up.

    Raises:
        KvcalcError: two ways at once, or half of one.
    """
    total, rate, seconds = given["tokens"], given["rps"], given["latency"]
    ways = [f"--{name}" for name in ("batch", "tokens", "rps") if given[name] is not None]
    if len(ways) > 1:
        raise KvcalcError(f"{ways[1]}: says how many sequences are held, as {ways[0]} does; give one of them")
    if rate is None and seconds is not None:
        raise KvcalcError("--latency: goes with --rps: requests a second x seconds each takes are held at a time")
    if rate is not None and seconds is None:
        if given["output_tokens"] is None and workload.mix is None:
            raise KvcalcError(
                "--rps: goes with --latency: requests a second x seconds each takes are held at a time; or with "
                "--input N --output M, from which a bound of those seconds follows"
            )
        return _Sizing(1, None)
    if total is not None:
        if workload.mix is not None:
            raise KvcalcError("--tokens: with --mix say how many requests are held: --batch N")
        context = workload.context
        held = _within(-(-total // context), "--tokens")
        sequences = "1 sequence" if held == 1 else f"{held:,} sequences"
        text = f"{total:,} tokens are {sequences} of at most {context:,}"
        return _Sizing(held, note("batch-from-tokens", text, tokens=total, batch=held))
    if rate is not None:
        held = _within(-(-rate * seconds // 1), "--rps")
        sequences = "1 sequence is" if held == 1 else f"{held:,} sequences are"
        told = note(
            "batch-from-rate",
            f"{float(rate):,g} requests a second x {float(seconds):,g} s each: {sequences} held at a time "
            "(Little's law)",
            requests_per_second=float(rate),
            seconds=float(seconds),
            batch=held,
        )
        return _Sizing(held, told)
    return _Sizing(given["batch"] or 1, None)


def _within(batch: int, what: str) -> int:
    if batch > MAX_BATCH:
        raise KvcalcError(f"{what}: {batch:,} sequences at a time are beyond the limit of {MAX_BATCH:,}")
    return batch


def _accelerators(given: Mapping[str, Any]) -> _Accelerators:
    """The accelerators of --gpu, each of which may be a list with commas, or 'all'.

    Raises:
        KvcalcError: an unknown name, none at all, or one whose memory is not known.
    """
    names = [given["gpu"]] if isinstance(given["gpu"], (Gpu, str)) else given["gpu"]
    wanted = [part for name in names for part in ([name] if isinstance(name, Gpu) else name.split(","))]
    gpus: list[Gpu] = []
    of_all: list[Gpu] = []
    left_out = None
    for each in wanted:
        if isinstance(each, Gpu):
            gpus.append(each)
        elif each.strip().lower() == ALL_GPUS:
            every = list(shipped_gpus())
            single = table()
            measured = [gpu for gpu in every if gpu.is_measured and gpu.name not in single]
            number = len(every) - len(measured)
            text = f"{number} accelerators are left out: cards of single machines, and those without a measured memory"
            left_out = note("gpus-left-out", text, number=number)
            of_all += measured
        else:
            gpus.append(find_gpu(each.strip()))
    by_name = {gpu.name: gpu for gpu in (*of_all, *gpus)}
    for gpu in gpus:  # a plan tells them apart by their names
        if gpu != by_name[gpu.name]:
            raise KvcalcError(f"--gpu: two accelerators that differ are called '{gpu.name}'; give one another name")
    if not by_name:
        raise KvcalcError("--gpu: names no accelerator")
    if given["gpu_memory"] is not None and len(by_name) != 1:
        raise KvcalcError("--gpu-memory: is of one accelerator, and several are given")
    figures = given["gpu_memory"], given["node_size"]
    named = tuple(gpu.name for gpu in gpus)
    return _Accelerators(tuple(gpu_of(gpu, *figures) for gpu in by_name.values()), named, left_out)


def priced_by_name(prices: Sequence[Price], gpus: Sequence[Gpu]) -> dict[str, Fraction]:
    """Accelerator -> USD an hour.

    Raises:
        KvcalcError: an accelerator that does not exist, that is not asked for, or that has two prices.
    """
    names = {name: gpu.name for gpu in gpus for name in (gpu.name, *gpu.aliases)}
    found = priced(prices, names, lambda name: find_gpu(name).name)
    return {name: positive(price.usd, f"{price.where} {price.name[:60]}") for name, price in found.items()}
