"""The verb `plan`: the smallest legal deployments that hold a workload, and why each smaller one does not."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from kvcalc.deployment import Deployment
from kvcalc.legality import check_legal
from kvcalc.memory import Fit
from kvcalc.named_tuple import NamedTuple
from kvcalc.note import Note, note
from kvcalc.verbs.bounds.decode import why_no_bound
from kvcalc.verbs.notes.not_modelled import not_modelled
from kvcalc.verbs.notes.of_answers import all_drafted_kept, no_decode_bound
from kvcalc.verbs.notes.of_gpus import gpu_notes
from kvcalc.verbs.notes.of_models import model_notes
from kvcalc.verbs.notes.of_weights import weight_notes
from kvcalc.verbs.planning.ranking import Ranking, found_on, ranked
from kvcalc.verbs.planning.result import Plan, Planned, Unserved
from kvcalc.verbs.planning.search import Search
from kvcalc.verbs.planning.why_not import nearest_miss, rejected
from kvcalc.verbs.question import Accelerator, ModelSummary, Question, WorkloadSummary
from kvcalc.verbs.requests.mixed import kinds_of, mix_notes
from kvcalc.verbs.requests.rate import sized_by_rate
from kvcalc.verbs.searching.candidate import evaluate
from kvcalc.verbs.searching.deployment_search import smallest

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from fractions import Fraction

    from kvcalc.gpu import Gpu
    from kvcalc.scenario import Scenario
    from kvcalc.scenario.plan_request import Limits
    from kvcalc.verbs.planning.front import Offer
    from kvcalc.verbs.planning.pools import PlannedPools


MOST_NAMED = 3
"""Accelerators that a note names."""


class PoolsFound(NamedTuple):
    """Pools, and what is to be said of where there are none."""

    found: tuple[PlannedPools, ...] = ()
    notes: tuple[Note, ...] = ()


def plan(scenario: Scenario, gpus: Sequence[Gpu], limits: Limits, prices: Mapping[str, Fraction] | None = None) -> Plan:
    """The smallest legal deployments that hold the scenario's workload: of each accelerator the best, then the rest.

    Args:
        scenario: the model and the workload; its own accelerator plays no part.
        gpus: whose memory is known.
        limits: what may be used.
        prices: accelerator -> price of one for an hour; then the cheapest come first, those without a price last.

    Raises:
        KvcalcError: a tp or pp asked for is illegal, or the weights are not known.
    """
    if limits.requests_per_second is not None:
        scenario = sized_by_rate(scenario, gpus, limits.requests_per_second)
    sizes = [Deployment(tp, pp) for tp in limits.tps or (1,) for pp in limits.pps or (1,)]
    for each in sizes:
        check_legal(each, scenario.model)
        for gpu in gpus:
            gpu.check_shared(each.ranks, "--gpu")
    asked = [replace(scenario, gpu=gpu, deployment=None, gpu_limit=None) for gpu in gpus]
    search = Search(asked[0], limits)
    never = all(map(scenario.engine.size_refused, sizes))
    if (never or len(sizes) == 1) and (limits.tps or limits.pps):
        search.ranks(asked[0]).settled(sizes[0])  # what the engine refuses it says
    ranking = Ranking(prices or {})
    found = found_on(search, asked, ranking)
    offers = ranked(found, ranking, limits)
    shown = offers[0].scenario if offers else asked[0]
    kept = [(each.scenario, each.deployment) for each in offers]
    pools = _pools(search, asked, ranking)
    return Plan(
        model=ModelSummary.of(scenario.model),
        workload=WorkloadSummary.of(scenario.workload),
        mix=kinds_of(scenario.workload),
        max_gpus=limits.max_gpus,
        whole_nodes=limits.whole_nodes,
        deployments=tuple(_planned(search, each, ranking) for each in offers),
        unserved=tuple(
            Unserved(each.gpu.name, _nearest(search, [each]))
            for each in asked
            if each.gpu.name in limits.named and found[each.gpu.name].fewest is None
        ),
        pools=pools.found,
        rejected=tuple(row for each in asked for row in rejected(search, each, found[each.gpu.name].fewest)),
        nearest=None if offers else _nearest(search, asked),
        not_modelled=tuple(not_modelled(*(kept[0] if kept else (asked[0], _least(asked[0]))))),
        notes=(*_notes(search, asked, kept), *_never_served(scenario, sizes), *pools.notes),
        question=Question.of(shown, Accelerator.of(shown)),
        scenario=shown,
        best=evaluate(*kept[0]).fullest.tree if kept else None,
    )


def _pools(search: Search, asked: list[Scenario], ranking: Ranking) -> PoolsFound:
    if search.limits.pools_for is None:
        return PoolsFound()
    from kvcalc.verbs.planning.pools import no_pools, planned_pools

    found = planned_pools(search, asked, search.limits.pools_for, ranking.prices)
    return PoolsFound(found, tuple(no_pools(asked, search.limits, found)))


def _least(scenario: Scenario) -> Deployment:
    """What notes are of where nothing holds the workload: one accelerator, or all that make up one deployment."""
    return Deployment(pp=scenario.gpu.number_together or 1)


def _planned(search: Search, offer: Offer, ranking: Ranking) -> Planned:
    scenario, deployment = offer.scenario, offer.deployment
    candidate = evaluate(scenario, deployment, None if scenario.engine.plain else offer.ranks)
    costs = ranking.costs(offer)
    return Planned(
        gpu=scenario.gpu.name,
        count=offer.gpus,
        deployment=deployment,
        spare=search.limits.spare,
        bytes_per_rank=candidate.fullest.tree.bytes,
        usable_bytes=candidate.largest_rank.usable_bytes,
        headroom_bytes=candidate.least_headroom,
        tight=candidate.fit is Fit.TIGHT,
        max_batch=offer.max_batch,
        max_context=offer.max_context,
        tokens_per_second=offer.tokens_per_second,
        usd_per_hour=costs.hour,
        usd_per_month=costs.month,
        usd_per_million_tokens=costs.million_tokens,
        nodes=search.nodes(scenario).number(deployment.tp, search.groups(deployment)),
    )


def _nearest(search: Search, asked: list[Scenario]) -> str:
    """Why nothing holds the workload, by what comes nearest, and what would."""
    limits = search.limits
    spares = f" and {limits.spare:,} spare" if limits.spare else ""
    at_most = f"{limits.max_gpus:,} GPU" + ("s" if limits.max_gpus > 1 else "")
    at_most += " in whole nodes" if limits.whole_nodes else ""
    words = f"nothing legal of at most {at_most} holds {WorkloadSummary.of(asked[0].workload).words}{spares}"
    misses = [(miss, each) for each in asked if (miss := nearest_miss(search, each)) is not None]
    best, on = max(misses, key=lambda pair: (pair[0].sequences, -pair[0].lacks_bytes), default=(None, asked[0]))
    if best is not None:
        held = f"holds {best.sequences:,}" if best.sequences else f"lacks {best.lacks_bytes:,} bytes a GPU for one"
        words += f"; nearest: {search.gpus(on, best.deployment):,} x {best.gpu} ({best.deployment}{spares}) {held}"
    elif (refused := search.ranks(on).why_not_served(_first_size(limits))) is not None:
        return f"{words}: {refused}"
    enough = smallest(on)
    if enough is not None:
        sizes = (("tp", limits.tps), ("pp", limits.pps))
        given = [f"--{name} {','.join(map(str, values))}" for name, values in sizes if values is not None]
        words += f"; without {' and '.join(given)}," if given else ";"
        words += f" {search.gpus(on, enough.deployment):,} x {on.gpu.name} would ({enough.deployment}{spares})"
    return words


def _first_size(limits: Limits) -> Deployment:
    """The first that was asked for, of which the engine says why it does not serve it."""
    return Deployment((limits.tps or (1,))[0], (limits.pps or (1,))[0])


def _notes(search: Search, asked: list[Scenario], kept: list[tuple[Scenario, Deployment]]) -> Iterator[Note]:
    yield from asked[0].notes
    yield from mix_notes(asked[0].workload)
    yield from model_notes(*(kept[0] if kept else (asked[0], _least(asked[0]))))
    yield from _defaults_of_others(kept)
    yield from weight_notes(asked[0])
    yield from gpu_notes(*(scenario for scenario, _ in kept))
    cards = [each for each in asked if each.gpu.slice_of is None]
    flat = [each.gpu.name for each in cards if search.limits.pps is None and not search.tries_stages(each)]
    if flat:
        where = _where(flat, len(asked))
        yield note(
            "stages-not-tried",
            f"pipeline stages are not tried{where}: a tp of one node holds the batch (--allow-pp tries them)",
            gpus=tuple(flat),
        )
    if kept and (missing := why_no_bound(*kept[0])):
        yield no_decode_bound(missing)
    elif kept:
        yield from all_drafted_kept(kept[0][0])


def _never_served(scenario: Scenario, sizes: Sequence[Deployment]) -> Iterator[Note]:
    """The sizes asked for that the engine never spreads a model by, beside others that it does."""
    refused = (scenario.engine.size_refused(each) for each in sizes)
    for option in dict.fromkeys(option for option in refused if option is not None):
        name = option.removeprefix("--")
        values = sorted({value for each in sizes if (value := getattr(each, name)) > 1})
        asked = f"{option} {','.join(map(str, values))}"
        yield note(
            "sizes-not-served",
            f"{asked} is not tried: kvcalc counts {scenario.engine.name} with {name} 1 only",
            option=name,
            values=tuple(values),
        )


def _defaults_of_others(kept: list[tuple[Scenario, Deployment]]) -> Iterator[Note]:
    """What the engine takes on accelerators other than the first, where that depends on them."""
    told = {scenario.gpu.name for scenario, _ in kept[:1]}
    for scenario, deployment in kept:
        if scenario.gpu.name not in told:
            told.add(scenario.gpu.name)
            yield from (each for each in model_notes(scenario, deployment) if each.code == "engine-defaults")


def _where(names: list[str], of_all: int) -> str:
    if len(names) == of_all:
        return ""
    return f" on {', '.join(names)}" if len(names) <= MOST_NAMED else f" on {len(names)} of the accelerators"
