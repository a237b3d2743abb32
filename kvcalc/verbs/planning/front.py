"""What a plan offers, and which offers are no choice: those that another one of the same accelerator is as good as.

An offer is dominated by another of the same accelerator that takes no more GPUs (and so no more money), is not tight
where it is not, holds no fewer sequences of the context and no shorter a context of the batch, and is better in one of
these, or equal in all of them and faster by the bound of decoding. Of offers that are equal in that too none dominates.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from math import inf
from typing import TYPE_CHECKING

from kvcalc.memory import Fit, Ranks
from kvcalc.verbs.bounds.decode import tokens_per_second
from kvcalc.verbs.searching.capacity_search import Replica, most, replica_of, usual
from kvcalc.verbs.searching.longest_context import longest_context

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from kvcalc.deployment import Deployment
    from kvcalc.scenario import Scenario


@dataclass(frozen=True, eq=False)
class Offer:
    """A deployment that holds the batch; what speaks for it is worked out when asked for.

    Attributes:
        scenario: with its accelerator.
        gpus: all that it takes, spares among them.
        ranks: of the scenario's deployments.
    """

    scenario: Scenario
    deployment: Deployment
    gpus: int
    ranks: Ranks

    @property
    def sequences(self) -> int:
        """Of the batch on each replica."""
        return self.deployment.sequences(self.scenario.workload.batch)

    @cached_property
    def replica(self) -> Replica:
        """With the usual temporary memory."""
        return replica_of(self.scenario, self.deployment, usual, self.ranks)

    @cached_property
    def fit(self) -> Fit:
        """FITS or TIGHT."""
        with_most = replica_of(self.scenario, self.deployment, most, self.ranks)
        return Fit.FITS if with_most.holds(self.sequences, self.scenario.workload.lengths) else Fit.TIGHT

    @cached_property
    def max_batch(self) -> int | None:
        """The most sequences of the context on all replicas; None where they are unbounded."""
        held = self.replica.most_sequences(self.scenario.workload.lengths)
        return None if held is None else held * self.deployment.dp

    @cached_property
    def max_context(self) -> int | None:
        """The longest context of the batch; None where it is unbounded."""
        return longest_context(self.scenario, self.deployment, usual, self.replica)

    @cached_property
    def tokens_per_second(self) -> float | None:
        """At most, of all sequences; None where no bound is known."""
        return tokens_per_second(self.scenario, self.deployment, self.ranks)

    def dominates(self, other: Offer) -> bool:
        """Whether it is no worse than another of the same accelerator, and better in something."""
        better = False
        for merit in _MERITS:
            mine, its = merit(self), merit(other)
            if mine < its:
                return False
            better = better or mine > its
        return better or (self.tokens_per_second or 0) > (other.tokens_per_second or 0)


_MERITS: tuple[Callable[[Offer], float], ...] = (
    lambda offer: -offer.gpus,
    lambda offer: offer.fit is Fit.FITS,
    lambda offer: inf if offer.max_batch is None else offer.max_batch,
    lambda offer: inf if offer.max_context is None else offer.max_context,
)
"""What offers are weighed by: more is better. What is soon worked out comes first."""


def not_dominated(offers: Sequence[Offer], kept: Sequence[Offer]) -> Iterator[Offer]:
    """Those of as many GPUs that no other of them dominates, and none of those that are kept and take fewer.

    They come out one by one: no more is weighed than is taken.
    """
    if len(offers) == 1 and not kept:
        yield offers[0]
        return
    against = [*kept, *offers]
    for each in offers:
        if not any(other.dominates(each) for other in against if other is not each):
            yield each
