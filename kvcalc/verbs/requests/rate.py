"""How many requests are held at a time where so many arrive a second, and nobody says how long each takes.

    batch = requests a second x (seconds to the first token + steps of its other tokens x seconds of a step), by
    Little's law

Both seconds are bounds, of a step with as many requests as are held, each somewhere in its output: servers take
longer, so at least so many are held.
"""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from typing import TYPE_CHECKING

from kvcalc.errors import KvcalcError
from kvcalc.memory import Ranks
from kvcalc.named_tuple import NamedTuple
from kvcalc.note import note
from kvcalc.units import MAX_BATCH
from kvcalc.verbs.bounds.decode import why_no_bound
from kvcalc.verbs.bounds.prefill import prefill_bound, prompts, why_no_prefill_bound
from kvcalc.verbs.requests.generating import generating
from kvcalc.verbs.searching.deployment_search import smallest

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kvcalc.deployment import Deployment
    from kvcalc.gpu import Gpu
    from kvcalc.scenario import Scenario
    from kvcalc.verbs.requests.generating import Generating

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
    batch, found, settled = 1, None, False
    for _ in range(MOST_STEPS):
        if found is None or not settled:
            asked = replace(scenario, workload=replace(scenario.workload, batch=batch))
            held = smallest(asked)
            if held is None:
                raise KvcalcError(f"--rps: no deployment holds {batch:,} requests; give --latency S")
            if found is None or held.deployment != found[0]:
                found = held.deployment, _served(asked, held.deployment)
        deployment, served = found
        seconds = served.seconds(max(Fraction(1), Fraction(batch, deployment.dp)))
        needed = max(1, int(-(-rate * seconds // 1)))
        if needed > MAX_BATCH:
            raise KvcalcError(f"--rps: {needed:,} requests at a time are beyond the limit of {MAX_BATCH:,}")
        if needed == batch:
            return batch, seconds, scenario.gpu.name, deployment
        settled = needed < batch  # this deployment is fast enough, and holds fewer too
        batch = needed
    raise KvcalcError(f"--rps: more requests arrive than {scenario.gpu.name} serves by the bounds; give --latency S")


class _Served(NamedTuple):
    """A request, of a mix on average over all kinds.

    Attributes:
        first: seconds to its first token.
        others: of its other tokens; None where there are none.
    """

    first: Fraction
    others: Generating | None

    def seconds(self, held: Fraction) -> Fraction:
        """What it takes at least where so many are held on its replica."""
        return self.first + (self.others.steps.each * self.others.seconds(held) if self.others else 0)


def _served(scenario: Scenario, deployment: Deployment) -> _Served:
    missing = why_no_bound(scenario, deployment) or why_no_prefill_bound(scenario)
    if missing is not None:
        raise KvcalcError(f"--rps: how long a request takes has no bound ({missing}); give --latency S")
    ranks, first = Ranks(scenario), Fraction(0)
    for share, tokens in prompts(scenario.workload):
        bound = prefill_bound(scenario, deployment, ranks, tokens)
        first += share * Fraction(0 if bound is None else bound.seconds)
    return _Served(first, generating(scenario, deployment, ranks))
