"""How much of a model an accelerator holds, of an engine that can leave the rest in host memory."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from kvcalc.errors import KvcalcError
from kvcalc.memory import ranks_of
from kvcalc.note import Note, note
from kvcalc.units import format_size
from kvcalc.verbs.searching.capacity_search import largest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kvcalc.deployment import Deployment
    from kvcalc.memory import Rank
    from kvcalc.scenario import Scenario

LAYERS, EXPERTS = "n-gpu-layers", "n-cpu-moe"
"""Options that leave whole layers, or the experts of layers, to the host."""


class OnGpu(NamedTuple):
    """What the accelerators hold with a workload.

    Attributes:
        layers: the most that fit, the output head among them.
        host_experts: the fewest first layers whose experts must be in host memory for all else to fit; None where no
            number is enough, or there are no experts.
        left: bytes of weights in host memory with so many layers.
        left_of_experts: the same with so many layers' experts there.
        layers_without_experts: the most layers that fit with all experts in host memory; None where fewer experts there
            are enough, or no number of layers is.
        left_of_both: bytes of weights in host memory then.
    """

    layers: int
    host_experts: int | None
    left: int
    left_of_experts: int | None
    layers_without_experts: int | None = None
    left_of_both: int = 0


def on_gpu(scenario: Scenario, deployment: Deployment) -> OnGpu | None:
    """How much fits on the accelerators with the scenario's workload; None of an engine that keeps all of it there."""
    if LAYERS not in scenario.engine.options:
        return None
    of_model = scenario.model.num_layers
    every = of_model + 1  # of these no matrix is copied to the card: it may need less

    def ranks(option: str, value: int, **more: int) -> tuple[Rank, ...]:
        given = {**dict(scenario.engine.given), option: value, **more}
        engine = replace(scenario.engine, given=tuple(sorted(given.items())))
        return ranks_of(replace(scenario, engine=engine), deployment)

    def fit(found: tuple[Rank, ...]) -> bool:
        sequences, context = deployment.sequences(scenario.workload.batch), scenario.workload.lengths
        return all(rank.headroom(sequences, context) >= 0 for rank in found)

    def holds(layers: int, **more: int) -> bool | None:
        try:
            return fit(ranks(LAYERS, layers, **more))
        except KvcalcError:  # too few for one of the cards to have any
            return None if layers < every // 2 else False

    whole = holds(every)
    layers = every if whole else largest(lambda number: holds(number) is not False, every - 1, every // 2)
    if holds(layers) is None:
        layers = 0
    experts = None
    if scenario.model.is_mixture_of_experts:
        kept = of_model if whole else largest(lambda kept: fit(ranks(EXPERTS, of_model - kept)), of_model)
        experts = of_model - kept if kept or fit(ranks(EXPERTS, of_model)) else None
    left = 0 if whole or not layers or not holds(layers) else _on_host(ranks(LAYERS, layers))
    found = OnGpu(layers, experts, left, _on_host(ranks(EXPERTS, experts)) if experts else None)
    if experts is not None or not scenario.model.is_mixture_of_experts:
        return found
    every_expert = {EXPERTS: of_model}
    both = largest(lambda number: holds(number, **every_expert) is not False, every - 1, every // 2)
    if both <= layers or not holds(both, **every_expert):
        return found
    return found._replace(layers_without_experts=both, left_of_both=_on_host(ranks(LAYERS, both, **every_expert)))


def _on_host(ranks: tuple[Rank, ...]) -> int:
    return sum(rank.own_weights.host_bytes * rank.stages_alike for rank in ranks)


def part_on_gpu(scenario: Scenario, deployment: Deployment, found: OnGpu | None) -> Iterator[Note]:
    """What to ask for where not all of the model fits."""
    every = scenario.model.num_layers + 1
    if found is None or found.layers == every or not way_out(found, scenario):
        return
    ways = []
    if found.host_experts:
        left = format_size(found.left_of_experts or 0, "GiB")
        ways.append(
            f"{_asked(EXPERTS, found.host_experts)} has {left} GiB of weights there, experts of the first layers"
        )
    if found.layers_without_experts:
        left = format_size(found.left_of_both, "GiB")
        ways.append(f"{_both(found, scenario)} has {left} GiB of weights there, all experts and whole layers")
    if found.layers:
        whole = f"{_asked(LAYERS, found.layers)} has {format_size(found.left, 'GiB')} GiB there, whole layers"
        ways.append(whole if ways else whole.replace(" there", " of weights there"))
    cards = f"1 x {scenario.gpu.name}" if deployment.gpus == 1 else f"{deployment.gpus} cards"
    yield note(
        "part-on-gpu",
        f"{cards} with the rest in host memory: {'; '.join(ways)}",
        n_gpu_layers=found.layers,
        n_cpu_moe=found.host_experts,
    )


def way_out(found: OnGpu | None, scenario: Scenario) -> str | None:
    """The options with which the rest is left to the host: experts alone where that is enough."""
    if found is None:
        return None
    if found.layers_without_experts:
        return _both(found, scenario)
    if found.host_experts:
        return _asked(EXPERTS, found.host_experts)
    return _asked(LAYERS, found.layers) if found.layers else None


def _both(found: OnGpu, scenario: Scenario) -> str:
    return f"{_asked(EXPERTS, scenario.model.num_layers)} {_asked(LAYERS, found.layers_without_experts or 0)}"


def _asked(option: str, value: int) -> str:
    return f"--engine-option {option}={value}"
