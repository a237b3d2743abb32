"""The verb `estimate`: one scenario's cache, memory and GPU count."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvcalc.deployment import Deployment
from kvcalc.engines import Load
from kvcalc.memory import Fit, Ranks
from kvcalc.memory.known_ranks import known_ranks
from kvcalc.term import leaves
from kvcalc.verbs.bounds.decode import decode_bound
from kvcalc.verbs.bounds.prefill import prefill_bound
from kvcalc.verbs.bounds.spill import spilled
from kvcalc.verbs.estimate_parts import (
    beside_cache,
    gpus_by_memory,
    looked_at,
    memory_of,
    rank_of,
    seen_range,
    sequences_held,
    unsplit_rank,
)
from kvcalc.verbs.estimate_result import (
    Answer,
    CacheResult,
    Estimate,
    GpusResult,
    MostSequences,
    RankResult,
    SpillResult,
)
from kvcalc.verbs.notes.not_modelled import not_modelled
from kvcalc.verbs.notes.of_answers import can_decode, notes
from kvcalc.verbs.question import Accelerator, ModelSummary, Question, WorkloadSummary
from kvcalc.verbs.requests.mixed import kinds_of, on_average, percentiles
from kvcalc.verbs.requests.tiers import handoff, tiers
from kvcalc.verbs.searching.candidate import Candidate
from kvcalc.verbs.searching.deployment_search import legal_tps_of_a_node, most_sequences, smallest
from kvcalc.verbs.searching.replica import bytes_without_windows, one_copy_bytes, replica_bytes, replica_cache
from kvcalc.verbs.searching.resolve import resolve

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kvcalc.scenario import Scenario
    from kvcalc.term import Sum
    from kvcalc.verbs.bounds.decode import DecodeBound
    from kvcalc.verbs.requests.pools import Pool


def estimate(scenario: Scenario) -> Estimate:
    """The cache, the memory and the GPU count of a scenario.

    Raises:
        KvcalcError: the deployment is illegal, a format does not fit the model's rows, or the GPU's memory is unknown.
    """
    scenario = resolve(scenario)
    model, deployment, ranks = scenario.model, scenario.deployment or Deployment(), known_ranks(scenario)
    asked, found, shown = looked_at(scenario, ranks, smallest)
    weights_known = asked.weights_known
    used = Accelerator.of(scenario, shown.largest_rank.usable_bytes)
    sent = handoff(ranks, shown.deployment)
    can = weights_known and can_decode(scenario, shown)
    decode = decode_bound(scenario, shown.deployment, ranks) if can else None
    held = on_average(scenario, ranks.settled(deployment))
    whole = deployment.ranks == 1 and held is scenario
    cache = asked.fullest.cache if whole else replica_cache(held, deployment, ranks)
    peak = cache.bytes if held is scenario else replica_bytes(scenario, deployment, ranks)
    asked_rank = rank_of(asked)
    found_rank = None if found is None else rank_of(found)
    return Estimate(
        model=ModelSummary.of(model),
        workload=WorkloadSummary.of(scenario.workload),
        mix=kinds_of(scenario.workload),
        engine=scenario.engine.name,
        engine_version=scenario.engine.version,
        deployment=deployment,
        answer=_answer(ranks, shown, found_rank if shown is found and found_rank else asked_rank),
        cache=_cache(ranks, held, cache, peak, asked),
        memory=memory_of(beside_cache(scenario, asked, ranks), peak, asked_rank),
        gpus=_gpus(ranks, asked, found, found_rank, used),
        decode=decode,
        measured=None,
        prefill=prefill_bound(scenario, shown.deployment, ranks) if can else None,
        spill=_spill(ranks, shown.deployment, decode) if scenario.spill else None,
        tiers=tiers(ranks, shown.deployment),
        handoff=sent,
        pools=_pools(ranks, shown.deployment),
        not_modelled=ranks.once(not_modelled, shown.deployment),
        notes=tuple(notes(ranks, asked, found)),
        question=Question.of(scenario, used),
        temporary_seen=seen_range(shown.fullest.temporary),
        scenario=scenario,
    )


def _answer(ranks: Ranks, shown: Candidate, rank: RankResult) -> Answer:
    scenario, deployment = ranks.scenario, shown.deployment
    known = rank.total_bytes is not None
    return Answer(
        gpus=deployment.gpus,
        gpu=scenario.gpu.name,
        deployment=deployment,
        fits=shown.fit is Fit.FITS if known else None,
        tight=shown.fit is Fit.TIGHT if known else None,
        bytes_per_gpu=rank.total_bytes,
        headroom_bytes=rank.least_headroom_bytes,
        sequences=sequences_held(scenario, shown, ranks),
    )


def _spill(ranks: Ranks, deployment: Deployment, decode: DecodeBound | None) -> SpillResult:
    found = spilled(ranks.scenario, deployment, ranks)
    return SpillResult(found.bytes_per_rank, found.bytes, decode.seconds_per_token if decode else None)


def _cache(ranks: Ranks, scenario: Scenario, whole: Sum, peak: int, asked: Candidate) -> CacheResult:
    """Of a scenario whose requests may hold what they do on average."""
    deployment, fullest = asked.deployment, asked.fullest_rank
    context, lengths = scenario.workload.context, scenario.workload.lengths
    rate = fullest.rate(context)
    return CacheResult(
        bytes=whole.bytes,
        one_copy_bytes=one_copy_bytes(scenario, deployment, ranks),
        peak_bytes=peak,
        percentiles=percentiles(scenario, ranks.settled(deployment)),
        bytes_per_rank=fullest.cache_bytes(asked.sequences, lengths),
        bytes_per_sequence=rate.bytes_per_sequence + rate.shared_bytes,
        bytes_per_token=rate.bytes_per_token,
        bytes_per_token_at_context=rate.bytes_per_token_at_context,
        state_bytes_per_sequence=rate.state_bytes_per_sequence,
        lower_bound=ranks.settled(deployment).lower_bound(Load(1, context)),
        without_windows_bytes=bytes_without_windows(scenario, deployment, ranks),
        terms=leaves(whole),
        tree=whole,
    )


def _gpus(
    ranks: Ranks, asked: Candidate, found: Candidate | None, found_rank: RankResult | None, used: Accelerator
) -> GpusResult:
    scenario = ranks.scenario
    known = asked.weights_known
    unsplit = unsplit_rank(scenario, ranks)
    total = None if unsplit is None else unsplit.total_bytes
    usable = used.usable_bytes if unsplit is None else unsplit.largest_rank.usable_bytes
    return GpusResult(
        gpu=used.gpu,
        memory_bytes=used.memory_bytes,
        utilization=used.utilization,
        usable_bytes=used.usable_bytes,
        fits=asked.fit is Fit.FITS if known else None,
        tight=asked.fit is Fit.TIGHT if known else None,
        by_memory=None if total is None else gpus_by_memory(total, usable),
        unsplit_bytes=total,
        count=found.deployment.gpus if found else None,
        count_tight=found.fit is Fit.TIGHT if found else None,
        deployment=found.deployment if found else None,
        per_rank=found_rank,
        most_sequences=tuple(_most_sequences(scenario, ranks)) if known else (),
        usable_formula=_usable_formula(scenario, used),
        unsplit_usable_bytes=usable,
    )


def _usable_formula(scenario: Scenario, used: Accelerator) -> tuple[str, str]:
    if used.usable_bytes == scenario.usable_bytes:
        return "floor(memory x utilization)", f"floor({used.memory_bytes:,} x {used.utilization})"
    product = used.memory_bytes * scenario.utilization.numerator
    if used.usable_bytes == -(-product // scenario.utilization.denominator):
        return "ceil(memory x utilization)", f"ceil({used.memory_bytes:,} x {used.utilization})"
    name = scenario.engine.name
    return f"as engine {name} uses it", f"{name}'s own share"


def _most_sequences(scenario: Scenario, ranks: Ranks) -> Iterator[MostSequences]:
    for tp in legal_tps_of_a_node(scenario, ranks):
        if sequences := most_sequences(scenario, Deployment(tp), ranks):
            yield MostSequences(tp, sequences)


def _pools(ranks: Ranks, deployment: Deployment) -> tuple[Pool, ...]:
    if ranks.scenario.beside.requests_per_second is None:
        return ()
    from kvcalc.verbs.requests.pools import pools

    return pools(ranks, deployment)
