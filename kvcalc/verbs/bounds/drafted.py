"""Steps that draft tokens first: a draft makes n of them, and the model checks them all in one step of its own.

    seconds of a step >= passes of the draft x seconds of a pass + seconds of the model's step over n + 1 tokens
    tokens of a step: 1 to n + 1, those that the model accepts and one of its own; their mean is the acceptance length

The model reads its weights and its cache once, however many tokens it checks, and computes for each of them. A draft of
its own passes n times, one token after another; a head on the model's hidden states once at least, since DFlash drafts
all tokens in one pass; layers of the model's own file (MTP) one after another, each making a token. What a draft takes
is not counted where its weights are not told apart.
"""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from typing import TYPE_CHECKING

from kvcalc.memory import Ranks
from kvcalc.memory.copies import with_copies
from kvcalc.memory.decode_traffic import WeightsUsed, parts_used
from kvcalc.memory.parts import parts_of_layers
from kvcalc.noun import noun
from kvcalc.record import Record
from kvcalc.scenario import once
from kvcalc.scenario.draft_of import draft_deployment, draft_scenario
from kvcalc.verbs.bounds.decode_step import DecodeStage, Passes

if TYPE_CHECKING:
    from kvcalc.deployment import Deployment
    from kvcalc.scenario import Scenario


@noun
class Drafted(Record):
    """How many tokens a step of decoding makes where some are drafted.

    Attributes:
        tokens: drafted a step.
        tokens_per_step: that a step makes of each sequence, on average (acceptance length).
        is_most: whether that is the most there can be, since nobody says how many are accepted.
        passes: of the draft in a step.
        pass_bytes: that a pass reads on a rank, of the draft's weights and its cache.
        seconds: that drafting takes at least, in a step.
    """

    tokens: int
    tokens_per_step: float
    is_most: bool
    passes: float
    pass_bytes: int
    seconds: float


def tokens_drafted(scenario: Scenario) -> int | None:
    """Tokens that are drafted a step; None where nobody says."""
    drafting, engine = scenario.drafting, scenario.engine
    if drafting is None:
        return 0
    stated: int | None = dict(engine.given).get(engine.drafting_option or "")
    return drafting.tokens or stated


def why_no_drafted_bound(scenario: Scenario) -> str | None:
    """What is missing for a bound where tokens are drafted; None where nothing is."""
    if scenario.drafting is None:
        return None
    if tokens_drafted(scenario) is None:
        return "how many tokens are drafted a step is not said (--draft-tokens N)"
    return "what is read of a spilled cache is not known where tokens are drafted" if scenario.spill else None


def kept_of(scenario: Scenario) -> Fraction:
    """Tokens that a step makes of a sequence: as given, else the most."""
    drafting = scenario.drafting
    if drafting is None:
        return Fraction(1)
    return drafting.acceptance_length or Fraction((tokens_drafted(scenario) or 0) + 1)


@once
def without_draft(scenario: Scenario) -> Scenario:
    """The same model, of which nothing is drafted."""
    return replace(scenario, drafting=None)


@once
def _ranks(scenario: Scenario) -> Ranks:
    return Ranks(scenario)


def stages_of(scenario: Scenario, deployment: Deployment, ranks: Ranks | None) -> list[DecodeStage]:
    """The stages of a deployment; the last one drafts.

    Args:
        scenario: what is asked.
        deployment: over which ranks.
        ranks: of the scenario, where others of its deployments are looked at too.
    """
    if scenario.drafting is None:
        own = ranks or Ranks(scenario)
        return [
            DecodeStage(scenario, deployment, rank, used)
            for rank, used in zip(own.of(deployment), own.weights_used(deployment), strict=True)
        ]
    model, tokens = without_draft(scenario), (tokens_drafted(scenario) or 0) + 1
    own, passes = _ranks(model), _passes(scenario, deployment)
    return [
        DecodeStage(model, deployment, rank, used, tokens, passes if rank.numbers[-1].stop == deployment.pp else None)
        for rank, used in zip(own.of(deployment), own.weights_used(deployment), strict=True)
    ]


def _passes(scenario: Scenario, deployment: Deployment) -> Passes | None:
    """Of the draft before a step; None where its weights are not told apart."""
    draft, drafting = draft_scenario(scenario), scenario.drafting
    if draft is None or drafting is None:
        return None
    parts = parts_of_layers(draft) if drafting.own_layers else parts_used(draft)
    if parts is None:
        return None
    ranks = draft_deployment(scenario, deployment)
    (rank,) = _ranks(draft).of(ranks)
    tokens = Fraction(tokens_drafted(scenario) or 0)
    if drafting.own_layers:
        tokens /= drafting.model.num_layers
    elif drafting.without_table:
        tokens = Fraction(1)
    used = WeightsUsed(draft, ranks, rank, with_copies(draft, ranks, parts))
    return Passes(DecodeStage(draft, ranks, rank, used), tokens)


def alone(stages: list[DecodeStage]) -> Fraction:
    """Seconds of one sequence in all stages, one after another, and of its drafting."""
    steps = [(stage.times, stage.step(1, joined=1)) for stage in stages]
    drafting = max(step.drafting for _, step in steps)
    return sum((times * step.model_seconds for times, step in steps), drafting)


def drafted_of(scenario: Scenario, stages: list[DecodeStage], sequences: int) -> Drafted | None:
    """What drafting adds to a step with so many sequences on a replica; None where nothing drafts."""
    tokens, drafting = tokens_drafted(scenario), scenario.drafting
    if not tokens or drafting is None:
        return None
    passes = next((stage.passes for stage in stages if stage.passes is not None), None)
    one = None if passes is None else passes.stage.step(sequences)
    return Drafted(
        tokens=tokens,
        tokens_per_step=float(kept_of(scenario)),
        is_most=drafting.acceptance_length is None,
        passes=0.0 if passes is None else float(passes.number),
        pass_bytes=0 if one is None else one.weights + one.cache,
        seconds=0.0 if passes is None else float(passes.seconds(sequences, None)),
    )
