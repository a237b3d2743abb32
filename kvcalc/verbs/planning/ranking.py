"""The order of a plan over several accelerators, and what its deployments cost."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from kvcalc.verbs.planning.search import Search, order

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from fractions import Fraction

    from kvcalc.scenario import Scenario
    from kvcalc.scenario.plan_request import Limits
    from kvcalc.verbs.planning.front import Offer

HOURS_OF_A_MONTH = 730
"""365 days x 24 hours / 12."""

DEFAULT_LIMIT = 10
"""Deployments of a plan."""


class FoundOn(NamedTuple):
    """What is found on an accelerator.

    Attributes:
        fewest: GPUs that hold the workload; None where none do.
        offers: in order; none where others come before all of them.
    """

    fewest: int | None
    offers: list[Offer]


Found = dict[str, FoundOn]
"""By the accelerator's name."""


class Costs(NamedTuple):
    """Of a deployment, in USD; None without a price.

    Attributes:
        million_tokens: at least, as fast as the bound of decoding says; None without one.
    """

    hour: float | None = None
    month: float | None = None
    million_tokens: float | None = None


class Ranking(NamedTuple):
    """What comes first: the cheapest where there are prices, then the fewest GPUs.

    Attributes:
        prices: accelerator -> USD of one for an hour.
    """

    prices: Mapping[str, Fraction]

    def key(self, offer: Offer) -> tuple[object, ...]:
        """By which offers are sorted; those without a price come last."""
        name = offer.scenario.gpu.name
        return (*self.key_of(name, offer.gpus), order(offer.deployment), name)

    def key_of(self, name: str, gpus: int) -> tuple[Fraction | int, ...]:
        """What comes first of that key: so many of an accelerator, whatever their deployment."""
        price = (0, gpus * self.prices[name]) if name in self.prices else (1, 0)
        return (*(price if self.prices else ()), gpus)

    def costs(self, offer: Offer) -> Costs:
        """What its GPUs cost, spares and idle ones among them."""
        price = self.prices.get(offer.scenario.gpu.name)
        if price is None:
            return Costs()
        hour, rate = offer.gpus * price, offer.tokens_per_second
        million = None if not rate else float(hour) * 10**6 / (rate * 3600)
        return Costs(float(hour), float(hour * HOURS_OF_A_MONTH), million)


def found_on(search: Search, asked: Sequence[Scenario], ranking: Ranking) -> Found:
    """The offers on each accelerator: no more than can be shown.

    Of many accelerators it is first found how many GPUs each needs, since that alone decides which come first; only
    of these it is asked which of their deployments is best.
    """
    limits, keep = search.limits, search.limits.keep or DEFAULT_LIMIT
    if len(asked) <= keep:
        every = {each.gpu.name: search.best(each, keep) for each in asked}
        return {name: FoundOn(offers[0].gpus if offers else None, offers) for name, offers in every.items()}
    fewest = {each.gpu.name: search.fewest(each) for each in asked}
    keys = {name: ranking.key_of(name, gpus) for name, gpus in fewest.items() if gpus is not None}
    left = max(0, keep - len(keys))
    last = sorted(keys.values())[min(keep, len(keys)) - 1] if keys else ()
    always = limits.named if limits.keep is None else frozenset()
    shown = {name for name, key in keys.items() if key <= last or name in always}
    return {
        each.gpu.name: FoundOn(fewest[each.gpu.name], search.best(each, 1 + left) if each.gpu.name in shown else [])
        for each in asked
    }


def ranked(found: Found, ranking: Ranking, limits: Limits) -> list[Offer]:
    """The best of each accelerator in order, then all others in order, as many as are asked for.

    Without a number, the best of each accelerator that was named is always among them.
    """
    bests = sorted((each.offers[0] for each in found.values() if each.offers), key=ranking.key)
    others = sorted((offer for each in found.values() for offer in each.offers[1:]), key=ranking.key)
    if limits.keep is not None:
        return [*bests, *others][: limits.keep]
    shown = [
        each for place, each in enumerate(bests) if place < DEFAULT_LIMIT or each.scenario.gpu.name in limits.named
    ]
    return [*shown, *others[: max(0, DEFAULT_LIMIT - len(shown))]]
