"""The longest context of a batch, where what the engine sets aside depends on the context that it is started for."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from kvcalc.errors import KvcalcError
from kvcalc.scenario import Workload
from kvcalc.verbs.searching.capacity_search import LONGEST_CONTEXT, Replica, replica_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from kvcalc.deployment import Deployment
    from kvcalc.engines import Temporary
    from kvcalc.scenario import Scenario


def longest_context(
    scenario: Scenario, deployment: Deployment, figure: Callable[[Temporary], int], replica: Replica
) -> int | None:
    """The most tokens of each sequence of the batch, of an engine that is started for so many; None where unbounded.

    A sequence holds the prefix that all share, so that fewer tokens than those are none.
    An engine that is started for a longer context leaves no more memory for the cache. So what it holds with the memory
    of any one context lies on the other side of the answer, and both bounds close in.

    Args:
        scenario: what is asked; its own context plays no part.
        deployment: over which ranks.
        figure: of temporary memory.
        replica: of that deployment, started for the scenario's context.
    """
    found = _longest(scenario, deployment, figure, replica)
    return 0 if found is not None and found < scenario.shared_prefix else found


def _longest(
    scenario: Scenario, deployment: Deployment, figure: Callable[[Temporary], int], replica: Replica
) -> int | None:
    sequences = deployment.sequences(scenario.workload.batch)
    found = replica.longest_context(sequences)
    if found is None or replica.figure is None:
        return found

    def held_by(context: int) -> int:
        """Of the engine that is started for so many."""
        started = replace(scenario, workload=Workload(scenario.workload.batch, context))
        try:
            most = replica_of(started, deployment, figure).longest_context(sequences)
        except KvcalcError:  # it takes no such context
            return context - 1
        return LONGEST_CONTEXT if most is None else most

    low, high, context = 0, LONGEST_CONTEXT, max(1, found)
    before: tuple[int, int] | None = None
    while low < high:
        beyond = held_by(context) - context
        if beyond >= 0:
            low, high = context, min(high, context + beyond)
        else:
            low, high = max(low, context + beyond), context - 1
        middle = (low + high + 1) // 2
        guess = middle if before is None else _meeting(before, (context, beyond), middle)
        before = (
            None if before and guess != middle else (context, beyond)
        )  # by halves too: no line is followed for long
        context = min(max(guess, low + 1), high)
    return low


def _meeting(first: tuple[int, int], second: tuple[int, int], otherwise: int) -> int:
    """The context where the line through two of them says that nothing more is held."""
    (one, left), (other, less) = first, second
    return otherwise if left == less else one + left * (other - one) // (left - less)
