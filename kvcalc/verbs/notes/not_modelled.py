"""What is left out of a result's figures and matters for its model."""

from __future__ import annotations

from fractions import Fraction
from functools import lru_cache
from typing import TYPE_CHECKING

from kvcalc.formats.by_name import find_format
from kvcalc.formats.file_types import shown
from kvcalc.formats.weights import find_weight_format
from kvcalc.mechanisms import MLA, Role
from kvcalc.memory import uncounted_copies
from kvcalc.memory.copies import copied_weights
from kvcalc.memory.parts import states_copies
from kvcalc.model.apart import expert_parameters, told_apart
from kvcalc.model.quantised import ROUTERS
from kvcalc.note import Note, note
from kvcalc.scenario import checkpoint_format, compute_format
from kvcalc.verbs.searching.replica import kept_format

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kvcalc.deployment import Deployment
    from kvcalc.formats.element import ElementFormat
    from kvcalc.scenario import Scenario


def cache_not_modelled(scenario: Scenario, deployment: Deployment | None = None) -> Iterator[Note]:
    """What is left out of the cache.

    Args:
        scenario: what is asked.
        deployment: over which ranks; None: the one asked for, else one rank.
    """
    model = scenario.model
    computing, formats = bits(compute_format(model)), kept_format(scenario, deployment)
    kept = [(layer, tensor) for layer in model.distinct() for tensor in layer.attention.cached()]
    kept_in = (formats.of(layer, tensor) for layer, tensor in kept if tensor.role is Role.CACHE)
    narrow = [each.name for each in kept_in if bits(each) < computing]
    if narrow:
        as_asked = formats == scenario.cache_format
        name = formats.name if as_asked else " and ".join(dict.fromkeys(narrow))
        yield note("cache-quality", f"quality loss of a cache kept in {name}", format=name)
    if any(
        bits(formats.of(layer, tensor)) < bits(find_format("fp32", "state"))
        for layer, tensor in kept
        if tensor.role is Role.STATE
    ):
        yield note("state-quality", "quality loss of states kept in less than fp32")
    if any(layer.attention.positions_read for layer in model.distinct()):
        yield note("indexer-computing", "what an indexer computes to choose positions")
    yield from scenario.engine.not_modelled()


@lru_cache(maxsize=256)
def bits(element_format: ElementFormat) -> Fraction:
    """Of an element, a block's scales included."""
    return Fraction(8 * element_format.block_bytes, element_format.block_elems)


def not_modelled(scenario: Scenario, deployment: Deployment) -> Iterator[Note]:
    """What is left out and matters for this model on this deployment."""
    yield from weights_not_modelled(scenario, deployment)
    yield from cache_not_modelled(scenario, deployment)


def weights_not_modelled(scenario: Scenario, deployment: Deployment) -> Iterator[Note]:
    """What is left out of all but the cache."""
    model = scenario.model
    drafting = scenario.drafting
    counted = drafting is not None and drafting.own_layers
    if model.mtp_layers and not (drafting and counted and drafting.weighs):
        left_out = "their weights" if counted else "their weights and cache (--mtp N)"
        yield note(
            "mtp-layers",
            f"multi-token-prediction layers ({model.mtp_layers} in the checkpoint): {left_out}",
            layers=model.mtp_layers,
        )
    if model.has_towers:
        yield note(
            "tower-activations",
            "activations of vision or audio towers beyond the range of temporary; their tokens count as context",
        )
    computing = bits(compute_format(model))
    if scenario.weight_format is not None and scenario.replacements.weights is None:
        name = shown(scenario.weight_format)
        yield note("weight-quality", f"quality loss of weights in {name}", format=name)
    quantised = scenario.replacements.weights is None and any(
        bits(each) < computing for each in _weight_formats(scenario)
    )
    if quantised and scenario.engine.plain:
        yield note(
            "quantised-weights-as-loaded",
            "padding and repacking of quantised weights as an engine loads them "
            "(gpt-oss-120b: 60.77 GiB in the checkpoint, 64.38 GiB in vLLM, llm-d/llm-d-benchmark)",
        )
    if deployment.tp > 1 and (copied := tuple(_copied(scenario, deployment))):
        yield note(
            "copied-weights",
            f"weights that tensor-parallel ranks copy instead of dividing: {', '.join(copied)}",
            weights=copied,
        )
    if left_out := " and ".join(_beside(scenario)):
        yield note("adapters-and-drafts", left_out)


def _beside(scenario: Scenario) -> Iterator[str]:
    """What may be loaded beside the model, and is not asked for."""
    model = scenario.model
    if scenario.lora is None:
        yield "LoRA adapters (--lora RANK)"
    else:
        if model.is_mixture_of_experts and "experts" not in (scenario.lora.modules or ()):
            yield "LoRA adapters of routed experts"
        from kvcalc.engines.module_names import names_of  # only beside adapters

        names = names_of(model)
        if any(layer.attention.kept_per == "sequence" for layer in model.distinct()):
            yield "LoRA adapters of layers with states"
        elif names is not None and names.beside:
            yield f"LoRA adapters of {', '.join(names.beside)}"
        if scenario.engine.adapters_left_out is not None:
            yield scenario.engine.adapters_left_out
    if scenario.drafting is None:
        yield "draft models (--draft MODEL)"


def _copied(scenario: Scenario, deployment: Deployment) -> Iterator[str]:
    """What ranks copy and is not counted, what is known to be largest first."""
    model, stated = scenario.model, states_copies(scenario)
    uncounted = uncounted_copies(scenario, deployment)
    for each in sorted(uncounted, key=lambda each: each.parameters, reverse=True):
        yield f"{each.name} ({each.parameters:,} parameters)"
    kinds = {layer.attention.kind: layer.attention for layer in model.distinct()}
    if model.hidden_size is None:
        names = (projection.name for attention in kinds.values() for projection in attention.projections(1))
        yield from dict.fromkeys(names)
    if any(isinstance(each, MLA) and each.index_head_dim and not each.index_n_heads for each in kinds.values()):
        yield "indexer's projections"
    if model.is_mixture_of_experts and not stated and (model.weights or not expert_parameters(model)):
        yield ROUTERS
    if not stated:
        apart = told_apart(model)
        beside = 0 if apart is None or not apart.beside else apart.beside - (model.position_parameters or 0)
        yield "norms, biases and other small weights" + (f" (at most {beside:,} parameters)" if beside else "")
    elif copied_weights(scenario, deployment.tp):
        yield "biases"


def _weight_formats(scenario: Scenario) -> list[ElementFormat]:
    if scenario.weight_format is not None:
        return [scenario.weight_format]
    parts = [find_weight_format(part.format, "format") for part in scenario.model.weights]
    return parts or [checkpoint_format(scenario.model)]
