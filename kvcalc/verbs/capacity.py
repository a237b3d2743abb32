"""The verb `capacity`: how much a deployment holds, the inverse of `estimate`."""

from __future__ import annotations

import math
from dataclasses import asdict, replace
from fractions import Fraction
from typing import TYPE_CHECKING

from kvcalc.deployment import Deployment
from kvcalc.legality import check_legal
from kvcalc.memory import Ranks, ranks_of
from kvcalc.note import Note, note
from kvcalc.scenario import Workload
from kvcalc.scenario.mix import Mix, longest
from kvcalc.verbs.capacity_result import Capacity, Total
from kvcalc.verbs.estimate_parts import seen_range
from kvcalc.verbs.notes.not_modelled import cache_not_modelled, not_modelled
from kvcalc.verbs.notes.of_gpus import gpu_notes
from kvcalc.verbs.notes.of_models import model_notes, waiting
from kvcalc.verbs.notes.of_weights import weight_notes
from kvcalc.verbs.offload import EXPERTS, LAYERS, OnGpu, on_gpu, part_on_gpu
from kvcalc.verbs.question import Accelerator, ModelSummary, Question, WorkloadSummary
from kvcalc.verbs.requests.mixed import kinds_of
from kvcalc.verbs.requests.pools import pools
from kvcalc.verbs.requests.tiers import handoff, tiers
from kvcalc.verbs.searching.candidate import refuse_more_than_held
from kvcalc.verbs.searching.capacity_search import Replica, least, most, refuse_unknown_weights, replica_of, usual
from kvcalc.verbs.searching.deployment_search import smallest
from kvcalc.verbs.searching.longest_context import longest_context
from kvcalc.verbs.searching.resolve import resolve

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from kvcalc.engines import Temporary
    from kvcalc.memory import Rank
    from kvcalc.scenario import Scenario
    from kvcalc.scenario.mix import Lengths
    from kvcalc.term import Sum


def capacity(scenario: Scenario, cache_memory: int | None = None) -> Capacity:
    """The most tokens, sequences and context that fit.

    Args:
        scenario: what is asked; its batch is what the longest context is for. Without a deployment, the smallest that
            holds its workload is taken, or the smallest that holds one sequence.
        cache_memory: bytes that each rank has for its cache; then accelerator, weights, temporary memory and overhead
            play no part, and one rank is taken where no deployment is asked for.

    Raises:
        KvcalcError: the deployment is illegal, or the weights are not known.
    """
    asked_for = scenario.deployment
    scenario = resolve(scenario)
    if cache_memory is None and scenario.deployment is None:
        scenario = _with_smallest(scenario)
    deployment = scenario.deployment or Deployment()
    check_legal(deployment, scenario.model)
    refuse_more_than_held(scenario, deployment, Ranks(scenario))
    replica = _replica(scenario, deployment, cache_memory, usual)
    context, lengths = scenario.workload.context, scenario.workload.lengths
    sequences, pool = replica.most_sequences(lengths), replica.pool(context)
    tokens = replica.most_tokens(lengths) if pool is None else pool.tokens
    limited = sequences is not None and sequences == replica.limit
    fullest = _shown(scenario, replica, sequences or 0)
    seen = (cache_memory, cache_memory) if cache_memory is not None else replica.ranks[fullest].memory_seen_for_cache
    longest = longest_context(scenario, deployment, usual, replica)
    placed = on_gpu(scenario, deployment) if cache_memory is None else None
    used = None if cache_memory is not None else Accelerator.of(scenario, replica.ranks[fullest].usable_bytes)
    sent = handoff(Ranks(scenario), deployment)
    return Capacity(
        model=ModelSummary.of(scenario.model),
        workload=WorkloadSummary.of(scenario.workload),
        mix=kinds_of(scenario.workload),
        engine=scenario.engine.name,
        engine_version=scenario.engine.version,
        deployment=deployment,
        gpus=used,
        cache_memory_bytes=max(0, replica.cache_memory[fullest]),
        cache_memory_low_bytes=max(0, seen[0]),
        cache_memory_high_bytes=max(0, seen[1]),
        blocks=None if pool is None else pool.blocks,
        block_size=None if pool is None else pool.block_size,
        tokens=tokens,
        sequences=sequences,
        sequences_at_temporary_low=_replica(scenario, deployment, cache_memory, least).most_sequences(lengths),
        sequences_at_temporary_high=_replica(scenario, deployment, cache_memory, most).most_sequences(lengths),
        concurrency=_concurrency(replica, scenario, sequences) if pool is None else pool.concurrency,
        max_context=longest,
        limited_by="none" if tokens is None else "sequences" if limited else "memory",
        n_gpu_layers=None if placed is None else placed.layers,
        n_cpu_moe=None if placed is None else placed.host_experts,
        total=Total(*(None if each is None else each * deployment.dp for each in (tokens, sequences))),
        one_more_lacks_bytes=None if limited or sequences is None else replica.lacks(sequences + 1, lengths),
        tiers=tiers(Ranks(scenario), deployment),
        handoff=sent,
        pools=pools(Ranks(scenario), deployment, cache_memory),
        not_modelled=tuple(
            not_modelled(scenario, deployment) if cache_memory is None else cache_not_modelled(scenario)
        ),
        notes=(
            *scenario.notes,
            *_notes(scenario, deployment, cache_memory, replica, fullest, longest),
            *_part_on_gpu(scenario, deployment, placed, asked_for),
        ),
        question=Question.of(scenario, used),
        temporary_seen=seen_range(replica.ranks[fullest].temporary),
        scenario=scenario,
        at_limit=_at_limit(replica.ranks[fullest], sequences or 0, lengths, cache_memory),
    )


def _part_on_gpu(
    scenario: Scenario, deployment: Deployment, placed: OnGpu | None, asked_for: Deployment | None
) -> Iterator[Note]:
    """How much of the model these cards hold, or one card where nobody asked for several; not where that is given."""
    if dict(scenario.engine.given).keys() & {LAYERS, EXPERTS}:
        return
    if placed is not None and asked_for is None and deployment.gpus > 1 and scenario.gpu.number_together is None:
        deployment, placed = Deployment(), on_gpu(scenario, Deployment())
    yield from part_on_gpu(scenario, deployment, placed)


def nearest(result: Capacity) -> Deployment | None:
    """For a capacity of none, the smallest deployment that holds one sequence, or a token of each of the batch."""
    batch = result.workload.batch
    workload = result.scenario.workload
    least = replace(workload, batch=1) if result.sequences == 0 else Workload(batch, 1)
    found = smallest(replace(result.scenario, workload=least, deployment=None), figure=usual)
    return found.deployment if found else None


def _with_smallest(scenario: Scenario) -> Scenario:
    """With the smallest deployment that holds the workload, else one sequence, at the usual temporary figure."""
    refuse_unknown_weights(scenario, Ranks(scenario).weights_of(Deployment()))
    one = replace(scenario, workload=replace(scenario.workload, batch=1))
    whole = smallest(scenario, figure=usual)
    found = whole or smallest(one, figure=usual)
    if found is None:
        return scenario
    held = "the workload" if whole else "one sequence"
    taken = note(
        "smallest-deployment",
        f"{found.deployment} is used, the smallest deployment that holds {held} (--tp N sets it)",
        holds=held,
        **asdict(found.deployment),
    )
    return replace(scenario, deployment=found.deployment, notes=(*scenario.notes, taken))


def _replica(
    scenario: Scenario, deployment: Deployment, cache_memory: int | None, figure: Callable[[Temporary], int]
) -> Replica:
    if cache_memory is None:
        return replica_of(scenario, deployment, figure)
    ranks = ranks_of(scenario, deployment)
    return Replica(ranks, (cache_memory,) * len(ranks))


def _at_limit(rank: Rank, sequences: int, context: Lengths, cache_memory: int | None) -> Sum:
    memory = rank.holding(sequences, context)
    return memory.cache if cache_memory is not None else memory.tree


def _shown(scenario: Scenario, replica: Replica, sequences: int) -> int:
    """The rank that figures are of: by plain formulas the one with the most cache, else the one that is full."""
    context, stages = scenario.workload.lengths, range(len(replica.ranks))
    if scenario.engine.plain:
        return max(stages, key=lambda index: (replica.ranks[index].cache_bytes(1, context), -index))
    lacks = [
        replica.takes(rank, sequences + 1, context) - memory
        for rank, memory in zip(replica.ranks, replica.cache_memory, strict=True)
    ]
    return max(stages, key=lambda index: (lacks[index], -index))


def _concurrency(replica: Replica, scenario: Scenario, sequences: int | None) -> float | None:
    """How many sequences the fullest rank holds, with the part of one that is left over."""
    found, context = [], scenario.workload.lengths
    differ = isinstance(context, Mix) and len({kind.peak for kind in context.kinds}) > 1
    for rank, memory in zip(replica.ranks, replica.cache_memory, strict=True):
        rate = rank.rate(longest(context))
        if not rate.bytes_per_sequence:
            continue
        shared = rate.shared_bytes * scenario.prefix_groups
        exactly = Fraction(max(0, memory - shared), rate.bytes_per_sequence)
        if exactly < scenario.prefix_groups > 1:
            exactly = Fraction(memory, rate.bytes_per_sequence + rate.shared_bytes)
        if sequences is not None and (differ or replica.temporary_grows(rank, sequences, context)):
            left = max(0, memory - replica.takes(rank, sequences, context)) if sequences else memory
            another = replica.takes(rank, sequences + 1, context) - (memory - left)
            exactly = sequences + min(Fraction(max(0, left), max(1, another)), Fraction(99, 100))
        found.append(exactly)
    if replica.limit is not None:
        found.append(Fraction(replica.limit))
    return math.floor(min(found) * 100) / 100 if found else None


def _notes(
    scenario: Scenario,
    deployment: Deployment,
    cache_memory: int | None,
    replica: Replica,
    fullest: int,
    longest: int | None,
) -> Iterator[Note]:
    yield from model_notes(scenario, deployment)
    if cache_memory is None:
        yield from weight_notes(scenario)
        yield from gpu_notes(scenario)
    limit = scenario.model.max_context
    if limit is not None and (longest is None or longest > limit):
        yield note(
            "longest-context-above-max-context",
            f"the longest context by memory is above the model's max_context of {limit:,}",
            longest_context=longest,
            max_context=limit,
        )
    sequences = replica.most_sequences(scenario.workload.lengths)
    yield from waiting(scenario, replica.ranks[fullest].settled.most_at_once, sequences)
    if min(replica.cache_memory) < 0:
        lacks, stated = -min(replica.cache_memory), cache_memory is None and replica.ranks[fullest].stated_cache_bytes
        what = f"a cache of {stated:,} bytes and all else" if stated else "all but the cache"
        yield note("no-memory-for-cache", f"a rank lacks {lacks:,} bytes for {what}", lacks_bytes=lacks)
    elif sequences not in {None, replica.limit}:
        short = [
            rank.stage
            for rank, memory in zip(replica.ranks, replica.cache_memory, strict=True)
            if replica.takes(rank, sequences + 1, scenario.workload.lengths) > memory
        ]
        if replica.ranks[fullest].stage not in short:
            yield note(
                "limiting-stage",
                f"pipeline stage {short[0]} limits: it has less memory beside its weights than the fullest",
                stage=short[0],
            )
