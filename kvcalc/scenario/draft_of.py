"""The scenario of what drafts, of its own, and the ranks that share it."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from kvcalc.deployment import Deployment
from kvcalc.scenario.scenario import Replacements, Scenario, once

if TYPE_CHECKING:
    from kvcalc.formats.element import ElementFormat


@once
def draft_scenario(scenario: Scenario) -> Scenario | None:
    """The scenario of the draft alone: nothing of it is left to searches. None where nothing drafts."""
    drafting = scenario.drafting
    if drafting is None:
        return None
    return replace(
        scenario,
        model=drafting.model,
        cache_format=drafting.cache_format,
        engine=scenario.engine.for_draft(),
        drafting=None,
        lora=None,
        deployment=None,
        gpu_limit=None,
        weight_format=_format_of_own(scenario) if drafting.own_layers else None,
        replacements=Replacements(weights=drafting.weights),
        weights_as=None,
        spill=False,
        origin=f"the draft {drafting.model.name}",
        notes=(),
    )


def _format_of_own(scenario: Scenario) -> ElementFormat | None:
    """What the model's own layers that draft are stored in, where a format is asked for."""
    from kvcalc.model.mtp_weights import LEFT_PLAIN

    asked = scenario.weight_format
    return None if asked is not None and asked.name in LEFT_PLAIN else asked


def draft_deployment(scenario: Scenario, deployment: Deployment) -> Deployment:
    """The ranks that share a draft: all on one pipeline stage.

    Raises:
        KvcalcError: they cannot.
    """
    drafting = scenario.drafting
    if drafting is None:
        raise TypeError("nothing drafts")
    if drafting.own_layers:
        return replace(deployment, pp=1)
    asked = drafting.tp
    if asked is not None and scenario.deployment is None:  # of a deployment that is looked for, at most so many
        asked = min(asked, deployment.tp)
    return Deployment(scenario.engine.draft_tp(asked, deployment.tp))


def draft_copies(scenario: Scenario, deployment: Deployment) -> int:
    """How often the ranks of a replica hold a draft."""
    return deployment.tp // draft_deployment(scenario, deployment).tp
