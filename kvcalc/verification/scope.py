"""What is verified: a scenario spread over ranks, and those of its layers that have a reference module."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, NamedTuple

from kvcalc.deployment import Deployment, stages
from kvcalc.engines import RankLoad, content_bytes
from kvcalc.errors import KvcalcError
from kvcalc.legality import check_legal
from kvcalc.mechanisms import CachedTensor
from kvcalc.model.layers import count_layers
from kvcalc.reference import REFERENCES, reference_of
from kvcalc.verification.result import Unsupported

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kvcalc.model.layers import Layer
    from kvcalc.scenario import Scenario

MAX_HEADS = 16_384
"""Heads of a layer whose proof in float64 still takes a moment."""


class Rank(NamedTuple):
    """One GPU of a replica: its pipeline stage, and its place among those that share that stage's layers."""

    number: int
    stage: int
    place: int


class Scope(NamedTuple):
    """What a verification covers.

    Attributes:
        scenario: the one asked for.
        deployment: its own, or one GPU.
        kinds: each kind of layer that can be verified and how many the model has, in order.
        unsupported: the other kinds, with the reason.
    """

    scenario: Scenario
    deployment: Deployment
    kinds: dict[Layer, int]
    unsupported: tuple[Unsupported, ...]

    @property
    def sequences(self) -> int:
        return self.scenario.workload.batch

    @property
    def context(self) -> int:
        return self.scenario.workload.context

    @property
    def ranks(self) -> list[Rank]:
        """Every rank, those of one stage side by side."""
        tp = self.deployment.tp
        return [Rank(index, index // tp, index % tp) for index in range(self.deployment.ranks)]

    def layers(self, rank: Rank) -> list[Layer]:
        """The caches of a rank's layers that can be verified, in order, each as the first of its kind."""
        first = {layer.label: layer for layer in self.kinds}
        stage = stages(self.scenario.model.sequence(), self.deployment.pp)[rank.stage]
        return [first[layer.label] for caches in stage for layer in caches if layer.label in first]

    def content_bytes(self, layers: Mapping[Layer, int]) -> int:
        """The content of these layers on one rank, by the formula: an engine that rounds reserves more."""
        return content_bytes(
            RankLoad(layers, self.deployment.tp, self.sequences, self.context, self.scenario.cache_format)
        )

    def rank_bytes(self, rank: Rank) -> int:
        """The content of a rank's layers, by the formula."""
        return self.content_bytes(Counter(self.layers(rank)))

    def format_of(self, layer: Layer, name: str) -> str:
        """The element format that a tensor of a layer is stored in; of one that no formula counts, the cache's."""
        counted = {tensor.name: tensor for tensor in layer.attention.cached()}
        return self.scenario.cache_format.of(layer, counted.get(name, CachedTensor(name, ()))).name


def scope_of(scenario: Scenario) -> Scope:
    """Settle the deployment (1 x 1 where none is asked for) and sort the layers.

    Raises:
        KvcalcError: an illegal deployment, or replicas, which are copies of what one of them shows.
    """
    deployment = scenario.deployment or Deployment()
    if deployment.dp > 1:
        raise KvcalcError("--dp: replicas are alike; verify one, with its share of the batch")
    if deployment.dcp > 1 or scenario.shared_prefix:
        name = "--dcp" if deployment.dcp > 1 else "--shared-prefix"
        raise KvcalcError(f"{name}: the reference modules keep every sequence whole, so this cannot be verified")
    kinds = count_layers(scenario.model.sequence())
    check_legal(deployment, scenario.model)
    scope = Scope(scenario, deployment, kinds, ())
    reasons = {layer: _why_not(layer) for layer in kinds}
    return scope._replace(
        kinds={layer: count for layer, count in kinds.items() if reasons[layer] is None},
        unsupported=tuple(
            Unsupported(f"{kinds[layer]:,} x {layer.label}", reason) for layer, reason in reasons.items() if reason
        ),
    )


def _why_not(layer: Layer) -> str | None:
    if type(layer.attention) not in REFERENCES:
        return f"there is no reference module for kind '{layer.attention.kind}'"
    small = reference_of(layer.attention).small
    if any(heads.value > MAX_HEADS for heads in layer.attention.divided if heads.name not in small):
        return f"more than {MAX_HEADS:,} heads"
    return None
