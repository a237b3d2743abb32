"""Rows whose figures have no even form: each is worked out, from what is settled once for its context."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kvcalc.errors import KvcalcError
from kvcalc.memory import Fit
from kvcalc.verbs.estimate import estimate
from kvcalc.verbs.estimate_parts import beside_cache, gpus_by_memory, looked_at, unsplit_rank
from kvcalc.verbs.searching.replica import replica_bytes
from kvcalc.verbs.sweeping.columns import ERROR, FIELDS, error_columns, flat
from kvcalc.verbs.sweeping.smallest_known import SmallestKnown

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kvcalc.scenario import Scenario
    from kvcalc.verbs.sweeping.columns import Columns


def row_of(scenario: Scenario, fields: Sequence[str], known: SmallestKnown | None = None) -> Columns:
    """The row of a scenario, or its error.

    Args:
        scenario: what is asked.
        fields: which figures.
        known: of the same scenario with another batch, whose requests are alike and which spills nothing and has no
            --gpus; None: all of an estimate is worked out.
    """
    try:
        return {name: [value] for name, value in _figures(scenario, fields, known).items()}
    except KvcalcError as error:
        return error_columns(fields, error.sentence, 1)
    except Exception as error:  # noqa: BLE001  # as the command line tells it; other rows are right
        return error_columns(fields, f"a bug in kvcalc: {type(error).__name__}: {error}", 1)


def _figures(scenario: Scenario, fields: Sequence[str], known: SmallestKnown | None) -> dict[str, Any]:
    if known is None or not set(fields) <= set(FIELDS):
        figures = flat(estimate(scenario).to_dict())
        figures |= {"most_sequences": figures["answer_sequences"], ERROR: None}
        return {name: figures.get(name) for name in fields}
    ranks = known.ranks
    asked, found, shown = looked_at(scenario, ranks, known.found)
    context, cache = scenario.workload.context, replica_bytes(scenario, asked.deployment, ranks)
    rate, single = asked.fullest_rank.rate(context), unsplit_rank(scenario, ranks)
    total, weights_known = None if single is None else single.total_bytes, asked.weights_known
    smaller = None if found is None else found.deployment
    scenario.usable_bytes  # noqa: B018  # refuses an accelerator of which no memory is known
    return {
        "cache_bytes": cache,
        "cache_bytes_per_rank": asked.fullest_rank.cache_bytes(asked.sequences, context),
        "cache_bytes_per_sequence": rate.bytes_per_sequence + rate.shared_bytes,
        "cache_bytes_per_token": rate.bytes_per_token,
        "memory_total_bytes": beside_cache(scenario, asked, ranks).total_with(cache),
        "memory_per_rank_total_bytes": asked.total_bytes,
        "gpus_fits": asked.fit is Fit.FITS if weights_known else None,
        "gpus_tight": asked.fit is Fit.TIGHT if weights_known else None,
        "gpus_by_memory": None
        if single is None or total is None
        else gpus_by_memory(total, single.largest_rank.usable_bytes),
        "gpus_count": None if smaller is None else smaller.gpus,
        "gpus_tp": None if smaller is None else smaller.tp,
        "gpus_pp": None if smaller is None else smaller.pp,
        "gpus_dp": None if smaller is None else smaller.dp,
        "most_sequences": known.sequences_held(scenario, shown) if "most_sequences" in fields else None,
        ERROR: None,
    }
