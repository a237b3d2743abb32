"""How many requests are held at a time where so many arrive a second, and nobody says how long each takes.

    batch = requests a second x (seconds to the first token + output tokens x seconds a token), by Little's law

Both seconds are bounds: servers take longer, so at least so many are held.
"""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from typing import TYPE_CHECKING

from kvcalc.errors import KvcalcError
from kvcalc.memory import Ranks
from kvcalc.note import note
from kvcalc.units import MAX_BATCH
from kvcalc.verbs.decode_bound import decode_bound, why_no_bound
from kvcalc.verbs.deployment_search import smallest
from kvcalc.verbs.prefill_bound import prefill_bound, prompt_of, why_no_prefill_bound

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kvcalc.deployment import Deployment
    from kvcalc.gpu import Gpu
    from kvcalc.scenario import Scenario

MOST_ACCELERATORS = 8
"""For which a number of requests is looked for."""
MOST_STEPS = 100
"""Numbers of requests that are tried on one of them."""


def sized_by_rate(scenario: Scenario, gpus: Sequence[Gpu], rate: Fraction) -> Scenario:
    """The scenario with as many requests as arrive while one is served, on the slowest of the accelerators.

    Args:
        scenario: the model and the requests; its batch plays no part.
        gpus: to choose from.
        rate: requests a second.

    Raises:
        KvcalcError: nothing bounds how long a request takes.
    """
    if len(gpus) > MOST_ACCELERATORS:
        raise KvcalcError(f"--rps: a bound is looked for on {MOST_ACCELERATORS} accelerators at most; give --latency S")
    found = [_held_on(replace(scenario, gpu=gpu), rate) for gpu in gpus]
    batch, seconds, on, deployment = max(found, key=lambda each: each[0])
    slowest = ", the slowest of those asked for" if len(gpus) > 1 else ""
    sequences = "1 request is" if batch == 1 else f"{batch:,} requests are"
    told = note(
        "batch-from-bound",
        f"{float(rate):,g} requests a second x {float(seconds):,.3g} s each by the bounds of the first token and of "
        f"decoding ({on} {deployment}{slowest}): at least {sequences} held at a time; servers take longer "
        "(--latency S sets it)",
        requests_per_second=float(rate),
        seconds=float(seconds),
        batch=batch,
    )
    return replace(scenario, workload=replace(scenario.workload, batch=batch), notes=(*scenario.notes, told))


def _held_on(scenario: Scenario, rate: Fraction) -> tuple[int, Fraction, str, Deployment]:
    """Requests, how long each takes, and where: on the smallest deployment that holds as many as arrive meanwhile."""
    batch, deployment, settled = 1, None, False
    for _ in range(MOST_STEPS):
        asked = replace(scenario, workload=replace(scenario.workload, batch=batch))
        if deployment is None or not settled:
            held = smallest(asked)
            if held is None:
                raise KvcalcError(f"--rps: no deployment holds {batch:,} requests; give --latency S")
            deployment = held.deployment
        seconds = _seconds(asked, deployment)
        needed = max(1, int(-(-rate * seconds // 1)))
        if needed > MAX_BATCH:
            raise KvcalcError(f"--rps: {needed:,} requests at a time are beyond the limit of {MAX_BATCH:,}")
        if needed == batch:
            return batch, seconds, scenario.gpu.name, deployment
        settled = needed < batch  # this deployment is fast enough, and holds fewer too
        batch = needed
    raise KvcalcError(f"--rps: more requests arrive than {scenario.gpu.name} serves by the bounds; give --latency S")


def _seconds(scenario: Scenario, deployment: Deployment) -> Fraction:
    """What a request takes at least, of a mix on average over all kinds."""
    missing = why_no_bound(scenario, deployment) or why_no_prefill_bound(scenario)
    step = None if missing else decode_bound(scenario, deployment)
    if step is None:
        raise KvcalcError(f"--rps: how long a request takes has no bound ({missing}); give --latency S")
    mix, ranks = scenario.workload.mix, Ranks(scenario)

    def first(tokens: int) -> Fraction:
        bound = prefill_bound(scenario, deployment, ranks, tokens)
        return Fraction(0) if bound is None else Fraction(bound.seconds)

    each = Fraction(step.seconds_per_token)
    if mix is None:
        return first(prompt_of(scenario)) + scenario.workload.output * each
    return sum((kind.share * (first(kind.input) + kind.output * each) for kind in mix.kinds), Fraction(0))
