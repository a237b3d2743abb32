"""A model on one accelerator, all of it: what `models list --fits` tells of each."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kvcalc.deployment import Deployment
from kvcalc.errors import KvcalcError
from kvcalc.memory import Fit, Ranks
from kvcalc.scenario.make import make_scenario
from kvcalc.verbs.searching.candidate import evaluate
from kvcalc.verbs.searching.capacity_search import replica_of, usual

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kvcalc.gpu import Gpu
    from kvcalc.model.model import Model

LEFT_OUT = {
    "too_large": "are larger",
    "too_close": "fit only with less temporary memory than is usual",
    "context_too_short": "have a shorter context",
    "not_known": "have weights that are not known",
    "refused": "are not served so",
}
"""Why models do not stand in the list, and the names of their numbers in its note."""


def on_card(card: Gpu, model: Model, options: Mapping[str, Any]) -> dict[str, Any] | str:
    """The figures that its row has beside the model's own; a key of LEFT_OUT where the accelerator does not hold it.

    Args:
        card: the accelerator.
        model: to be held.
        options: of the scenario.

    Raises:
        KvcalcError: it is not served so.
    """
    scenario = make_scenario(model, gpu=card, **options)
    context, alone, ranks = scenario.workload.context, Deployment(), Ranks(scenario)
    if context > (model.max_context or context):
        return "context_too_short"
    if (why := ranks.why_not_served(alone)) is not None:
        raise KvcalcError(why)
    found = evaluate(scenario, alone, ranks)
    if not found.weights_known:
        return "not_known"
    if found.fit is Fit.NO or found.least_headroom < 0:
        return "too_large" if found.fit is Fit.NO else "too_close"
    return {
        "context": context,
        "bytes_per_gpu": found.total_bytes,
        "headroom_bytes": found.least_headroom,
        "tight": found.fit is Fit.TIGHT,
        "sequences": replica_of(scenario, alone, usual, ranks).most_sequences(context),
    }
