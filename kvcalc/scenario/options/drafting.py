"""What drafts tokens."""

from functools import partial
from pathlib import Path
from typing import Annotated, TypedDict

from kvcalc.deployment import MAX_RANKS
from kvcalc.model.model import Model
from kvcalc.scenario.option import Option
from kvcalc.scenario.options.model import model_names
from kvcalc.scenario.reading import count, named_model, positive, size

of_drafting = partial(Option, panel="Drafting")
MOST_DRAFTED = 1000
"""Tokens a step."""


class Drafting(TypedDict, total=False):
    draft: Annotated[
        Model | str | Path | None,
        of_drafting(
            "MODEL", "Model that drafts tokens, as MODEL, or an EAGLE head.", read=named_model, values=model_names
        ),
    ]
    draft_tp: Annotated[
        int | str | None,
        of_drafting("N", "GPUs that share the draft (1, or the engine's own).", read=count(MAX_RANKS)),
    ]
    draft_tokens: Annotated[
        int | str | None,
        of_drafting("N", "Tokens that --draft drafts a step (the engine's own option).", read=count(MOST_DRAFTED)),
    ]
    draft_weights: Annotated[
        int | str | None,
        of_drafting("SIZE", "Weights of one copy of what drafts, instead of what is computed.", read=size),
    ]
    mtp: Annotated[
        int | str | None,
        of_drafting("N", "Tokens that the model's own layers draft a step (MTP).", read=count(MOST_DRAFTED)),
    ]
    acceptance_length: Annotated[
        float | str | None,
        of_drafting("X", "Tokens that a step makes on average (1 + accepted), for bounds.", read=positive),
    ]
