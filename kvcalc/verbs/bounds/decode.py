"""The memory wall: how fast decoding can be at most, by what a step must read and compute. A bound, not a prediction.

A step cannot end before its weights and its cache have been read once, nor before its operations are done:

    seconds >= max(bytes read / memory bandwidth, operations / peak rate, bytes spilled / bandwidth of the host link)

Of a pipeline, every stage must serve all sequences of a replica once for each token of each, and a token must pass all
stages one after another, so the slowest stage with all sequences, and the sum of the stages with one, are both bounds.
"""

from __future__ import annotations

from dataclasses import field, replace
from fractions import Fraction
from typing import TYPE_CHECKING

from kvcalc.memory import Ranks
from kvcalc.memory.decode_traffic import parts_used
from kvcalc.noun import noun
from kvcalc.record import BESIDE, Record, flattened
from kvcalc.verbs.bounds.drafted import Drafted, alone, drafted_of, kept_of, stages_of, why_no_drafted_bound
from kvcalc.verbs.bounds.spill import spilled

if TYPE_CHECKING:
    from kvcalc.deployment import Deployment
    from kvcalc.gpu import Gpu
    from kvcalc.scenario import Scenario
    from kvcalc.term import Sum
    from kvcalc.verbs.bounds.decode_step import DecodeStage


@noun
class Spill(Record):
    """Cache that does not fit beside the rest of a rank, and is kept in host memory.

    Attributes:
        room_bytes: for the cache, on the rank with the most spilled.
        spilled_bytes_per_rank: of that rank's cache.
        spilled_bytes: of all ranks of a replica.
        link_seconds: one step's reading of it over the rank's host link.
    """

    room_bytes: int
    spilled_bytes_per_rank: int
    spilled_bytes: int
    link_seconds: float


@noun
class DecodeBound(Record):
    """At most so many tokens a second; of the slowest stage where there are several.

    Attributes:
        deployment: that this is of; in JSON its tp, pp and dp.
        read_bytes: what a step reads on a rank.
        operations: floating-point operations of a step on a rank, of those whose rate is known.
        memory_seconds: reading takes at least so long.
        compute_seconds: computing takes at least so long.
        seconds_per_token: at least, of each sequence of the replica that has most of them.
        tokens_per_second_per_sequence: at most, likewise.
        tokens_per_second: at most, of all sequences of all replicas.
        limited_by: memory, compute or host link.
        spill: what is kept in host memory; None unless asked for.
        drafted: how many tokens a step makes; None where nothing drafts, and it makes one.
        terms: what is read and computed, for explanations.
        gpu: whose rates these are.
    """

    deployment: Deployment = field(metadata=flattened("tp", "pp", "dp"))
    read_bytes: int
    weights_read_bytes: int
    cache_read_bytes: int
    operations: int
    memory_seconds: float
    compute_seconds: float
    seconds_per_token: float
    tokens_per_second_per_sequence: float
    tokens_per_second: float
    limited_by: str
    spill: Spill | None
    drafted: Drafted | None
    terms: Sum
    gpu: Gpu = field(metadata=BESIDE)


def why_no_bound(scenario: Scenario, deployment: Deployment | None = None) -> str | None:
    """What is missing for a bound; None where nothing is.

    Args:
        scenario: what is asked.
        deployment: over which ranks, where weights or cache may be in host memory.
    """
    if scenario.gpu.bandwidth is None:
        return f"no memory bandwidth is known for {scenario.gpu.name}"
    if (undrafted := why_no_drafted_bound(scenario)) is not None:
        return undrafted
    if scenario.replacements.weights is not None:
        return (
            "--weights gives a size, and not what a step reads of it: the embedding and the experts are not told apart"
        )
    parts = parts_used(scenario)
    if parts is None:
        return (
            "what a step reads of the weights is not known: the model's file does not tell embedding, experts and "
            "towers apart"
        )
    if not parts and not scenario.model.cached_tensors:
        return "a step reads nothing"
    return None if deployment is None else _why_not_on(scenario, deployment)


def _why_not_on(scenario: Scenario, deployment: Deployment) -> str | None:
    """What is missing of host memory, where a step reads it."""
    if scenario.engine.places_weights and Ranks(scenario).settled(deployment).reads_host_memory:
        return "a step reads layers, experts or caches that are in host memory, of which no bandwidth is known"
    if scenario.spill and not scenario.gpu.host_link_bandwidth and spilled(scenario, deployment).bytes:
        return f"no bandwidth of a host link is known for {scenario.gpu.name}"
    return None


def decode_bound(scenario: Scenario, deployment: Deployment, ranks: Ranks | None = None) -> DecodeBound | None:
    """The bound of a deployment; None where `why_no_bound` says why.

    Args:
        scenario: what is asked.
        deployment: over which ranks.
        ranks: of the scenario, where others of its deployments are looked at too.

    Raises:
        KvcalcError: cache is to be spilled, and the weights do not fit.
    """
    if why_no_bound(scenario, deployment) is not None:
        return None
    most = deployment.sequences(scenario.workload.batch)
    stages = stages_of(scenario, deployment, ranks)
    steps = [stage.step(most) for stage in stages]
    slowest = max(steps, key=lambda step: step.seconds)
    per_token = max(slowest.seconds, alone(stages)) / kept_of(scenario)
    spill = None
    if scenario.spill:
        found = spilled(scenario, deployment, ranks)
        spill = Spill(*found, float(max(step.link for step in steps)))
    return DecodeBound(
        deployment=deployment,
        read_bytes=slowest.weights + slowest.cache,
        weights_read_bytes=slowest.weights,
        cache_read_bytes=slowest.cache,
        operations=slowest.operations,
        memory_seconds=float(slowest.memory),
        compute_seconds=float(slowest.compute),
        seconds_per_token=float(per_token),
        tokens_per_second_per_sequence=float(1 / per_token),
        tokens_per_second=float(_rate_of_all(scenario, deployment, stages, ranks)),
        limited_by=slowest.limited_by,
        spill=spill,
        drafted=drafted_of(scenario, stages, most),
        terms=slowest.stage.terms(slowest.sequences, slowest.joined),
        gpu=scenario.gpu,
    )


def tokens_per_second(scenario: Scenario, deployment: Deployment, ranks: Ranks) -> float | None:
    """That figure of the bound alone.

    Args:
        scenario: what is asked.
        deployment: over which ranks.
        ranks: of the scenario, or by plain formulas of one with another accelerator.
    """
    if why_no_bound(scenario, deployment) is not None:
        return None
    return float(_rate_of_all(scenario, deployment, stages_of(scenario, deployment, ranks), ranks))


def _rate_of_all(
    scenario: Scenario, deployment: Deployment, stages: list[DecodeStage], ranks: Ranks | None
) -> Fraction:
    """Tokens a second of all replicas.

    Of a mix, whose longest requests are not on every replica: as if none had more than its share.
    """
    workload = scenario.workload
    if workload.mix is not None and deployment.dp > 1:
        scenario = replace(scenario, workload=replace(workload, mix=workload.mix.least))
        stages = stages_of(scenario, deployment, ranks)
    return kept_of(scenario) * _rate(scenario, deployment, stages)


def _rate(scenario: Scenario, deployment: Deployment, stages: list[DecodeStage]) -> Fraction:
    """Steps a second of all sequences: a replica makes one of each of its sequences in a step of its slowest stage.

    No sooner than one sequence alone has passed all stages.
    """
    batch, dp = scenario.workload.batch, deployment.dp
    most = deployment.sequences(batch)
    full = batch - dp * (most - 1)
    rate, least = Fraction(0), alone(stages)
    for replicas, sequences in ((full, most), (dp - full, most - 1)):
        if replicas and sequences:
            slowest = max(stage.step(sequences).seconds for stage in stages)
            rate += replicas * sequences / max(slowest, least)
    return rate
