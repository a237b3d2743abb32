"""How many requests a replica holds on average at most while they generate: a number with a fraction.

At no time does a replica hold more than its memory, so it does not on average over all steps either. In those, a
request has each number of tokens equally often:

    requests <= (memory for the cache - what is there without any) / what a request holds on average over its output

Nor does it hold more than the most that fit when all have just begun, nor generate more than the engine runs at once.
"""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING

from kvcalc.units import MAX_BATCH
from kvcalc.verbs.requests.generating import WHOLE, steps_of
from kvcalc.verbs.searching.capacity_search import least, replica_of

if TYPE_CHECKING:
    from kvcalc.deployment import Deployment
    from kvcalc.memory import Rank, Ranks
    from kvcalc.scenario.mix import Mix


def most_generating(ranks: Ranks, unit: Deployment) -> Fraction | None:
    """Requests of the scenario on one replica; None where it does not hold its longest with the last token.

    Args:
        ranks: of the scenario.
        unit: one replica, or all that share experts.
    """
    scenario = ranks.scenario
    replica = replica_of(scenario, unit, least, ranks)
    longest = scenario.workload.context
    if replica.most_sequences(longest) == 0:
        return None
    steps, settled = steps_of(scenario), ranks.settled(unit)
    ahead = steps.mix is None or settled.reserves_ahead
    first = longest if steps.mix is None or ahead else steps.mix.shortest_input
    bounds = [Fraction(MAX_BATCH // unit.dp)]
    bounds += [] if settled.most_at_once is None else [Fraction(settled.most_at_once)]
    at_first = settled.most_held if settled.frees_read_prompts else replica.most_sequences(first)
    bounds += [] if at_first is None else [Fraction(at_first)]
    if steps.mix is not None and not ahead:
        held = _by_content if settled.frees_read_prompts else _by_cache
        ranks_and_memory = zip(replica.ranks, replica.cache_memory, strict=True)
        for rank, memory in ranks_and_memory:
            beside = replica.takes(rank, 1, first) - rank.cache_bytes(1, first)
            without, each = held(rank, steps.mix, first, WHOLE * steps.whole * scenario.prefix_groups)
            bounds += [(memory - beside - without) / each] if each else []
    return min(bounds)


def _by_cache(rank: Rank, mix: Mix, first: int, some: int) -> tuple[Fraction, Fraction]:
    """Bytes without any request, no more than there are, and those of one on average over its output."""
    each = Fraction(rank.cache_bytes(2 * some, mix) - rank.cache_bytes(some, mix), some)
    started = Fraction(rank.cache_bytes(2 * some, first) - rank.cache_bytes(some, first), some)
    return min(rank.cache_bytes(1, first) - started, rank.cache_bytes(some, first) - some * started), each


def _by_content(rank: Rank, mix: Mix, first: int, some: int) -> tuple[Fraction, Fraction]:  # noqa: ARG001  # as the other
    """The same of what layers attend to."""
    return Fraction(0), Fraction(rank.content_bytes(2 * some, mix) - rank.content_bytes(some, mix), some)
