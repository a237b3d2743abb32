"""What drafts tokens that the model then checks: a model of its own, or layers of the model's own file (MTP)."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from kvcalc.deployment import Deployment
from kvcalc.model.mtp_weights import LEFT_PLAIN
from kvcalc.noun import Noun, noun
from kvcalc.scenario.scenario import Replacements, Scenario, once

if TYPE_CHECKING:
    from fractions import Fraction

    from kvcalc.engines.cache_format import CacheFormat
    from kvcalc.formats.element import ElementFormat
    from kvcalc.model.model import Model


@noun
class Drafting(Noun):
    """What drafts tokens.

    Attributes:
        model: its layers and its weights.
        cache_format: of its cache.
        own_layers: whether it is layers of the model's own file, which lie on the ranks of the model as its others do.
        tp: ranks that share it, where that is asked for.
        tokens: drafted a step, where that is known.
        weights: bytes of one copy of its weights, where they are stated.
        acceptance_length: tokens that a step makes on average, the accepted ones and one of the model's own; None
            where nobody says.
        without_table: whether it looks tokens up in the model's embedding, of which the last of several stages then has
            a copy.
    """

    model: Model
    cache_format: CacheFormat
    own_layers: bool = False
    tp: int | None = None
    tokens: int | None = None
    weights: int | None = None
    without_table: bool = False
    acceptance_length: Fraction | None = None

    @property
    def weighs(self) -> bool:
        """Whether its weights are known."""
        return self.weights is not None or self.model.parameters is not None or bool(self.model.weights)


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
