"""The verb `estimate`: one scenario's cache, memory and GPU count, as a result that every renderer takes."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from typing import TYPE_CHECKING, NamedTuple

from kvcalc.deployment import Deployment, check_legal, stages
from kvcalc.engines import RankLoad
from kvcalc.memory import (
    CUDA_CONTEXT_BYTES,
    Fit,
    RankMemory,
    replica_weights,
    splits_by_layers,
)
from kvcalc.model import count_layers
from kvcalc.scenario import DEFAULT_DTYPE, compute_format
from kvcalc.term import Factor, Product, Sum, Term, leaves
from kvcalc.verbs.smallest import Candidate, evaluate, legal_tps_of_a_node, most_sequences, smallest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kvcalc.formats import ElementFormat
    from kvcalc.model import Layer
from kvcalc.scenario import Scenario


class ModelSummary(NamedTuple):
    """What was estimated."""

    name: str
    layers: int
    mechanisms: tuple[str, ...]
    source: str | None


class WorkloadSummary(NamedTuple):
    """For what."""

    batch: int
    context: int


class DeploymentSummary(NamedTuple):
    """On what: the deployment asked for, or 1 x 1 x 1."""

    engine: str
    engine_version: str | None
    tp: int
    pp: int
    dp: int
    ep: int = 1
    dcp: int = 1
    dp_attention: bool = False


class CacheResult(NamedTuple):
    """The cache.

    Attributes:
        bytes: of one replica, every copy on every rank.
        one_copy_bytes: the same without replication.
        bytes_per_rank: of the fullest rank, as are all figures below.
        bytes_per_sequence: one sequence at this context.
        bytes_per_token: what a token adds while no window is full.
        bytes_per_token_at_context: what the next token adds now.
        state_bytes_per_sequence: what a sequence costs before its first token.
        lower_bound: whether serving engines are known to keep more than this counts.
        without_windows_bytes: of one replica, if windowed layers kept every token, as engines without windows do.
        terms: leaves that add up to `bytes`.
    """

    bytes: int
    one_copy_bytes: int
    bytes_per_rank: int
    bytes_per_sequence: int
    bytes_per_token: int
    bytes_per_token_at_context: int
    state_bytes_per_sequence: int
    lower_bound: bool
    without_windows_bytes: int
    terms: tuple[Product, ...]


class RankResult(NamedTuple):
    """The memory of one rank. What needs the weights is None where they are not known."""

    weights_bytes: int | None
    cache_bytes: int
    temporary_bytes: int
    overhead_bytes: int
    reserve_bytes: int
    total_bytes: int | None
    headroom_bytes: int | None
    tree: Term


class MemoryResult(NamedTuple):
    """The memory of one replica, and of its fullest rank."""

    weights_bytes: int | None
    cache_bytes: int
    temporary_bytes: int
    overhead_bytes: int
    reserve_bytes: int
    total_bytes: int | None
    temporary_low_bytes: int
    temporary_high_bytes: int
    per_rank: RankResult


class MostSequences(NamedTuple):
    """How many sequences at the workload's context a replica of `gpus` tensor-parallel ranks holds."""

    gpus: int
    sequences: int


class GpusResult(NamedTuple):
    """The accelerators.

    Attributes:
        fits: whether every rank of the deployment asked for stays within usable memory with the high temporary figure.
        tight: whether only with less.
        by_memory: ceil(unsplit_bytes / usable_bytes): the articles' formula, a lower bound.
        unsplit_bytes: the total of one rank without any splitting (1 x 1 x 1).
        count: GPUs of the smallest legal deployment that holds the workload, dp x tp x pp; None where there is none.
        count_tight: whether that deployment is tight.
        per_rank: its fullest rank.
        most_sequences: what replicas within a node hold at this context, with the usual temporary figure.
    """

    gpu: str
    memory_bytes: int
    utilization: float
    usable_bytes: int
    fits: bool | None
    tight: bool | None
    by_memory: int | None
    unsplit_bytes: int | None
    count: int | None  # type: ignore[assignment]  # a field here, not the method of tuples
    count_tight: bool | None
    tp: int | None
    pp: int | None
    dp: int | None
    per_rank: RankResult | None
    most_sequences: tuple[MostSequences, ...]


class Estimate(NamedTuple):
    """The answer. `scenario` is what it was computed from."""

    model: ModelSummary
    workload: WorkloadSummary
    deployment: DeploymentSummary
    cache: CacheResult
    memory: MemoryResult
    gpus: GpusResult
    not_modelled: tuple[str, ...]
    notes: tuple[str, ...]
    scenario: Scenario


def estimate(scenario: Scenario) -> Estimate:
    """The cache, the memory and the GPU count of a scenario.

    Raises:
        KvcalcError: the deployment is illegal, a format does not fit the model's rows, or the GPU's memory is unknown.
    """
    model, deployment = scenario.model, scenario.deployment or Deployment()
    kinds = model.distinct()
    check_legal(deployment, (layer.attention for layer in kinds), model.num_layers)
    asked = evaluate(scenario, deployment)
    weights_known = asked.fullest.weights is not None
    found = smallest(scenario) if weights_known else None
    return Estimate(
        model=ModelSummary(
            model.name,
            model.num_layers,
            tuple(dict.fromkeys(layer.attention.kind for layer in kinds)),
            model.source,
        ),
        workload=WorkloadSummary(scenario.workload.batch, scenario.workload.context),
        deployment=DeploymentSummary(
            scenario.engine.name, scenario.engine.version, deployment.tp, deployment.pp, deployment.dp
        ),
        cache=_cache(scenario, deployment, asked),
        memory=_memory(scenario, asked),
        gpus=_gpus(scenario, asked, found),
        not_modelled=tuple(_not_modelled(scenario)),
        notes=tuple(_notes(scenario, asked, found)),
        scenario=scenario,
    )


def replica_cache(scenario: Scenario, deployment: Deployment, *, windows: bool = True) -> Sum:
    """The cache of one replica, every copy on every rank.

    Args:
        scenario: what is asked.
        deployment: over which ranks.
        windows: False counts windowed layers as if they kept every token.
    """
    layers = scenario.model.distinct()
    if not windows:
        layers = _without_windows(layers)
    sequences = -(-scenario.workload.batch // deployment.dp)
    cache = _cache_of(scenario, layers, deployment.tp, sequences, scenario.workload.context)
    if deployment.tp == 1:
        return cache
    ranks = Factor("ranks", deployment.tp, "ranks")
    return Sum(cache.path, tuple(leaf.times(ranks) for leaf in leaves(cache)))


def _cache_of(scenario: Scenario, layers: dict[Layer, int], tp: int, sequences: int, context: int) -> Sum:
    return scenario.engine.rank_cache(RankLoad(layers, tp, sequences, context, scenario.cache_format))


def _without_windows(layers: dict[Layer, int]) -> dict[Layer, int]:
    counts: dict[Layer, int] = {}
    for layer, count in layers.items():
        full = layer._replace(window=None)
        counts[full] = counts.get(full, 0) + count
    return counts


def _cache(scenario: Scenario, deployment: Deployment, asked: Candidate) -> CacheResult:
    context = scenario.workload.context
    rank_layers = count_layers(stages(scenario.model.sequence(), deployment.pp)[asked.fullest.stage])

    def sequence_bytes(tokens: int) -> int:
        return _cache_of(scenario, rank_layers, deployment.tp, 1, tokens).bytes

    state = sequence_bytes(0)
    here = sequence_bytes(context)
    whole = replica_cache(scenario, deployment)
    load = RankLoad(scenario.model.distinct(), deployment.tp, 1, context, scenario.cache_format)
    return CacheResult(
        bytes=whole.bytes,
        one_copy_bytes=replica_cache(scenario, replace(deployment, tp=1, pp=1)).bytes,
        bytes_per_rank=asked.fullest.cache.bytes,
        bytes_per_sequence=here,
        bytes_per_token=sequence_bytes(1) - state,
        bytes_per_token_at_context=sequence_bytes(context + 1) - here,
        state_bytes_per_sequence=state,
        lower_bound=scenario.engine.is_lower_bound(load),
        without_windows_bytes=replica_cache(scenario, deployment, windows=False).bytes,
        terms=leaves(whole),
    )


def _rank(memory: RankMemory, usable_bytes: int) -> RankResult:
    total = memory.total_bytes
    return RankResult(
        weights_bytes=None if memory.weights is None else memory.weights.bytes,
        cache_bytes=memory.cache.bytes,
        temporary_bytes=memory.temporary.term.bytes,
        overhead_bytes=memory.overhead.bytes,
        reserve_bytes=memory.reserve.bytes,
        total_bytes=total,
        headroom_bytes=None if total is None else usable_bytes - total,
        tree=memory.tree,
    )


def _memory(scenario: Scenario, asked: Candidate) -> MemoryResult:
    ranks, rank = asked.deployment.ranks, asked.fullest
    weights = replica_weights(scenario, asked.deployment)
    cache = replica_cache(scenario, asked.deployment).bytes
    temporary = rank.temporary.term.bytes * ranks
    overhead, reserve = rank.overhead.bytes * ranks, rank.reserve.bytes * ranks
    weights_bytes = None if weights is None else weights.bytes
    return MemoryResult(
        weights_bytes=weights_bytes,
        cache_bytes=cache,
        temporary_bytes=temporary,
        overhead_bytes=overhead,
        reserve_bytes=reserve,
        total_bytes=None if weights_bytes is None else weights_bytes + cache + temporary + overhead + reserve,
        temporary_low_bytes=rank.temporary.low * ranks,
        temporary_high_bytes=rank.temporary.high * ranks,
        per_rank=_rank(rank, scenario.usable_bytes),
    )


def gpus_by_memory(total_bytes: int, usable_bytes: int) -> int:
    """The articles' formula: ceil(total / usable). A count by bytes alone is a lower bound, not a deployment."""
    return -(-total_bytes // usable_bytes)


def _gpus(scenario: Scenario, asked: Candidate, found: Candidate | None) -> GpusResult:
    usable = scenario.usable_bytes
    known = asked.fullest.weights is not None
    total = evaluate(scenario, Deployment()).fullest.total_bytes
    return GpusResult(
        gpu=scenario.gpu.name,
        memory_bytes=scenario.memory_bytes,
        utilization=float(scenario.utilization),
        usable_bytes=usable,
        fits=asked.fit is Fit.FITS if known else None,
        tight=asked.fit is Fit.TIGHT if known else None,
        by_memory=None if total is None else gpus_by_memory(total, usable),
        unsplit_bytes=total,
        count=found.deployment.gpus if found else None,
        count_tight=found.fit is Fit.TIGHT if found else None,
        tp=found.deployment.tp if found else None,
        pp=found.deployment.pp if found else None,
        dp=found.deployment.dp if found else None,
        per_rank=_rank(found.fullest, usable) if found else None,
        most_sequences=tuple(_most_sequences(scenario)) if known else (),
    )


def _most_sequences(scenario: Scenario) -> Iterator[MostSequences]:
    for tp in legal_tps_of_a_node(scenario):
        if sequences := most_sequences(scenario, Deployment(tp)):
            yield MostSequences(tp, sequences)


def _not_modelled(scenario: Scenario) -> Iterator[str]:
    model = scenario.model
    if model.mtp_layers:
        yield f"multi-token-prediction layers ({model.mtp_layers} in the checkpoint): their weights and cache"
    if any(modality != "text" for modality in model.modalities):
        yield "activations of vision or audio towers beyond the range of temporary; their tokens count as context"
    bits = compute_format(model)
    if any(_bits(scenario.cache_format.of(name)) < _bits(bits) for name in model.cached_tensors):
        yield f"quality loss of a cache kept in {scenario.cache_format.name}"
    if scenario.weight_format is not None:
        yield f"quality loss of weights in {scenario.weight_format.name}"
    yield "LoRA adapters and draft models (--reserve NAME=SIZE adds a row)"
    yield "rounding to blocks, fragmentation, and prefix caching's blocks that can be evicted"


def _bits(element_format: ElementFormat) -> Fraction:
    return Fraction(8 * element_format.block_bytes, element_format.block_elems)


def _notes(scenario: Scenario, asked: Candidate, found: Candidate | None) -> Iterator[str]:
    yield from scenario.remarks
    yield from _model_notes(scenario, asked)
    yield from _gpu_notes(scenario)
    yield from _deployment_notes(scenario, asked, found)


def _model_notes(scenario: Scenario, asked: Candidate) -> Iterator[str]:
    model, context = scenario.model, scenario.workload.context
    if model.dtype is None:
        yield f"{scenario.origin} does not say its dtype: {DEFAULT_DTYPE} is taken"
    if model.max_context is not None and context > model.max_context:
        yield f"context {context:,} is above the model's max_context of {model.max_context:,}"
    if asked.fullest.weights is None:
        yield (
            f"weights are not known: {scenario.origin} lacks 'parameters'; give --weights SIZE or --parameters N "
            "for the total and the GPU count"
        )
    windowed = {layer: n for layer, n in model.distinct().items() if layer.window and layer.window < context}
    if windowed:
        full = replica_cache(scenario, asked.deployment, windows=False).bytes
        yield (
            f"{sum(windowed.values())} of {model.num_layers} layers keep only their window: a lower bound; engines "
            f"keep somewhat more, and one without windows {full:,} bytes a replica"
        )


def _gpu_notes(scenario: Scenario) -> Iterator[str]:
    gpu = scenario.gpu
    if gpu.memory_from == "nvidia-smi":
        yield (
            f"memory of {gpu.name} is nvidia-smi's figure, which overstates by what the driver keeps (0.4 to 2.9 % on "
            "cards where both are known); --gpu-memory SIZE gives your own"
        )
    left = scenario.memory_bytes - scenario.usable_bytes
    if gpu.memory_from != "user" and left < CUDA_CONTEXT_BYTES:
        yield (
            f"utilization {float(scenario.utilization):g} leaves {left:,} bytes, less than the "
            f"{CUDA_CONTEXT_BYTES:,} that a process's own context takes"
        )


def _deployment_notes(scenario: Scenario, asked: Candidate, found: Candidate | None) -> Iterator[str]:
    shown = asked if scenario.deployment is not None or found is None else found
    deployment = shown.deployment
    copies = replica_cache(scenario, deployment).bytes
    one_copy = replica_cache(scenario, replace(deployment, tp=1)).bytes
    if copies > one_copy:
        yield (
            f"tp {deployment.tp} copies what has fewer heads than ranks: {copies:,} bytes a replica for {one_copy:,} "
            "of one copy"
        )
    if deployment.pp > 1:
        yield (
            "weights over pp: layers are taken as equally large, embedding on the first stage, output head on the last"
            if splits_by_layers(scenario)
            else "weights over pp: taken as even, total / (tp x pp), for want of what each layer has"
        )
    largest = max(shown.memories, key=lambda memory: memory.tree.bytes)
    if largest.tree.bytes > shown.fullest.tree.bytes:
        yield (
            f"pipeline stage {largest.stage} has more memory in all ({largest.tree.bytes:,} bytes) than stage "
            f"{shown.fullest.stage}, which has the most cache; whether it fits counts every stage"
        )
    if found is None and asked.fullest.weights is not None:
        yield f"no legal deployment within nodes of {scenario.gpu.node_size} holds this workload"
