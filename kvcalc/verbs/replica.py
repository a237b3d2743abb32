"""The cache of a whole replica: what its ranks hold together."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvcalc.engines import RankLoad
from kvcalc.term import Factor, Sum, leaves

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kvcalc.deployment import Deployment
    from kvcalc.layers import Layer
    from kvcalc.scenario import Scenario


def replica_cache(scenario: Scenario, deployment: Deployment, *, windows: bool = True) -> Sum:
    """The cache of one replica, every copy on every rank.

    Args:
        scenario: what is asked.
        deployment: over which ranks.
        windows: False counts layers with windows or chunks as if they kept every token.
    """
    layers = scenario.model.distinct()
    if not windows:
        layers = _without_windows(layers)
    workload = scenario.workload
    cache = cache_of(scenario, layers, deployment, deployment.sequences(workload.batch), workload.context)
    if deployment.tp == 1:
        return cache
    ranks = Factor("ranks", deployment.tp, "rank")
    return Sum(cache.path, tuple(leaf.times(ranks) for leaf in leaves(cache)))


def cache_of(
    scenario: Scenario, layers: Mapping[Layer, int], deployment: Deployment, sequences: int, context: int
) -> Sum:
    """The cache of these layers on one tensor-parallel rank."""
    shared = min(scenario.shared_prefix, context)
    return scenario.engine.rank_cache(
        RankLoad(layers, deployment.tp, sequences, context, scenario.cache_format, deployment.dcp, shared)
    )


def _without_windows(layers: dict[Layer, int]) -> dict[Layer, int]:
    counts: dict[Layer, int] = {}
    for layer, count in layers.items():
        full = layer._replace(span=None)
        counts[full] = counts.get(full, 0) + count
    return counts
