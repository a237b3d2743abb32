"""The cache of a whole replica: what its ranks hold together."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvcalc.deployment import Deployment
from kvcalc.engines import Load, RankLoad, content_bytes, contents
from kvcalc.memory import Ranks
from kvcalc.term import Sum

if TYPE_CHECKING:
    from kvcalc.model.layers import Layer
    from kvcalc.scenario import Scenario


def replica_cache(scenario: Scenario, deployment: Deployment, ranks: Ranks | None = None) -> Sum:
    """What the engine reserves on one replica, every copy on every rank.

    Args:
        scenario: what is asked.
        deployment: over which ranks.
        ranks: of the scenario, where others of its deployments are looked at too.
    """
    return (ranks or Ranks(scenario)).settled(deployment).replica(_load(scenario, deployment))


def replica_bytes(scenario: Scenario, deployment: Deployment, ranks: Ranks | None = None) -> int:
    """The bytes of that."""
    load = _load(scenario, deployment)
    each = (ranks or Ranks(scenario)).of(deployment)
    return deployment.tp * sum(rank.stages_alike * rank.cache_bytes(load.sequences, load.context) for rank in each)


def one_copy_bytes(scenario: Scenario, deployment: Deployment, ranks: Ranks) -> int:
    """The same without copies: as the engine reserves it on one rank; the content, where it serves no such rank."""
    alone = Deployment(dp=deployment.dp)
    if ranks.serves(alone):
        return replica_bytes(scenario, alone, ranks)
    load = _load(scenario, deployment)
    return content_bytes(
        RankLoad(scenario.model.layout.kinds, 1, *load[:2], scenario.cache_format, 1, load.shared_prefix)
    )


def bytes_without_windows(scenario: Scenario, deployment: Deployment) -> int:
    """What the layers of one replica would hold if those with windows or chunks kept every token."""
    layers: dict[Layer, int] = {}
    for layer, count in scenario.model.layout.kinds.items():
        full = layer._replace(span=None)
        layers[full] = layers.get(full, 0) + count
    load = _load(scenario, deployment)
    rank = RankLoad(layers, deployment.tp, *load[:2], scenario.cache_format, deployment.dcp, load.shared_prefix)
    return deployment.tp * content_bytes(rank)


def content_of_a_token(scenario: Scenario) -> Sum:
    """What the layers hold of one sequence of one token, in one copy: before any engine rounds."""
    load = RankLoad(scenario.model.layout.kinds, 1, 1, 1, scenario.cache_format)
    return Sum("cache", tuple(content.term for content in contents(load)))


def _load(scenario: Scenario, deployment: Deployment) -> Load:
    context = scenario.workload.context
    return Load(deployment.sequences(scenario.workload.batch), context, min(scenario.shared_prefix, context))
