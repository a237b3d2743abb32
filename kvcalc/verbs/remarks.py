"""What an estimate says beside its figures: what is not modelled, and what to know about this one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvcalc.deployment import Deployment
from kvcalc.formats.weights import find_weight_format
from kvcalc.mechanisms import MLA
from kvcalc.memory import CUDA_CONTEXT_BYTES, Fit, split_blocks, uncounted_copies, weights_basis
from kvcalc.memory.copies import ROUTERS, copied_weights
from kvcalc.memory.parts import expert_parameters
from kvcalc.scenario import checkpoint_format, compute_format
from kvcalc.verbs.cache_remarks import bits, cache_not_modelled, model_notes
from kvcalc.verbs.decode_bound import why_no_bound
from kvcalc.verbs.replica import replica_bytes

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kvcalc.formats.element import ElementFormat
    from kvcalc.gpu import Gpu
    from kvcalc.memory import Ranks
    from kvcalc.memory.weights import Basis
    from kvcalc.scenario import Scenario
    from kvcalc.verbs.deployment_search import Candidate


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
    computing = bits(compute_format(model))
    if scenario.weight_format is not None and scenario.replacements.weights is None:
        yield f"quality loss of weights in {scenario.weight_format.name}"
    if scenario.replacements.weights is None and any(bits(each) < computing for each in _weight_formats(scenario)):
        yield (
            "padding and repacking of quantised weights as an engine loads them "
            "(gpt-oss-120b: 60.77 GiB in the checkpoint, 64.38 GiB in vLLM, llm-d/llm-d-benchmark)"
        )
    if deployment.tp > 1 and (copied := list(_copied(scenario, deployment))):
        yield f"weights that tensor-parallel ranks copy instead of dividing: {', '.join(copied)}"
    yield "LoRA adapters and draft models (--reserve NAME=SIZE adds a row)"


def _copied(scenario: Scenario, deployment: Deployment) -> Iterator[str]:
    """What ranks copy and is not counted, what is known to be largest first."""
    model, stated = scenario.model, scenario.replacements.weights is None and scenario.model.states_copies
    uncounted = uncounted_copies(scenario, deployment)
    for each in sorted(uncounted, key=lambda each: each.parameters, reverse=True):
        yield f"{each.name} ({each.parameters:,} parameters)"
    kinds = {layer.attention.kind: layer.attention for layer in model.distinct()}
    if model.hidden_size is None:
        names = (projection.name for attention in kinds.values() for projection in attention.projections(1))
        yield from dict.fromkeys(names)
    if any(isinstance(each, MLA) and each.index_head_dim and not each.index_n_heads for each in kinds.values()):
        yield "indexer's projections"
    if "kda" in kinds:
        yield "low-rank gates of Kimi delta attention"
    if model.is_mixture_of_experts and not stated and (model.weights or not expert_parameters(model)):
        yield ROUTERS
    if not stated:
        yield "norms, biases and other small weights"
    elif copied_weights(scenario, deployment.tp):
        yield "biases"


def _weight_formats(scenario: Scenario) -> list[ElementFormat]:
    if scenario.weight_format is not None:
        return [scenario.weight_format]
    parts = [find_weight_format(part.format, "format") for part in scenario.model.weights]
    return parts or [checkpoint_format(scenario.model)]


def notes(ranks: Ranks, asked: Candidate, found: Candidate | None) -> Iterator[str]:
    """What was assumed, and what else to know.

    Args:
        ranks: of the scenario that is asked.
        asked: the deployment asked for, or a single rank.
        found: the smallest deployment, if there is one.
    """
    scenario = ranks.scenario
    yield from scenario.remarks
    yield from model_notes(scenario, asked.deployment, ranks)
    if not asked.weights_known:
        yield unknown_weights(scenario)
    yield from gpu_notes(scenario)
    shown = asked if scenario.deployment is not None or found is None else found
    if asked.weights_known:
        yield from _bound_notes(scenario, shown)
    yield from _deployment_notes(ranks, shown)
    if found is None and asked.weights_known:
        yield f"no legal deployment within nodes of {scenario.gpu.node_size} holds this workload"


def can_decode(scenario: Scenario, shown: Candidate) -> bool:
    """Whether the deployment holds the workload, if need be with cache in the host's memory."""
    return scenario.spill or shown.fit is not Fit.NO


def _bound_notes(scenario: Scenario, shown: Candidate) -> Iterator[str]:
    if missing := why_no_bound(scenario, shown.deployment):
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
        yield from _devices_note(scenario.gpu)
        yield from _context_note(scenario)


def _devices_note(gpu: Gpu) -> Iterator[str]:
    """That a program sees more of them than there are packages."""
    if gpu.devices > 1:
        yield (
            f"{gpu.name} is {gpu.devices} devices to software, each with 1/{gpu.devices} of its memory, bandwidth and "
            f"rates; here one GPU is all of it, so a program runs {gpu.devices} ranks where kvcalc counts one"
        )


def _context_note(scenario: Scenario) -> Iterator[str]:
    """Whether a process's own context has room beside what may be used."""
    gpu = scenario.gpu
    left = scenario.memory_bytes - scenario.usable_bytes
    if gpu.memory_from != "user" and left < CUDA_CONTEXT_BYTES:
        yield (
            f"utilization {float(scenario.utilization):g} leaves {left:,} bytes, less than the "
            f"{CUDA_CONTEXT_BYTES:,} bytes that a process's own context takes"
        )


def _deployment_notes(ranks: Ranks, shown: Candidate) -> Iterator[str]:
    scenario, deployment = ranks.scenario, shown.deployment
    copies = replica_bytes(scenario, deployment, ranks)
    one_copy = replica_bytes(scenario, Deployment(dp=deployment.dp), ranks)
    if copies > one_copy:
        yield (
            f"tp {deployment.tp} cannot divide all of the cache: {copies:,} bytes a replica with its copies, "
            f"{one_copy:,} bytes without"
        )
    if shown.fit is Fit.TIGHT:
        room = scenario.usable_bytes - shown.most_bytes + shown.ranks[0].temporary.term.bytes
        yield f"tight: holds only while temporary memory stays within {room:,} bytes"
    if scenario.deployment is None and deployment.dp > 1:
        yield f"no single replica holds the batch: {deployment.gpus:,} GPUs are {deployment.dp:,} replicas"
    basis = weights_basis(scenario, deployment)
    if basis in _WEIGHTS_NOTE and shown.weights_known:
        yield _WEIGHTS_NOTE[basis]
    yield from split_blocks(scenario, deployment)
    largest, fullest = shown.largest_rank, shown.fullest_rank
    most = shown.bytes_of(largest)
    if most > shown.bytes_of(fullest):
        yield (
            f"pipeline stage {largest.stage} has more memory in all, {most:,} bytes, than stage "
            f"{fullest.stage}, which has the most cache; whether it fits counts every stage"
        )
