"""The cache of a whole replica: what its ranks hold together."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvcalc.deployment import Deployment
from kvcalc.engines import Load, RankLoad, contents
from kvcalc.memory import Rank, Ranks
from kvcalc.scenario.draft_of import draft_scenario
from kvcalc.term import Sum

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from kvcalc.engines import Settled
    from kvcalc.engines.cache_format import CacheFormat
    from kvcalc.model.layers import Layer
    from kvcalc.scenario import Scenario


def replica_cache(scenario: Scenario, deployment: Deployment, ranks: Ranks | None = None) -> Sum:
    """What the engine reserves on one replica, every copy on every rank.

    Args:
        scenario: what is asked.
        deployment: over which ranks.
        ranks: of the scenario, where others of its deployments are looked at too.
    """
    return (ranks or Ranks(scenario)).settled(deployment).replica(scenario.load_on(deployment))


def replica_bytes(scenario: Scenario, deployment: Deployment, ranks: Ranks | None = None) -> int:
    """The bytes of that."""
    each = (ranks or Ranks(scenario)).of(deployment)
    held = deployment.sequences(scenario.workload.batch), scenario.workload.lengths
    return on_all_ranks(deployment, ((rank, rank.cache_bytes(*held)) for rank in each))


def on_all_ranks(deployment: Deployment, sizes: Iterable[tuple[Rank, int]]) -> int:
    """What the ranks of a replica have together, where one of each kind of stage has so much."""
    return deployment.tp * sum(rank.stages_alike * size for rank, size in sizes)


def one_copy_bytes(scenario: Scenario, deployment: Deployment, ranks: Ranks) -> int:
    """The same without copies: as the engine reserves it on one rank; the content, where it serves no such rank."""
    alone = Deployment(dp=deployment.dp)
    if ranks.serves(alone):
        return replica_bytes(scenario, alone, ranks)
    return one_copy_content_bytes(scenario, deployment, ranks)


def bytes_without_windows(scenario: Scenario, deployment: Deployment, ranks: Ranks | None = None) -> int:
    """What the layers of one replica would hold if those with windows or chunks kept every token."""
    layers: dict[Layer, int] = {}
    settled = (ranks or Ranks(scenario)).settled(deployment)
    for layer, count in settled.setup.model.layout.kinds.items():
        full = layer._replace(span=None)
        layers[full] = layers.get(full, 0) + count
    rank = _of_layers(settled, layers, scenario.load_on(deployment))
    own = settled.bytes_of_layers(rank._replace(tp=deployment.tp, dcp=deployment.dcp))
    return deployment.tp * (own + _content_of_draft(scenario, deployment))


def replica_content_bytes(scenario: Scenario, deployment: Deployment, ranks: Ranks) -> int:
    """What the layers hold on one replica, every copy on every rank: before any engine rounds."""
    settled, load = ranks.settled(deployment), scenario.load_on(deployment)
    return deployment.tp * sum(stage.times * settled.content_bytes(stage, load) for stage in settled.stages)


def one_copy_content_bytes(scenario: Scenario, deployment: Deployment, ranks: Ranks) -> int:
    """The same if one rank held it all, whether or not the engine serves that."""
    settled = ranks.settled(deployment)
    own = settled.bytes_of_layers(_of_layers(settled, settled.setup.model.layout.kinds, scenario.load_on(deployment)))
    return own + _content_of_draft(scenario, deployment)


def _content_of_draft(scenario: Scenario, deployment: Deployment) -> int:
    """What one copy of a draft holds, where it is no excess of the engine's."""
    return content_of_draft(scenario, deployment) if scenario.engine.plain else 0


def content_of_draft(scenario: Scenario, deployment: Deployment) -> int:
    """What the layers of one copy of a draft hold by the formulas; nothing where nothing drafts."""
    draft = draft_scenario(scenario)
    if draft is None:
        return 0
    settled, kinds = Ranks(draft).settled(Deployment()), draft.model.layout.kinds
    return settled.bytes_of_layers(_of_layers(settled, kinds, scenario.load_on(deployment)))


def shares_nothing(scenario: Scenario, deployment: Deployment) -> bool:
    """Whether two sequences on each replica take as much with the shared prefix as without it."""
    context = scenario.workload.context
    settled = Ranks(scenario).settled(deployment)
    shared = Load(2, context, min(scenario.shared_prefix, context))
    return bool(settled.replica(shared).bytes == settled.replica(shared._replace(shared_prefix=0)).bytes)


def kept_format(scenario: Scenario, deployment: Deployment | None = None) -> CacheFormat:
    """The formats that tensors are kept in: as asked for, unless the engine keeps some in a format of its own.

    Args:
        scenario: what is asked.
        deployment: over which ranks; None: the one asked for, else one rank. Where the engine does not serve it, the
            formats are those asked for.
    """
    if scenario.engine.plain:
        return scenario.cache_format
    ranks, asked = Ranks(scenario), deployment or scenario.deployment or Deployment()
    return ranks.settled(asked).cache_format if ranks.serves(asked) else scenario.cache_format


def content_of_a_token(ranks: Ranks) -> Sum:
    """What the layers hold of one sequence of one token, in one copy: before any engine rounds."""
    settled = ranks.settled(Deployment())
    load = RankLoad(settled.setup.model.layout.kinds, 1, 1, 1, settled.cache_format)
    return Sum("cache", tuple(content.term for content in contents(load)))


def _of_layers(settled: Settled, layers: Mapping[Layer, int], load: Load) -> RankLoad:
    """Layers on one rank with such a load, which shares a prefix whether the engine does so or not."""
    return RankLoad(
        layers,
        1,
        load.sequences,
        load.context,
        settled.cache_format,
        shared_prefix=load.shared_prefix,
        mixed=load.mixed,
        prefixes=load.prefixes,
    )
