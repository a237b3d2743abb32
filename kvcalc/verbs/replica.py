"""The cache of a whole replica: what its ranks hold together."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvcalc.engines import RankLoad
from kvcalc.memory import Ranks
from kvcalc.term import Factor, Sum, leaves

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kvcalc.deployment import Deployment
    from kvcalc.model.layers import Layer
    from kvcalc.scenario import Scenario


def replica_cache(scenario: Scenario, deployment: Deployment, *, windows: bool = True) -> Sum:
    """The cache of one replica, every copy on every rank.

    Args:
        scenario: what is asked.
        deployment: over which ranks.
        windows: False counts layers with windows or chunks as if they kept every token.
    """
    layers, workload = _layers(scenario, windows=windows), scenario.workload
    cache = cache_of(scenario, layers, deployment, deployment.sequences(workload.batch), workload.context)
    if deployment.tp == 1:
        return cache
    ranks = Factor("ranks", deployment.tp, "rank")
    return Sum(cache.path, tuple(leaf.times(ranks) for leaf in leaves(cache)))


def replica_bytes(
    scenario: Scenario, deployment: Deployment, ranks: Ranks | None = None, *, windows: bool = True
) -> int:
    """The bytes of that.

    Args:
        scenario: what is asked.
        deployment: over which ranks.
        ranks: of the scenario, where others of its deployments are looked at too.
        windows: as above.
    """
    layers, workload = _layers(scenario, windows=windows), scenario.workload
    count = (ranks or Ranks(scenario)).count
    sequences = deployment.sequences(workload.batch)
    return deployment.tp * count(_load(scenario, layers, deployment, sequences, workload.context))


def cache_of(
    scenario: Scenario, layers: Mapping[Layer, int], deployment: Deployment, sequences: int, context: int
) -> Sum:
    """The cache of these layers on one tensor-parallel rank."""
    return scenario.engine.rank_cache(_load(scenario, layers, deployment, sequences, context))


def _load(
    scenario: Scenario, layers: Mapping[Layer, int], deployment: Deployment, sequences: int, context: int
) -> RankLoad:
    shared = min(scenario.shared_prefix, context)
    return RankLoad(layers, deployment.tp, sequences, context, scenario.cache_format, deployment.dcp, shared)


def _layers(scenario: Scenario, *, windows: bool) -> Mapping[Layer, int]:
    layers = scenario.model.layout.kinds
    return layers if windows or all(layer.span is None for layer in layers) else _without_windows(layers)


def _without_windows(layers: Mapping[Layer, int]) -> dict[Layer, int]:
    counts: dict[Layer, int] = {}
    for layer, count in layers.items():
        full = layer._replace(span=None)
        counts[full] = counts.get(full, 0) + count
    return counts
