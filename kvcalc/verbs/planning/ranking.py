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

Found = dict[str, "list[Offer]"]
"""Accelerator -> its offers, in order."""


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
        price = (0, offer.gpus * self.prices[name]) if name in self.prices else (1, 0)
        return (*(price if self.prices else ()), offer.gpus, order(offer.deployment), name)

    def costs(self, offer: Offer) -> Costs:
        """What its GPUs cost, spares and idle ones among them."""
        price = self.prices.get(offer.scenario.gpu.name)
        if price is None:
            return Costs()
        hour, rate = offer.gpus * price, offer.tokens_per_second
        million = None if not rate else float(hour) * 10**6 / (rate * 3600)
        return Costs(float(hour), float(hour * HOURS_OF_A_MONTH), million)


def found_on(search: Search, asked: Sequence[Scenario]) -> Found:
    """The offers on each accelerator: no more than can be shown."""
    keep = search.limits.keep or DEFAULT_LIMIT
    if len(asked) <= keep:
        return {each.gpu.name: search.best(each, keep) for each in asked}
    first = {each.gpu.name: search.best(each, 1) for each in asked}
    left = keep - sum(map(len, first.values()))
    if left <= 0:
        return first
    return {each.gpu.name: search.best(each, 1 + left) if first[each.gpu.name] else [] for each in asked}


def ranked(found: Found, ranking: Ranking, limits: Limits) -> list[Offer]:
    """The best of each accelerator in order, then all others in order, as many as are asked for.

    Without a number, the best of each accelerator that was named is always among them.
    """
    bests = sorted((offers[0] for offers in found.values() if offers), key=ranking.key)
    others = sorted((each for offers in found.values() for each in offers[1:]), key=ranking.key)
    if limits.keep is not None:
        return [*bests, *others][: limits.keep]
    shown = [
        each for place, each in enumerate(bests) if place < DEFAULT_LIMIT or each.scenario.gpu.name in limits.named
    ]
    return [*shown, *others[: max(0, DEFAULT_LIMIT - len(shown))]]
