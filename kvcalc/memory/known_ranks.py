"""The ranks of the last scenarios, kept: calls from Python ask of one model again and again, with other workloads."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from typing import TYPE_CHECKING

from kvcalc.memory.ranks import Ranks
from kvcalc.scenario.workload import Workload

if TYPE_CHECKING:
    from kvcalc.scenario import Scenario

ANY = Workload(1, 1)
"""Instead of a scenario's own: by plain formulas no workload changes how ranks are settled."""


def known_ranks(scenario: Scenario) -> Ranks:
    """The ranks of a scenario: by plain formulas those that an earlier one had which differs in its workload alone."""
    if not scenario.engine.plain or scenario.drafting is not None:
        return Ranks(scenario)
    return _known(replace(scenario, workload=ANY, notes=(), origin="")).of_workload(scenario)


@lru_cache(maxsize=8)
def _known(scenario: Scenario) -> Ranks:
    return Ranks(scenario)
