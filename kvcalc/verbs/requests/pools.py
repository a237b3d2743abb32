"""Disaggregated serving: GPUs that read prompts, and others that decode; how many of each, by bounds, at least.

    replicas that read prompts >= requests a second x max(seconds of computing one prompt, bytes of its hand-off / rate)
    replicas that decode >= requests a second x steps of a request x seconds of a step / requests in it

Prompts may be read several at a time, which then share one reading of the weights, so that computing alone bounds them.
A step of a replica that decodes reads the weights once, and what it keeps of each request. What its requests hold is on
average, over all steps, no more than its memory, so that it has memory / (what a request holds on average over its
output) of them at most, a number with a fraction, and no more than its engine runs at once. Servers are slower, so more
are needed.
"""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from math import ceil, floor
from typing import TYPE_CHECKING

from kvcalc.errors import KvcalcError
from kvcalc.noun import noun
from kvcalc.record import Record
from kvcalc.verbs.bounds.decode import why_no_bound
from kvcalc.verbs.bounds.prefill import prefill_bound, prompts, why_no_prefill_bound
from kvcalc.verbs.requests.generating import generating
from kvcalc.verbs.requests.most_generating import most_generating
from kvcalc.verbs.requests.tiers import sent_by_rank

if TYPE_CHECKING:
    from kvcalc.deployment import Deployment
    from kvcalc.memory import Ranks
    from kvcalc.scenario import Scenario

OPTION = "--rps"


@noun
class Pool(Record):
    """Replicas of one deployment that all do the same.

    Attributes:
        name: prefill or decode.
        replicas: at least.
        gpus: of all of them.
        requests_per_second: that one of them serves at most; None where nothing bounds it.
        sequences: that one of them holds on average at most, while they generate, rounded down; None of prefill.
        limited_by: what bounds it: compute, hand-off or memory (its bandwidth); none where nothing does.
    """

    name: str
    replicas: int
    gpus: int
    requests_per_second: float | None
    sequences: int | None
    limited_by: str


def pools(ranks: Ranks, deployment: Deployment, cache_memory: int | None = None) -> tuple[Pool, ...]:
    """The two pools that serve so many requests a second, of replicas of a deployment; none unless asked for.

    Args:
        ranks: of the scenario.
        deployment: whose replicas they are made of: alone, or all that share experts.
        cache_memory: bytes that a rank has for its cache, where that is given and no accelerator has a part in it.

    Raises:
        KvcalcError: nothing bounds them, or the requests are not told.
    """
    scenario, rate = ranks.scenario, ranks.scenario.beside.requests_per_second
    if rate is None:
        return ()
    if cache_memory is not None:
        raise KvcalcError(f"{OPTION}: pools are of accelerators; leave --cache-memory out")
    check_pools(scenario, deployment)
    unit = deployment if deployment.dp_attention else replace(deployment, dp=1)
    decoding = decoding_pool(ranks, unit, rate)
    if decoding is None:
        longest = scenario.workload.context
        raise KvcalcError(f"{OPTION}: {unit} holds not one request of {longest:,} tokens; give more GPUs (--tp N)")
    return reading_pool(ranks, unit, rate), decoding


def check_pools(scenario: Scenario, deployment: Deployment) -> None:
    """Refuses what has no bound.

    Raises:
        KvcalcError: the rate of a hand-off, or the output of a request, is not told, or bounds are not known.
    """
    if scenario.beside.handoff is None:
        raise KvcalcError(
            f"{OPTION}: is of GPUs that read prompts and send them to others; give what each sends as --handoff SIZE"
        )
    if scenario.spill:
        raise KvcalcError(
            f"{OPTION}: of pools whose caches are in part in host memory there is no bound; leave --spill out"
        )
    if scenario.workload.mix is None and not scenario.workload.output:
        raise KvcalcError(f"{OPTION}: how much a request generates is not told; give --input N and --output N")
    missing = why_no_bound(scenario, deployment) or why_no_prefill_bound(scenario)
    if missing is not None:
        raise KvcalcError(f"{OPTION}: there is no bound of a request: {missing}")


def reading_pool(ranks: Ranks, unit: Deployment, rate: Fraction) -> Pool:
    """Replicas that share experts read as many prompts at a time, each no faster than one alone."""
    link = ranks.scenario.beside.handoff or 1
    computing, sending = Fraction(0), Fraction(0)
    for share, prompt in prompts(ranks.scenario.workload):
        bound = prefill_bound(ranks.scenario, unit, ranks, prompt)
        computing += share * Fraction(0 if bound is None else bound.compute_seconds)
        sending += share * Fraction(max(sent_by_rank(ranks, unit, prompt).values()), link)
    seconds = max(computing, sending) / unit.dp
    limited = "compute" if computing > sending else "hand-off"
    return _pool("prefill", unit, rate, seconds, None, limited)


def decoding_pool(ranks: Ranks, unit: Deployment, rate: Fraction) -> Pool | None:
    """Each replica with as many requests as it can hold beside the least temporary memory; None: it holds none."""
    found, most = generating(ranks.scenario, unit, ranks), most_generating(ranks, unit)
    if most is None:
        return None
    if found is None:
        return _pool("decode", unit, rate, Fraction(0), floor(most) * unit.dp, "none")
    seconds = found.steps.each * found.seconds(most) / most / unit.dp
    return _pool("decode", unit, rate, seconds, floor(most) * unit.dp, found.limited_by(most))


def _pool(
    name: str, unit: Deployment, rate: Fraction, seconds: Fraction, sequences: int | None, limited_by: str
) -> Pool:
    """Of which a request takes so many seconds."""
    replicas = max(1, ceil(rate * seconds))
    return Pool(
        name=name,
        replicas=replicas,
        gpus=replicas * unit.gpus,
        requests_per_second=float(1 / seconds) if seconds else None,
        sequences=sequences,
        limited_by=limited_by if seconds else "none",
    )
