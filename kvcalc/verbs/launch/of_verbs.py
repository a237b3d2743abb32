"""What the verbs find, as the server that it launches: of an estimate, a capacity, or the first row of a plan."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kvcalc.errors import KvcalcError, NoError
from kvcalc.scenario.make import make_scenario
from kvcalc.scenario.option import given_of
from kvcalc.scenario.plan_request import make_plan_request
from kvcalc.verbs.capacity import capacity
from kvcalc.verbs.estimate import estimate
from kvcalc.verbs.launch import OPTION, Launch, launch, target_of
from kvcalc.verbs.planning.plan import plan

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from kvcalc.model.model import Model


_OF_NO_FLAG = ("host_memory", "disk", "disk_bandwidth", "handoff")
"""Options of caches beside the accelerators, which each server sets in ways of its own."""


def launched(command: str, word: str, model: Model | str | Path | None, options: Mapping[str, Any]) -> Launch:
    """The server of what a verb answers.

    Args:
        command: estimate, capacity or plan.
        word: what is to be emitted.
        model: as `make_scenario` takes it.
        options: as the verb takes them.

    Raises:
        NoError: nothing holds the workload.
        KvcalcError: anything that cannot be, with the option named.
    """
    engine, notes = target_of(word, options.get("engine"))
    asked = {**given_of(options), "engine": engine}
    for name in (each for each in _OF_NO_FLAG if each in asked):
        option = f"--{name.replace('_', '-')}"
        raise KvcalcError(f"{option}: kvcalc emits no flag for what is kept beside the GPUs; leave it out")
    limited = not {"batch", "tokens", "rps", "mix"}.isdisjoint(asked)
    if command == "plan":
        if asked.get("spare"):
            raise KvcalcError(
                "--spare: one line launches what holds the batch; leave it out, and start spares beside it"
            )
        found = plan(*make_plan_request(model, asked))
        if not found.deployments:
            raise NoError(f"{OPTION}: {found.nearest}")
        result = launch(
            word, model, found.scenario, found.deployments[0].deployment, limited=limited, draft=asked.get("draft")
        )
        return result._replace(notes=(*notes, *found.notes, *result.notes))
    scenario = make_scenario(model, **asked)
    if command == "capacity":
        held = capacity(scenario)
        if held.sequences == 0:
            raise NoError(f"{OPTION}: {held.deployment} holds not one sequence of {held.workload.context:,} tokens")
        result = launch(word, model, held.scenario, held.deployment, limited=limited, draft=asked.get("draft"))
        return result._replace(notes=(*notes, *held.scenario.notes, *result.notes))
    answer = estimate(scenario)
    result = launch(word, model, answer.scenario, answer.answer.deployment, limited=limited, draft=asked.get("draft"))
    return result._replace(notes=(*notes, *answer.scenario.notes, *result.notes))
