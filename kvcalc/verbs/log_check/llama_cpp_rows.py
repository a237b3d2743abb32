"""Each figure of a llama.cpp log beside what is predicted for it: what is reserved at the start."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from typing import TYPE_CHECKING

from kvcalc.deployment import Deployment
from kvcalc.engines import Load
from kvcalc.engines.llama_cpp.compute import compute_buffer
from kvcalc.engines.llama_cpp.mmproj import mmproj_of
from kvcalc.engines.llama_cpp.settled import SettledLlama
from kvcalc.errors import KvcalcError
from kvcalc.logs.llama_cpp.figures import CONTEXT, MMPROJ
from kvcalc.logs.reader import DRAFT
from kvcalc.memory import Ranks
from kvcalc.memory.parts import towers_apart
from kvcalc.scenario.scenario import Replacements
from kvcalc.verbs.log_check.llama_cpp_settings import cards, device_of, on_cards
from kvcalc.verbs.log_check.result import TOKENS, LogRow

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kvcalc.logs import Printed, ServerLog
    from kvcalc.scenario import Scenario

CACHE = "cache memory"
STATES = "states"
COMPUTE = "compute buffer"
WEIGHTS = "weights"

_BUFFERS = ("KV buffer", "RS buffer", COMPUTE, "model buffer")
_ON_HOST = {"n-gpu-layers": None, "n-cpu-moe": 0, "no-kv-offload": False, "tensor-split": None}


def reserved_rows(scenario: Scenario, log: ServerLog, weights_why: str | None) -> tuple[LogRow, ...]:
    """Cells, caches and states of the whole model, then what each card holds.

    Args:
        scenario: what is predicted.
        log: what the server printed.
        weights_why: in words, where weights are as printed or by their name.

    Raises:
        KvcalcError: llama.cpp does not serve such a model.
    """
    return (*_whole(scenario, log), *_drafting(scenario, log), *_of_cards(scenario, log, weights_why))


def _whole(scenario: Scenario, log: ServerLog) -> Iterator[LogRow]:
    given = {**dict(scenario.engine.given), **_ON_HOST}
    engine = replace(scenario.engine, given=tuple(sorted(given.items())))
    layout = Ranks(replace(scenario, engine=engine, deployment=Deployment())).settled(Deployment())
    if not isinstance(layout, SettledLlama):
        raise KvcalcError(f"--engine {scenario.engine.name}: it reserves no cells; leave it out")
    (stage,) = layout.stages
    load = Load(scenario.workload.batch, scenario.workload.context)
    states, second = layout.states_bytes(stage, load), layout.drafting_bytes(stage, load)
    cells = log.most("cells") or log.most(TOKENS)
    streams = int(log.settings.get("streams", "1") or 1) if log.most("cells") is not None else 1
    yield _row(TOKENS, "tokens", None if cells is None else cells.value * streams, layout.cells(None, load).all, None)
    caches = log.total(CACHE)
    if caches is None:
        caches = _sum(log.printed.get("KV buffer", ()), ())
    if layout.settings.ollama_new_engine:  # which prints them together
        states = 0
    if caches is not None:
        yield _memory(CACHE, caches, layout.held_bytes(stage, load) - states - second, None)
    kept = log.total(STATES) or _sum(log.printed.get("RS buffer", ()), ())
    if kept is not None:
        yield _memory(STATES, kept, states, None)
    towers, apart = log.total(MMPROJ), towers_apart(replace(scenario, replacements=Replacements()))
    if towers is not None and apart:
        expected = mmproj_of(apart)
        why = f"predicted: {expected.told}; some builds add what lies in host memory"
        between = (expected.on_card, expected.on_card + expected.beside)
        yield _memory(MMPROJ, towers, expected.on_card, why, between)


def _drafting(scenario: Scenario, log: ServerLog) -> Iterator[LogRow]:
    """The cache of a second context, which has formats of its own."""
    printed = log.total(f"{DRAFT}{CACHE}") or _sum(on_cards(log, f"{DRAFT}KV buffer"), ())
    layout = Ranks(scenario).settled(scenario.deployment or Deployment())
    if printed is None or not isinstance(layout, SettledLlama):
        return
    load = Load(scenario.workload.batch, scenario.workload.context)
    if held := max(layout.drafting_bytes(stage, load) for stage in layout.stages):
        yield _memory(f"{DRAFT}{CACHE}", printed, held, "counted in f16: -ctkd and -ctvd may say otherwise")


def _of_cards(scenario: Scenario, log: ServerLog, weights_why: str | None) -> Iterator[LogRow]:
    devices, deployment = cards(log), scenario.deployment or Deployment()
    if not devices or deployment.pp != len(devices):
        return
    ranks = Ranks(scenario).of(deployment)
    layout = ranks[0].settled
    if not isinstance(layout, SettledLlama):
        return
    load = Load(scenario.workload.batch, scenario.workload.context)
    for number, device in enumerate(devices):
        rank = next((each for each in ranks if any(number in numbers for numbers in each.numbers)), None)
        if rank is None:
            continue
        behind = f", {device}" if len(devices) > 1 else ""
        kv, rs, compute, loaded = (_of_device(log, figure, device) for figure in _BUFFERS)
        stage = next(each for each in layout.stages if each.number == rank.stage)
        states, second = layout.states_bytes(stage, load), layout.drafting_bytes(stage, load)
        states = 0 if layout.settings.ollama_new_engine else states
        if kv is not None and (behind or _partial(log)):
            held = rank.cache_bytes(load.sequences, load.context) - states - second
            yield _memory(f"KV buffer{behind}", kv, held, None)
        if rs is not None and (behind or _partial(log)):
            yield _memory(f"RS buffer{behind}", rs, states, None)
        context = _of_device(log, CONTEXT, device)
        if context is not None:
            held = rank.cache_bytes(load.sequences, load.context) - second
            yield _memory(f"{CONTEXT}{behind}", context, held, None)
        if compute is not None:
            by_dims = compute_buffer(layout, stage, load, by_vulkan=device.startswith("Vulkan"))
            temporary = by_dims or rank.temporary_with(load.sequences, load.context)
            of_host = bool(layout.placement.first_layer)
            why = _of_compute(layout, device, by_dims=by_dims is not None, is_range=temporary.is_range, of_host=of_host)
            why = "Ollama's own graphs: the range is what logs have" if layout.settings.ollama_new_engine else why
            between = temporary.low, temporary.high
            yield _memory(f"{COMPUTE}{behind}", compute, temporary.term.bytes, why, between)
        split = weights_why is not None and _partial(log)  # of a given size nobody knows which layers are the largest
        if loaded is not None and rank.weights_bytes is not None and not split:
            yield _memory(f"{WEIGHTS}{behind}", loaded, rank.weights_bytes, weights_why)


def _of_compute(layout: SettledLlama, device: str, *, by_dims: bool, is_range: bool, of_host: bool) -> str | None:
    """What a difference of the compute buffer may be from."""
    if not by_dims:
        return "the model's dims are not known: the range is what logs have"
    if is_range and of_host:
        return "copies of weights and cells of the host's layers may lie there together"
    if is_range and not layout.rules.logits_of_all:
        return "Vulkan computes parts of a layer ahead, which then lie there together"
    if is_range:
        return "builds of that time lay masks over the logits, or beside them"
    return None if device.startswith("CUDA") else f"predicted as on an NVIDIA card, and {device} is none"


def _partial(log: ServerLog) -> bool:
    placed, layers = log.most("layers on cards"), log.most("layers")
    return placed is not None and layers is not None and placed.value < layers.value


def _of_device(log: ServerLog, figure: str, device: str) -> Printed | None:
    return _sum(tuple(each for each in on_cards(log, figure) if device_of(each.process) == device), ())


def _sum(values: tuple[Printed, ...], otherwise: tuple[Printed, ...]) -> Printed | None:
    """Of several buffers together."""
    values = values or otherwise
    if not values:
        return None
    together = values[0]
    for each in values[1:]:
        text = f"{together.text} + {each.text}"
        together = together._replace(value=together.value + each.value, off=together.off + each.off, text=text)
    return together


def _memory(
    name: str, printed: Printed, predicted: int, why: str | None, between: tuple[int, int] | None = None
) -> LogRow:
    low, high = between or (predicted, predicted)
    rounds = abs(printed.value - predicted) <= printed.off + 1
    row = _row(name, "bytes", printed.value, predicted, None if low == high and rounds else why)
    row = replace(row, difference=0.0) if rounds and row.difference is not None else row
    return replace(row, predicted_low=low, predicted_high=high, as_printed=printed.text)


def _row(name: str, unit: str, printed: Fraction | None, predicted: int, why: str | None) -> LogRow:
    return LogRow(
        name=name,
        unit=unit,
        printed=None if printed is None else round(printed),
        predicted=predicted,
        difference=float(Fraction(predicted) / printed - 1) if printed else None,
        predicted_low=predicted,
        predicted_high=predicted,
        as_printed=None if printed is None else f"{int(printed):,}",
        why=why,
    )
