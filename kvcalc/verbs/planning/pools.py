"""The pools of a plan: on each accelerator the fewest GPUs that read the prompts, and the fewest that decode.

Each pool is made of replicas of its own size: tensor-parallel within a node, of mixtures of experts also those that
share the experts of a node; where no such size holds a prompt, over the fewest pipeline stages that do, or over those
that are asked for.
"""

from __future__ import annotations

from dataclasses import field
from itertools import islice
from typing import TYPE_CHECKING

from kvcalc.deployment import Deployment
from kvcalc.memory import Ranks
from kvcalc.note import note
from kvcalc.noun import noun
from kvcalc.record import Record, flattened
from kvcalc.verbs.bounds.prefill import prompt_of
from kvcalc.verbs.planning.ranking import HOURS_OF_A_MONTH
from kvcalc.verbs.planning.search import order
from kvcalc.verbs.requests.pools import check_pools, decoding_pool, reading_pool
from kvcalc.verbs.searching.candidate import rank_holds
from kvcalc.verbs.searching.capacity_search import least

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from fractions import Fraction

    from kvcalc.note import Note
    from kvcalc.scenario import Scenario
    from kvcalc.scenario.plan_request import Limits
    from kvcalc.verbs.planning.search import Search
    from kvcalc.verbs.requests.pools import Pool


MOST_NAMED = 3
"""Accelerators that a note names."""


@noun
class PlannedPool(Record):
    """A pool, and the replicas that it is made of.

    Attributes:
        deployment: one replica, or all that share experts; in JSON its sizes.
        gpus: of all replicas, spare ones among them, in whole nodes where that is asked for.
    """

    name: str
    deployment: Deployment = field(metadata=flattened("tp", "pp", "dp", "ep", "dcp", "dp_attention"))
    replicas: int
    gpus: int
    requests_per_second: float | None
    sequences: int | None
    limited_by: str


@noun
class PlannedPools(Record):
    """Both pools on one accelerator.

    Attributes:
        requests_per_second: that both are asked to serve.
        count: GPUs of both.
    """

    gpu: str
    requests_per_second: float
    count: int
    usd_per_hour: float | None
    usd_per_month: float | None
    prefill: PlannedPool
    decode: PlannedPool


def planned_pools(
    search: Search, asked: Sequence[Scenario], rate: Fraction, prices: Mapping[str, Fraction]
) -> tuple[PlannedPools, ...]:
    """Of each accelerator that has them within the limits: the cheapest first, then the fewest GPUs.

    Args:
        search: the limits, and which sizes are tried.
        asked: the scenario on each accelerator.
        rate: requests a second.
        prices: accelerator -> USD of one for an hour.

    Raises:
        KvcalcError: nothing bounds a request.
    """
    known = [each for each in asked if each.gpu.bandwidth is not None] or asked  # of one without, that is refused
    found = [each for scenario in known if (each := _on(search, scenario, rate, prices)) is not None]
    return tuple(sorted(found, key=lambda each: (each.usd_per_hour is None, each.usd_per_hour or 0, each.count)))


def no_pools(asked: Sequence[Scenario], limits: Limits, found: Sequence[PlannedPools]) -> Iterator[Note]:
    """Accelerators on which there are none."""
    rate, with_pools = float(limits.pools_for or 0), {pools.gpu for pools in found}
    without = [each.gpu for each in asked if each.gpu.name not in with_pools]
    at_most = "1 GPU" if limits.max_gpus == 1 else f"{limits.max_gpus:,} GPUs"
    too_few = f"no pools of at most {at_most} serve {rate:,g} requests/s{{}} (--max-gpus N allows more)"
    unknown = "no pools{}: no memory bandwidth is known"
    for text, known in ((too_few, True), (unknown, False)):
        names = [gpu.name for gpu in without if (gpu.bandwidth is not None) == known]
        where = f" on {', '.join(names)}" if len(names) <= MOST_NAMED else f" on {len(names)} of the accelerators"
        if names:
            yield note("no-pools", text.format(where), gpus=tuple(names), requests_per_second=rate)


def _on(search: Search, scenario: Scenario, rate: Fraction, prices: Mapping[str, Fraction]) -> PlannedPools | None:
    ranks, reading, decoding = Ranks(scenario), [], []
    for unit in _units(search, scenario, ranks):
        check_pools(scenario, unit)
        decoding += [_planned(search, scenario, unit, each) for each in _decodes(ranks, unit, rate)]
        if _holds_a_prompt(ranks, unit):
            reading.append(_planned(search, scenario, unit, reading_pool(ranks, unit, rate)))
    if not reading or not decoding:
        return None
    first, second = (min(each, key=lambda one: (one.gpus, order(one.deployment))) for each in (reading, decoding))
    count, price = first.gpus + second.gpus, prices.get(scenario.gpu.name)
    hour = None if price is None else float(count * price)
    month = None if price is None else float(count * price * HOURS_OF_A_MONTH)
    if count > search.limits.max_gpus:
        return None
    return PlannedPools(scenario.gpu.name, float(rate), count, hour, month, first, second)


def _units(search: Search, scenario: Scenario, ranks: Ranks) -> Iterator[Deployment]:
    """Replicas to make pools of."""
    tps = search.tps(scenario)
    flat = search.limits.pps is None or 1 in search.limits.pps
    sizes = [Deployment(tp) for tp in tps] if flat else []
    if flat and search.may_share_experts(scenario):
        size = scenario.gpu.number_in_a_node
        shared = [search.shared(Deployment(tp), dp) for tp in tps for dp in range(2, size // tp + 1)]
        sizes += [each for each in shared if size % each.gpus == 0]
    units = [each for each in sizes if ranks.serves(each)]
    yield from units
    if search.limits.pps is not None or not any(_holds_a_prompt(ranks, each) for each in units):
        for tp in tps:
            staged = (Deployment(tp, pp) for pp in search.stage_counts(tp))
            held = (each for each in staged if ranks.serves(each) and _holds_a_prompt(ranks, each))
            yield from held if search.limits.pps is not None else islice(held, 1)


def _decodes(ranks: Ranks, unit: Deployment, rate: Fraction) -> list[Pool]:
    found = decoding_pool(ranks, unit, rate)
    return [] if found is None else [found]


def _holds_a_prompt(ranks: Ranks, unit: Deployment) -> bool:
    prompt = prompt_of(ranks.scenario)
    return all(rank_holds(rank, 1, prompt, least) for rank in ranks.of(unit))


def _planned(search: Search, scenario: Scenario, unit: Deployment, pool: Pool) -> PlannedPool:
    groups = unit.pp * unit.dp * (pool.replicas + search.limits.spare)
    return PlannedPool(
        name=pool.name,
        deployment=unit,
        replicas=pool.replicas,
        gpus=search.nodes(scenario).gpus(unit.tp, groups),
        requests_per_second=pool.requests_per_second,
        sequences=pool.sequences,
        limited_by=pool.limited_by,
    )
