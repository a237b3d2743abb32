"""Disaggregated serving: GPUs that read prompts, and others that decode; how many of each, by bounds, at least.

    replicas that read prompts >= requests a second x max(seconds of computing one prompt, bytes of its hand-off / rate)
    replicas that decode >= requests a second x output tokens / tokens a second of a replica that holds all it can

Prompts may be read several at a time, which then share one reading of the weights, so that computing alone bounds them.
A replica that decodes holds requests half of whose output is there, on average; the more it holds, the more tokens a
second its bound allows. Servers are slower, so more are needed.
"""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from typing import TYPE_CHECKING

from kvcalc.errors import KvcalcError
from kvcalc.noun import noun
from kvcalc.record import Record
from kvcalc.units import MAX_BATCH
from kvcalc.verbs.capacity_search import least, replica_of
from kvcalc.verbs.decode_bound import decode_bound, why_no_bound
from kvcalc.verbs.prefill_bound import prefill_bound, prompt_of, why_no_prefill_bound

if TYPE_CHECKING:
    from kvcalc.deployment import Deployment
    from kvcalc.memory import Ranks
    from kvcalc.scenario import Scenario
    from kvcalc.verbs.tiers import Handoff

OPTION = "--rps"


@noun
class Pool(Record):
    """Replicas of one deployment that all do the same.

    Attributes:
        name: prefill or decode.
        replicas: at least.
        gpus: of all of them.
        requests_per_second: that one of them serves at most; None where nothing bounds it.
        sequences: that one of them holds at a time, in the middle of their output; None of prefill.
        limited_by: what bounds it: compute, hand-off, memory (bandwidth), host link; none where nothing does.
    """

    name: str
    replicas: int
    gpus: int
    requests_per_second: float | None
    sequences: int | None
    limited_by: str


def pools(ranks: Ranks, deployment: Deployment, sent: Handoff | None) -> tuple[Pool, ...]:
    """The two pools that serve so many requests a second, of replicas of a deployment; none unless asked for.

    Args:
        ranks: of the scenario.
        deployment: whose replicas they are made of: alone, or all that share experts.
        sent: the hand-off of a request.

    Raises:
        KvcalcError: nothing bounds them, or the requests are not told.
    """
    scenario, rate = ranks.scenario, ranks.scenario.beside.requests_per_second
    if rate is None:
        return ()
    _check(scenario, deployment, sent)
    unit = deployment if deployment.dp_attention else replace(deployment, dp=1)
    return (
        _prefill(ranks, unit, rate, Fraction(sent.seconds) if sent is not None else Fraction(0)),
        _decode(ranks, unit, rate),
    )


def _check(scenario: Scenario, deployment: Deployment, sent: Handoff | None) -> None:
    if sent is None:
        raise KvcalcError(
            f"{OPTION}: is of GPUs that read prompts and send them to others; give what each sends as --handoff SIZE"
        )
    if scenario.workload.mix is not None:
        raise KvcalcError(f"{OPTION}: kvcalc sizes pools for requests that are alike; give --input and --output")
    if not scenario.workload.output:
        raise KvcalcError(f"{OPTION}: how much a request generates is not told; give --input N and --output N")
    missing = why_no_bound(scenario, deployment) or why_no_prefill_bound(scenario)
    if missing is not None:
        raise KvcalcError(f"{OPTION}: there is no bound of a request: {missing}")


def _prefill(ranks: Ranks, unit: Deployment, rate: Fraction, sending: Fraction) -> Pool:
    """Replicas that share experts read as many prompts at a time, each no faster than one alone."""
    bound = prefill_bound(ranks.scenario, unit, ranks)
    computing = Fraction(0) if bound is None else Fraction(bound.compute_seconds)
    seconds = max(computing, sending) / unit.dp
    replicas = max(1, -(-rate * seconds // 1))
    limited = "compute" if computing > sending else "hand-off"
    return Pool(
        name="prefill",
        replicas=int(replicas),
        gpus=int(replicas) * unit.gpus,
        requests_per_second=float(1 / seconds) if seconds else None,
        sequences=None,
        limited_by=limited if seconds else "none",
    )


def _decode(ranks: Ranks, unit: Deployment, rate: Fraction) -> Pool:
    """Each replica with as many requests as it can hold beside the least temporary memory."""
    scenario = ranks.scenario
    output = scenario.workload.output
    middle = prompt_of(scenario) + output // 2
    held = replica_of(scenario, unit, least, ranks).most_sequences(middle)
    if held == 0:
        raise KvcalcError(f"{OPTION}: {unit} holds not one request of {middle:,} tokens; give more GPUs (--tp N)")
    each = min(MAX_BATCH // unit.dp, MAX_BATCH if held is None else held)
    full = replace(scenario, workload=replace(scenario.workload, batch=each * unit.dp, context=middle, output=0))
    bound = decode_bound(full, unit)
    if bound is None:
        raise KvcalcError(f"{OPTION}: there is no bound of decoding")
    served = Fraction(bound.tokens_per_second) / output
    replicas = max(1, -(-rate // served))
    return Pool(
        name="decode",
        replicas=int(replicas),
        gpus=int(replicas) * unit.gpus,
        requests_per_second=float(served),
        sequences=each * unit.dp,
        limited_by=bound.limited_by,
    )
