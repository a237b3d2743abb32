"""The order of a measurement: the machine, each mechanism and its growth, a share elsewhere, what articles claim."""

from __future__ import annotations

from dataclasses import replace
from time import perf_counter
from typing import TYPE_CHECKING

import torch

from kvcalc.errors import CannotRunError
from kvcalc.note import note
from kvcalc.scenario.scenario import cache_format
from kvcalc.speed.case import cases_of, format_of
from kvcalc.speed.claims import claims, with_claims
from kvcalc.speed.decode import Bench, decode
from kvcalc.speed.feed_forward import FeedForward, Network, network_of
from kvcalc.speed.growth import decode_growth, prefill_growth
from kvcalc.speed.machine import TIMES_LARGER, has_bf16, measured_machine, refuse_a_change
from kvcalc.speed.offload import offloaded, sequences_away
from kvcalc.speed.paths import NAIVE
from kvcalc.speed.result import Bench as Result
from kvcalc.speed.timing import Stopwatch
from kvcalc.verbs.question import ModelSummary, WorkloadSummary
from kvcalc.verification.devices import choose_device

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from fractions import Fraction

    from kvcalc.note import Note
    from kvcalc.scenario import Scenario
    from kvcalc.speed.case import Case
    from kvcalc.speed.paths import Path
    from kvcalc.speed.result import Growth, Measured
    from kvcalc.verification.devices import Device
    from kvcalc.verification.progress import Progress

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


def run(
    scenario: Scenario,
    *,
    mechanisms: tuple[str, ...] | None,
    device_name: str,
    samples: int,
    compiling: bool,
    offload: Fraction | None,
    progress: Progress,
    clock: Callable[[], float] = perf_counter,
    least: bool = False,
) -> Result:
    """Measure; see `kvcalc.speed.bench_scenario`.

    Args:
        scenario: the model, the workload, the format of the cache.
        mechanisms: their names; None for all that the model can have.
        device_name: auto, cpu or cuda.
        samples: of each figure.
        compiling: whether torch.compile is tried.
        offload: the share of the cache that is kept elsewhere.
        progress: is told how far things are.
        clock: gives seconds.
        least: whether the smallest buffers do, since no figure is wanted.
    """
    device = choose_device(device_name, 0)
    if device is None:
        raise CannotRunError("--device meta: has no memory, so nothing takes time on it; next: --device cpu")
    scenario, notes = _in_a_format_that_is_fast(scenario, device)
    cases, left_out = cases_of(scenario, mechanisms)
    name = format_of(cases[0])
    subject = next((case for case in cases if case.own), cases[0])
    if offload is not None:
        sequences_away(subject, offload)
    watch = Stopwatch(clock, device.synchronize, samples)
    times_larger = 0 if least else TIMES_LARGER
    with torch.no_grad():
        progress("measuring the machine", 0, 1)
        machine = measured_machine(device, DTYPES[name], watch, least=least)
        device.release()
        bench = Bench(device, DTYPES[name], watch, machine, compiling)
        spare = _refuse_without_headroom(bench, cases, times_larger)
        network = _network_that_fits(bench, cases[0], times_larger, spare)
        networks = [] if isinstance(network, str) else _networks(bench, network, cases[0].sequences, times_larger)
        measured: list[Measured] = []
        growth: list[Growth | None] = []
        paths: dict[str, Path] = {}
        for done, case in enumerate(cases):
            progress("measuring mechanisms", done, len(cases))
            found, paths[case.name] = decode(bench, case, times_larger, networks)
            measured.append(found)
            growth.append(decode_growth(bench, case, paths[case.name], found, times_larger))
            growth.append(prefill_growth(bench, case))
            device.release()
        progress("measuring mechanisms", len(cases), len(cases))
        away = None
        if offload is not None:
            own = measured[cases.index(subject)]
            away = offloaded(bench, subject, paths[subject.name], own, offload)
        refuse_a_change(machine, device, DTYPES[name], watch)
    measured = _with_speed_ups(measured)
    known = tuple(each for each in growth if each is not None)
    found_of_claims = claims(measured, known, NAIVE)
    return Result(
        machine=machine,
        model=ModelSummary.of(scenario.model),
        workload=WorkloadSummary.of(scenario.workload),
        cache_dtype=name,
        feed_forward=None if isinstance(network, str) else network.label,
        rows=with_claims(measured, found_of_claims),
        growth=known,
        claims=found_of_claims,
        offload=away,
        notes=(*scenario.notes, *notes, *_notes(cases, left_out, network, measured)),
    )


def _in_a_format_that_is_fast(scenario: Scenario, device: Device) -> tuple[Scenario, tuple[Note, ...]]:
    """With the cache in fp32, where nobody asked for a format and the processor has no bf16 of its own."""
    if scenario.cache_format_given or device.kind != "cpu" or has_bf16(device):
        return scenario, ()
    said = note(
        "bench-in-fp32",
        f"caches are kept in fp32: {device.name} does not multiply bf16 itself (--cache-dtype bf16 measures it)",
        device=device.name,
    )
    chosen = cache_format(scenario.model, "fp32", None, None, scenario.engine.tensor_names)
    return replace(scenario, cache_format=chosen), (said,)


def _refuse_without_headroom(bench: Bench, cases: list[Case], times_larger: int) -> int | None:
    """Stop before anything is allocated that does not fit.

    Returns:
        Bytes that the largest of the mechanisms leaves free; None where that is not known.

    Raises:
        CannotRunError: a mechanism's caches need more than is free; the mechanisms that fit are named.
    """
    free = bench.device.free_bytes()
    if free is None:
        return None
    needed = {case.name: _needed(bench, case, times_larger) for case in cases}
    too_large = [name for name, size in needed.items() if size > free]
    if too_large:
        name = too_large[0]
        others = ",".join(each for each in needed if each not in too_large)
        would = f"next: --mechanism {others}, or " if others else "next: "
        raise CannotRunError(
            f"{name}: measuring it takes {needed[name]:,} bytes, and {free:,} are free; "
            f"{would}a smaller --batch or --context"
        )
    return free - max(needed.values())


def _network_that_fits(bench: Bench, case: Case, times_larger: int, spare: int | None) -> Network | str:
    """The model's feed-forward network; or why it is not measured."""
    network = network_of(case.scenario.model)
    if isinstance(network, str) or spare is None:
        return network
    size = network.parameters(case.sequences) * bench.dtype.itemsize
    needed = bench.device.needed_bytes([size] * bench.copies(size, times_larger))
    if needed <= spare:
        return network
    return f"the feed-forward network ({network.label}) takes {needed:,} bytes, and {max(0, spare):,} are free"


def _networks(bench: Bench, network: Network, tokens: int, times_larger: int) -> list[FeedForward]:
    """As many as together are so much larger than the processor's caches."""
    copies = bench.copies(network.parameters(tokens) * bench.dtype.itemsize, times_larger)
    return [FeedForward(network, tokens, bench.device.torch_device, bench.dtype) for _ in range(copies)]


def _needed(bench: Bench, case: Case, times_larger: int) -> int:
    """Caches that take turns, three times the scores in fp32, keys and values of one sequence, and a tenth more."""
    context = case.scenario.workload.context
    size = case.cache_bytes(context)
    scores = 3 * 4 * case.sequences * case.mechanism.num_heads * case.positions(context)
    heads = case.mechanism.heads
    one = 3 * 2 * heads.num_heads * heads.head_dim * case.positions(context) * bench.dtype.itemsize
    return bench.device.needed_bytes([size] * bench.copies(size, times_larger) + [scores, one])


def _with_speed_ups(measured: list[Measured]) -> list[Measured]:
    mha = next((each for each in measured if each.mechanism == "mha"), None)
    if mha is None:
        return measured
    base = mha.attention.median_s
    return [replace(each, speedup_over_mha=base / each.attention.median_s) for each in measured]


def _notes(
    cases: list[Case], left_out: dict[str, str], network: Network | str, measured: list[Measured]
) -> Iterator[Note]:
    for name, reason in left_out.items():
        yield note("bench-left-out", f"{name} is not measured: it {reason}", mechanism=name, reason=reason)
    if isinstance(network, str):
        yield note("bench-no-feed-forward", f"whole layers are not measured: {network}", reason=network)
    if any(case.layer.span for case in cases):
        spans = next(case.layer.label for case in cases if case.layer.span)
        yield note("bench-window", f"prefill is not measured of layers with a span: {spans}", layer=spans)
    above = [each.mechanism for each in measured if each.attention.share_of_bound > 1]
    if above:
        yield note(
            "bench-above-bound",
            f"{', '.join(above)}: faster than the bound, which rests on bandwidth and rate as measured here by plain "
            "ways: they are lower than the machine's",
            mechanisms=tuple(above),
        )
