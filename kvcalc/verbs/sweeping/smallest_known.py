"""The smallest deployment that holds a workload, remembered: a sweep asks for that of millions of neighbours.

Whatever holds a workload holds every smaller one, and of all that hold it the search takes the first in an order that
no workload changes. So what is found for a workload is found for every larger one that it still holds.
"""

from __future__ import annotations

from bisect import bisect_right
from contextlib import suppress
from typing import TYPE_CHECKING, TypeVar

from kvcalc.deployment import Deployment
from kvcalc.memory import Fit, Ranks
from kvcalc.units import MAX_BATCH, MAX_CONTEXT
from kvcalc.verbs.estimate_parts import sequences_held
from kvcalc.verbs.searching.candidate import Candidate
from kvcalc.verbs.searching.capacity_search import least, replica_of
from kvcalc.verbs.searching.deployment_search import SEARCH_EFFORT, smallest
from kvcalc.verbs.sweeping.smallest_table import SmallestTable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from kvcalc.scenario import Scenario

K = TypeVar("K")
T = TypeVar("T")

_Finding = tuple[int, "Candidate | None"]
"""Up to which number something is found, and what."""

_MANY = 8
"""Batches at one context for which a table of what every deployment holds is worth its while."""

_REMEMBERED = 4096
"""Batches and contexts along which findings are kept."""


class _Findings:
    """What is found from one number to another, ascending."""

    def __init__(self) -> None:
        self._first: list[int] = []
        self._found: list[_Finding] = []

    def at(self, number: int) -> _Finding | None:
        """To which number something is found, and what; None where that is not known."""
        place = bisect_right(self._first, number) - 1
        if place < 0 or self._found[place][0] < number:
            return None
        return self._found[place]

    def add(self, number: int, last: int, found: Candidate | None) -> _Finding:
        place = bisect_right(self._first, number)
        self._first.insert(place, number)
        self._found.insert(place, (last, found))
        return last, found


class SmallestKnown:
    """The smallest deployments of one scenario at any workload, where no workload changes how ranks are settled.

    Attributes:
        ranks: of its deployments.
    """

    def __init__(self, scenario: Scenario, ranks: Ranks | None = None) -> None:
        self.scenario, self.ranks = scenario, ranks or Ranks(scenario)
        self._ordered = scenario.model.num_layers**2 <= SEARCH_EFFORT  # every number of stages is tried, in one order
        self._over_batch: dict[int, _Findings] = {}
        self._over_context: dict[int, _Findings] = {}
        self._tabled = self._ordered and scenario.engine.plain
        self._tables: dict[int, SmallestTable] = {}
        self._most: dict[tuple[int, Deployment], int | None] = {}

    def found(self, scenario: Scenario, ranks: Ranks) -> Candidate | None:  # noqa: ARG002  # as `smallest` is called
        """The smallest of the scenario with a workload: a candidate for that, or for a smaller one."""
        workload = scenario.workload
        return self.over_batch(workload.context, [workload.batch])[0]

    def sequences_held(self, scenario: Scenario, shown: Candidate) -> int | None:
        """The most at the scenario's context on a candidate's deployment, which is the same with every batch."""
        key = scenario.workload.context, shown.deployment
        return _remembered(self._most, key, lambda: sequences_held(scenario, shown, self.ranks))

    def over_batch(self, context: int, batches: Sequence[int]) -> list[Candidate | None]:
        """What is found at a context for each of some batches."""
        findings = _remembered(self._over_batch, context, _Findings)

        def reach(found: Candidate) -> int:
            most = replica_of(self.scenario, found.deployment, least, self.ranks).most_sequences(context)
            return MAX_BATCH if most is None else most * found.deployment.dp

        def look(batch: int) -> _Finding:
            if context in self._tables:
                return batch, self._of_table(self._tables[context], batch)
            found = smallest(self.scenario.with_workload(batch, context), self.ranks)
            if found is not None and found.deployment.gpus > found.deployment.tp and len(batches) >= _MANY:
                self._tabulate(context)
            last = batch if not self._ordered else MAX_BATCH if found is None else reach(found)
            return findings.add(batch, last, found)

        return list(_over(batches, findings, look))

    def _tabulate(self, context: int) -> None:
        """Keep what each deployment holds at a context, where answers have stages or replicas: those are many."""
        if self._tabled:
            with suppress(ValueError):  # not everything grows evenly
                _remembered(self._tables, context, lambda: SmallestTable(self.scenario, self.ranks, context))

    def _of_table(self, table: SmallestTable, batch: int) -> Candidate | None:
        """A candidate of which the deployment counts, and its ranks."""
        found = table.smallest(batch)
        if found is None:
            return None
        ranks = self.ranks.of(Deployment(found.tp, found.pp))
        return Candidate(found, Fit.TIGHT, found.sequences(batch), 1, ranks)

    def over_context(self, batch: int, contexts: Sequence[int]) -> list[Candidate | None]:
        """What is found for a batch at each of some contexts."""
        findings = _remembered(self._over_context, batch, _Findings)

        def reach(found: Candidate) -> int:
            replica = replica_of(self.scenario, found.deployment, least, self.ranks)
            longest = replica.longest_context(found.deployment.sequences(batch))
            return MAX_CONTEXT if longest is None else longest

        def look(context: int) -> _Finding:
            found = smallest(self.scenario.with_workload(batch, context), self.ranks)
            last = context if not self._ordered else MAX_CONTEXT if found is None else reach(found)
            return findings.add(context, last, found)

        return list(_over(contexts, findings, look))


def _remembered(memory: dict[K, T], key: K, make: Callable[[], T]) -> T:
    if key not in memory:
        if len(memory) >= _REMEMBERED:
            memory.clear()
        memory[key] = make()
    return memory[key]


def _over(numbers: Sequence[int], findings: _Findings, look: Callable[[int], _Finding]) -> Iterator[Candidate | None]:
    first, last, found = 1, 0, None
    for number in numbers:
        if not first <= number <= last:
            last, found = findings.at(number) or look(number)
            first = number
        yield found
