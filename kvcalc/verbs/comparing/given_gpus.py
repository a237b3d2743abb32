"""The GPUs that rows are compared on: those that are given, else as many as the model's own smallest takes."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from kvcalc.deployment import Deployment
from kvcalc.errors import KvcalcError
from kvcalc.legality import check_legal
from kvcalc.memory import Ranks
from kvcalc.verbs.comparing.result import ComparedRow, GivenGpus
from kvcalc.verbs.question import Accelerator
from kvcalc.verbs.searching.candidate import Candidate, evaluate
from kvcalc.verbs.searching.deployment_search import smallest

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kvcalc.scenario import Scenario


class Grant(NamedTuple):
    """The GPUs that are given.

    Attributes:
        deployment: where it is given itself; else None.
        at_most: of how many GPUs the best deployment is taken.
        dp: its replicas.
        own_smallest: where nothing is given: the smallest deployment of the model as it is, which that keeps.
    """

    deployment: Deployment | None
    at_most: int | None
    dp: int
    own_smallest: Candidate | None = None


def grant_of(scenario: Scenario) -> Grant:
    """What the scenario gives, else as many GPUs as its own smallest deployment takes."""
    asked = scenario.deployment
    if scenario.gpu_limit is not None:
        return Grant(None, scenario.gpu_limit.gpus, scenario.gpu_limit.dp)
    if asked is not None:
        return Grant(asked, None, asked.dp)
    ranks = Ranks(scenario)
    known = evaluate(scenario, Deployment(), ranks).weights_known
    found = smallest(scenario, ranks) if known else None
    return Grant(None, found.deployment.gpus if found else None, found.deployment.dp if found else 1, found)


def refuse_what_no_row_can_have(rows: Sequence[ComparedRow]) -> None:
    """A deployment that is illegal for every row is a mistake, not an answer.

    Raises:
        KvcalcError: it is; of the model as it is, or of the first.
    """
    refusals = []
    for row in sorted(rows, key=lambda row: not row.own):
        asked = row.scenario
        if asked.deployment is None:
            return
        try:
            check_legal(asked.deployment, asked.model)
        except KvcalcError as error:
            refusals.append(error)
    if len(refusals) == len(rows):
        raise refusals[0]


def given_gpus(scenario: Scenario, at_most: int | None) -> GivenGpus:
    """The accelerators that rows are compared on."""
    used = Accelerator.of(scenario)
    return GivenGpus(used.gpu, used.memory_bytes, used.utilization, used.usable_bytes, at_most)
