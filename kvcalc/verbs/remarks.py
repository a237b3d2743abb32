"""What an estimate says beside its figures: what is not modelled, and what to know about this one."""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING

from kvcalc.deployment import Deployment
from kvcalc.formats import find_format
from kvcalc.mechanisms import Cross, Role
from kvcalc.memory import CUDA_CONTEXT_BYTES, Fit, split_blocks, weights_basis
from kvcalc.scenario import DEFAULT_DTYPE, checkpoint_format, compute_format
from kvcalc.units import format_size
from kvcalc.verbs.decode import why_no_bound
from kvcalc.verbs.replica import replica_cache

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kvcalc.formats import ElementFormat
    from kvcalc.memory.weights import Basis
    from kvcalc.model import Layer, Model
    from kvcalc.scenario import Scenario
    from kvcalc.verbs.smallest import Candidate


_WEIGHTS_NOTE: dict[Basis, str] = {
    "by place": (
        "weights of a rank: layers are taken as equally large, experts are on the layers that have them, embeddings on "
        "the first stage, the output head on the last"
    ),
    "by layers": "weights of a rank: each part evenly over the layers, experts over those that have them",
    "even": "weights of a rank: total / (tp x pp), for want of what the embedding, each layer or the experts take",
}
"""Of a deployment that does more than divide everything over tensor-parallel ranks."""


def not_modelled(scenario: Scenario, deployment: Deployment) -> Iterator[str]:
    """What is left out and matters for this model on this deployment."""
    yield from weights_not_modelled(scenario, deployment)
    yield from cache_not_modelled(scenario)


def weights_not_modelled(scenario: Scenario, deployment: Deployment) -> Iterator[str]:
    """What is left out of all but the cache."""
    model = scenario.model
    if model.mtp_layers:
        yield f"multi-token-prediction layers ({model.mtp_layers} in the checkpoint): their weights and cache"
    if model.has_towers:
        yield "activations of vision or audio towers beyond the range of temporary; their tokens count as context"
    bits = compute_format(model)
    if scenario.weight_format is not None and scenario.replacements.weights is None:
        yield f"quality loss of weights in {scenario.weight_format.name}"
    if scenario.replacements.weights is None and any(_bits(each) < _bits(bits) for each in _weight_formats(scenario)):
        yield (
            "padding and repacking of quantised weights as an engine loads them "
            "(gpt-oss-120b: 60.77 GiB in the checkpoint, 64.38 in vLLM, llm-d/llm-d-benchmark)"
        )
    if deployment.tp > 1:
        latent = any(layer.attention.kind.startswith("mla") for layer in model.distinct())
        yield (
            "weights that tensor-parallel ranks copy instead of dividing: norms"
            + (", routers" if model.is_mixture_of_experts else "")
            + (", MLA's down projections" if latent else "")
        )
    yield "LoRA adapters and draft models (--reserve NAME=SIZE adds a row)"


def cache_not_modelled(scenario: Scenario) -> Iterator[str]:
    """What is left out of the cache."""
    model = scenario.model
    bits, formats = _bits(compute_format(model)), scenario.cache_format
    kept = [(layer, tensor) for layer in model.distinct() for tensor in layer.attention.cached()]
    if any(_bits(formats.of(layer, tensor)) < bits for layer, tensor in kept if tensor.role is Role.CACHE):
        yield f"quality loss of a cache kept in {formats.name}"
    if any(
        _bits(formats.of(layer, tensor)) < _bits(find_format("fp32", "state"))
        for layer, tensor in kept
        if tensor.role is Role.STATE
    ):
        yield "quality loss of states kept in less than fp32"
    if any(layer.attention.positions_read for layer in model.distinct()):
        yield "what an indexer computes to choose positions"
    yield "rounding to blocks, fragmentation, and prefix caching's blocks that can be evicted"


def _weight_formats(scenario: Scenario) -> list[ElementFormat]:
    if scenario.weight_format is not None:
        return [scenario.weight_format]
    parts = [find_format(part.format, "format") for part in scenario.model.weights]
    return parts or [checkpoint_format(scenario.model)]


def _bits(element_format: ElementFormat) -> Fraction:
    return Fraction(8 * element_format.block_bytes, element_format.block_elems)


def notes(scenario: Scenario, asked: Candidate, found: Candidate | None) -> Iterator[str]:
    """What was assumed, and what else to know.

    Args:
        scenario: what is asked.
        asked: the deployment asked for, or a single rank.
        found: the smallest deployment, if there is one.
    """
    yield from scenario.remarks
    yield from model_notes(scenario, asked.deployment)
    if asked.fullest.weights is None:
        yield unknown_weights(scenario)
    yield from gpu_notes(scenario)
    shown = asked if scenario.deployment is not None or found is None else found
    if asked.fullest.weights is not None:
        yield from _bound_notes(scenario, shown)
    yield from _deployment_notes(scenario, shown)
    if found is None and asked.fullest.weights is not None:
        yield f"no legal deployment within nodes of {scenario.gpu.node_size} holds this workload"


def can_decode(scenario: Scenario, shown: Candidate) -> bool:
    """Whether the deployment holds the workload, if need be with cache in the host's memory."""
    return scenario.spill or shown.fit is not Fit.NO


def _bound_notes(scenario: Scenario, shown: Candidate) -> Iterator[str]:
    if missing := why_no_bound(scenario):
        yield f"no bound of decoding: {missing}"
    elif not can_decode(scenario, shown):
        yield (
            f"no bound of decoding: {shown.deployment} does not hold the workload (--spill keeps the cache that has no "
            "room in the host's memory)"
        )


def unknown_weights(scenario: Scenario) -> str:
    """What is missing where weights are not known, and how to give it."""
    return (
        f"weights are not known: {scenario.origin} lacks 'parameters'; give --weights SIZE or --parameters N for the "
        "total and the GPU count"
    )


def model_notes(scenario: Scenario, deployment: Deployment) -> Iterator[str]:
    """What to know of the model at this context."""
    model, context = scenario.model, scenario.workload.context
    if model.dtype is None:
        yield f"{scenario.origin} does not say its dtype: {DEFAULT_DTYPE} is taken"
    if model.max_context is not None and context > model.max_context:
        yield f"context {context:,} is above the model's max_context of {model.max_context:,}"
    windowed = {layer: n for layer, n in model.distinct().items() if layer.limits(context)}
    if windowed:
        full = replica_cache(scenario, deployment, windows=False).bytes
        names = [*dict.fromkeys(layer.span.name for layer in windowed if layer.span)]
        own, without = " or ".join(names), " or ".join(f"{name}s" for name in names)
        yield (
            f"{sum(windowed.values())} of {model.num_layers} layers keep only their {own}: a lower bound; engines "
            f"keep somewhat more, and an engine without {without} {full:,} bytes a replica"
        )
    yield from _state_notes(model)


def _state_notes(model: Model) -> Iterator[str]:
    """What engines keep beside the states that are counted."""
    kinds = model.distinct()
    with_state = {layer: n for layer, n in kinds.items() if _keeps(layer, Role.STATE) or _keeps(layer, Role.CONV)}
    if with_state:
        yield (
            f"{sum(with_state.values())} of {model.num_layers} layers keep a state of one size whatever the context: a "
            "lower bound; vLLM pads states to its pages and keeps two where prefixes are cached, transformers keeps "
            "conv_kernel inputs instead of conv_kernel - 1"
        )
    encoders = {layer.attention.encoder_context for layer in kinds if isinstance(layer.attention, Cross)}
    if encoders:
        tokens = " or ".join(f"{each:,}" for each in sorted(encoders))
        yield f"each sequence is taken to have an encoder's {tokens} tokens, which engines may set aside in any case"


def _keeps(layer: Layer, role: Role) -> bool:
    return any(tensor.role is role for tensor in layer.attention.cached())


def gpu_notes(*scenarios: Scenario) -> Iterator[str]:
    """What to know of the memory of these scenarios' accelerators."""
    gpus = {scenario.gpu.name: scenario for scenario in scenarios}
    overstated = [name for name, scenario in gpus.items() if scenario.gpu.memory_from == "nvidia-smi"]
    if overstated:
        yield (
            f"memory of {', '.join(overstated)} is nvidia-smi's figure, which overstates by what the driver keeps "
            "(0.4 to 2.9 % on cards where both are known); --gpu-memory SIZE gives your own"
        )
    for scenario in gpus.values():
        yield from _context_note(scenario)


def _context_note(scenario: Scenario) -> Iterator[str]:
    """Whether a process's own context has room beside what may be used."""
    gpu = scenario.gpu
    left = scenario.memory_bytes - scenario.usable_bytes
    if gpu.memory_from != "user" and left < CUDA_CONTEXT_BYTES:
        yield (
            f"utilization {float(scenario.utilization):g} leaves {left:,} bytes, less than the "
            f"{CUDA_CONTEXT_BYTES:,} that a process's own context takes"
        )


def _deployment_notes(scenario: Scenario, shown: Candidate) -> Iterator[str]:
    deployment = shown.deployment
    copies = replica_cache(scenario, deployment).bytes
    one_copy = replica_cache(scenario, Deployment(dp=deployment.dp)).bytes
    if copies > one_copy:
        yield (
            f"tp {deployment.tp} cannot divide all of the cache: {copies:,} bytes a replica with its copies, "
            f"{one_copy:,} without"
        )
    if shown.fit is Fit.TIGHT:
        room = min(scenario.usable_bytes - memory.tree.bytes + memory.temporary.term.bytes for memory in shown.memories)
        yield f"tight: holds only while temporary memory stays within {room:,} bytes ({format_size(room, 'GiB')} GiB)"
    if scenario.deployment is None and deployment.dp > 1:
        yield f"no single replica holds the batch: {deployment.gpus:,} GPUs are {deployment.dp:,} replicas"
    basis = weights_basis(scenario, deployment)
    if basis in _WEIGHTS_NOTE and shown.fullest.weights is not None:
        yield _WEIGHTS_NOTE[basis]
    yield from split_blocks(scenario, deployment)
    largest = max(shown.memories, key=lambda memory: memory.tree.bytes)
    if largest.tree.bytes > shown.fullest.tree.bytes:
        yield (
            f"pipeline stage {largest.stage} has more memory in all ({largest.tree.bytes:,} bytes) than stage "
            f"{shown.fullest.stage}, which has the most cache; whether it fits counts every stage"
        )
