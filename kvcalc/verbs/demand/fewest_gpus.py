"""The fewest GPUs for each point of a distribution, by the same search as everywhere.

Requests of a trace are of all lengths, and a search takes one. So a point is looked for as its number of requests, each
of just so many tokens that together they hold the point's bytes: anyone can ask `kvcalc plan` the same.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from kvcalc.memory import Fit
from kvcalc.scenario import Workload
from kvcalc.verbs.demand.result import Point
from kvcalc.verbs.searching.capacity_search import largest
from kvcalc.verbs.searching.deployment_search import smallest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from kvcalc.scenario import Scenario
    from kvcalc.verbs.searching.candidate import Candidate


class Alike(NamedTuple):
    """Requests that are all alike, and hold as much as those at a point do."""

    at: str
    batch: int
    context: int


def alike(at: str, bytes_: int, batch: int, longest: int, held: Callable[[int, int], int]) -> Alike:
    """For a point.

    Args:
        at: its name.
        bytes_: that are held.
        batch: requests that hold them.
        longest: tokens of the longest request of the trace.
        held: by so many requests of so many tokens each.
    """
    several = max(1, batch)
    fewer = largest(lambda tokens: held(several, tokens) < bytes_, longest - 1)
    return Alike(at, several, fewer + 1)


def points_of(scenario: Scenario, wanted: Sequence[Alike]) -> Iterator[tuple[Point, Candidate | None]]:
    """The smallest deployment for each, or None where nothing legal holds it."""
    known: dict[tuple[int, int], Candidate | None] = {}
    for each in wanted:
        key = each.batch, each.context
        if key not in known:
            known[key] = smallest(replace(scenario, workload=Workload(*key), deployment=None))
        found = known[key]
        deployment = None if found is None else found.deployment
        yield (
            Point(
                each.at,
                each.batch,
                each.context,
                None if deployment is None else deployment.gpus,
                deployment,
                None if found is None else found.fit is Fit.TIGHT,
            ),
            found,
        )
