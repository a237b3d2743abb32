"""Weights: what a replica and what a rank hold of the parts of a checkpoint.

Over tensor-parallel ranks every part divides evenly, but for what they copy (copies.py); experts divide over the ranks
that share them, whole experts first, so that the fullest rank holds ceil(num_experts / ep). Over pipeline stages layers
divide, with embeddings on the first stage and the output head on the last; a tied head is a copy of the embedding
there. Where the model's file lacks what is needed for that, the total divides evenly: total / (tp x pp).
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import TYPE_CHECKING, Literal

from kvcalc.engines.placement import Placement
from kvcalc.memory.copies import Copied, copied_weights, with_copies
from kvcalc.memory.parts import Part, placed_parts, whole_parts
from kvcalc.named_tuple import NamedTuple
from kvcalc.scenario.draft_of import draft_copies, draft_deployment, draft_scenario
from kvcalc.term import Factor, Product, Share, Sum, Term

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kvcalc.deployment import Deployment
    from kvcalc.scenario import Scenario

EVERYTHING = Placement()
"""All weights on accelerators."""

Basis = Literal["one rank's worth", "by place", "by layers", "even"]
"""How weights divide over ranks beyond plain tensor parallelism."""


def weights_basis(scenario: Scenario, deployment: Deployment) -> Basis:
    """How this scenario's weights divide over the deployment's ranks."""
    whole = deployment.pp == 1 and not scenario.engine.places_weights
    if whole and not experts_apart(scenario, deployment):
        return "one rank's worth"
    if placed_parts(scenario) is not None:
        return "by place"
    return "by layers" if scenario.model.weights and scenario.replacements.weights is None else "even"


def experts_apart(scenario: Scenario, deployment: Deployment) -> bool:
    """Whether experts divide otherwise than the other weights do."""
    return deployment.dp_attention or bool((scenario.model.num_experts or 1) % deployment.ep)


def parts_held(scenario: Scenario, deployment: Deployment) -> tuple[Part, ...] | None:
    """The parts that the ranks of a replica hold together. None where not known."""
    parts = _parts(scenario, deployment)
    if parts is None:
        return None
    if scenario.engine.divides_towers(scenario.model, deployment):
        parts = tuple(part._replace(split="tp", place="embedding") if part.split == "all" else part for part in parts)
    elif deployment.pp > 1 and scenario.engine.copies_towers_on_first_stage(scenario.model):
        parts = tuple(
            part._replace(split="tp", place="embedding", heads=1) if part.split == "all" else part for part in parts
        )
    if not scenario.engine.loads_unused(scenario.model):
        parts = tuple(part for part in parts if part.used or part.split != "tp" or part.place != "layers")
    held = with_copies(scenario, deployment, parts)
    return held if deployment.pp == 1 else (*held, *tied_head(scenario, parts))


def uncounted_copies(scenario: Scenario, deployment: Deployment) -> list[Copied]:
    """What tensor-parallel ranks copy by the model's dims, where the parts do not tell which of them has it."""
    parts = _parts(scenario, deployment)
    if parts is not None and with_copies(scenario, deployment, parts) is not parts:
        return []
    return copied_weights(scenario, deployment.tp)


def _parts(scenario: Scenario, deployment: Deployment) -> tuple[Part, ...] | None:
    by_place = weights_basis(scenario, deployment) == "by place"
    return placed_parts(scenario) if by_place else whole_parts(scenario)


def replica_weights(scenario: Scenario, deployment: Deployment) -> Sum | None:
    """The weights of one replica: each part once, and as often as ranks hold it whole. None where not known."""
    parts = parts_held(scenario, deployment)
    if parts is None:
        return None
    return Sum("weights", (*_replica_terms(deployment, parts), *_draft_terms(scenario, deployment)))


def _draft_terms(scenario: Scenario, deployment: Deployment) -> Iterator[Term]:
    """What drafts tokens: as often as the ranks of the replica hold it."""
    draft = draft_scenario(scenario)
    if draft is None:
        return
    ranks, copies = draft_deployment(scenario, deployment), draft_copies(scenario, deployment)
    for part in _replica_terms(ranks, parts_held(draft, ranks) or ()):
        named = part._replace(path=f"draft, {part.path}")
        copied = Factor("copies", copies, "copy")
        yield (
            named
            if copies == 1
            else named.times(copied)
            if isinstance(named, Product)
            else Share(named.path, Product(named.path, (Factor("one", named.bytes, "byte"), copied)), Factor("once", 1))
        )


def _replica_terms(deployment: Deployment, parts: tuple[Part, ...]) -> Iterator[Term]:
    replicas = Factor("replicas", deployment.replicas_joined, "replica")
    for part in parts:
        copies = deployment.tp // part.ways(deployment.tp)
        if part.split == "all" and deployment.ranks > 1:
            yield part.term.times(Factor("ranks", deployment.ranks, "rank"))
        elif copies > 1:
            yield part.term.times(Factor("copies", copies, "copy"))
        elif part.split == "ep" and replicas.value > 1:
            yield Share(part.term.path, part.term, replicas)
        else:
            yield part.term


def rank_weights(
    scenario: Scenario,
    deployment: Deployment,
    parts: tuple[Part, ...],
    stage: int,
    layers: range,
    placement: Placement = EVERYTHING,
) -> Sum:
    """What the fullest rank of the pipeline stage that holds these layers has of the parts of its replica."""
    shares = ((part, _rank_share(scenario, deployment, part, stage, layers, placement)) for part in parts)
    return Sum("weights", tuple(share.of(part.term) for part, share in shares if share is not None))


def rank_weights_bytes(
    scenario: Scenario,
    deployment: Deployment,
    parts: PartsAlike,
    stage: int,
    layers: range,
    placement: Placement = EVERYTHING,
) -> int:
    """The bytes of that."""
    total = 0
    for part, sizes in parts:
        share = _rank_share(scenario, deployment, part, stage, layers, placement)
        if share is not None:
            total += share.bytes_of(sizes)
    return total


PartsAlike = tuple[tuple[Part, tuple[int, ...]], ...]
"""Parts that divide over ranks in the same way: one of them, and the bytes of each."""


def parts_alike(parts: tuple[Part, ...]) -> PartsAlike:
    """The parts, those that divide in the same way together."""
    alike: dict[object, list[Part]] = {}
    for part in parts:
        alike.setdefault((part.split, part.place, part.heads, part.is_table, part.ngrams), []).append(part)
    return tuple((same[0], tuple(part.term.bytes for part in same)) for same in alike.values())


def tied_head(scenario: Scenario, parts: tuple[Part, ...]) -> tuple[Part, ...]:
    """A tied output head: the embedding itself on one stage, else a copy of it on the last."""
    if not scenario.model.tie_word_embeddings:
        return ()
    return tuple(
        part._replace(term=part.term._replace(path="output head, a copy of the embedding"), place="head")
        for part in parts
        if part.is_table
    )


def _rank_share(
    scenario: Scenario, deployment: Deployment, part: Part, stage: int, layers: range, placement: Placement
) -> Portion | None:
    """How much a rank holds of a part; None where the part is on other stages, or in host memory."""
    if part.split == "all":
        return Portion((), ())
    if (part.is_table and not placement.embedding) or (part.place == "head" and not placement.head):
        return None
    if part.ngrams and not placement.ngrams:
        return None
    first = max(placement.first_layer, placement.first_experts if part.split == "ep" else 0)
    if first > layers.start:
        layers = range(min(first, layers.stop), layers.stop)
    share = on_stage(scenario, deployment, part, stage, layers)
    if share is None or part.split == "tp":
        return share
    num_experts, ep = scenario.model.num_experts or 1, deployment.ep
    if num_experts % ep:
        share = share.times(Factor("experts_on_rank", -(-num_experts // ep), "expert"))
        share = share.over(Factor("experts", num_experts, "expert"))
        return share.over(Factor("ranks", deployment.expert_ranks // ep, "rank"))
    return share.over(Factor("ranks", deployment.expert_ranks, "rank"))


class Portion(NamedTuple):
    """A portion of a whole: the product of `parts` of the product of `among`."""

    parts: tuple[Factor, ...]
    among: tuple[Factor, ...]

    def times(self, factor: Factor) -> Portion:
        return Portion((*self.parts, factor), self.among)

    def over(self, factor: Factor) -> Portion:
        return Portion(self.parts, (*self.among, factor))

    def of(self, whole: Product) -> Term:
        """That part of a term, rounded up once."""
        if all(factor.value == 1 for factor in (*self.parts, *self.among)):
            return whole
        return Share(whole.path, whole, _together(self.among), _together(self.parts) if self.parts else None)

    def bytes_of(self, sizes: tuple[int, ...]) -> int:
        """That part of each of the sizes, rounded up once."""
        parts = among = 1
        for factor in self.parts:
            parts *= factor.value
        for factor in self.among:
            among *= factor.value
        total = 0
        for size in sizes:
            total -= -size * parts // among
        return total


def on_stage(scenario: Scenario, deployment: Deployment, part: Part, stage: int, layers: range) -> Portion | None:
    """How much of a part is on a stage, and of what is not experts on one of its ranks; None of nothing."""
    model, pp = scenario.model, deployment.pp
    ways = part.ways(deployment.tp)
    if part.place is None and len(layers) < model.num_layers and pp == 1:
        return _share(len(layers), model.num_layers, None, deployment.tp) if layers else None
    if part.place is None:
        return _share(0, 0, deployment.ranks if part.heads is None else ways, deployment.tp, ranks=part.heads is None)
    tp_ways = ways if part.split == "tp" else None
    if part.place in {"embedding", "head"}:
        here = stage == (0 if part.place == "embedding" else pp - 1)
        return _share(0, 0, tp_ways, deployment.tp) if here else None
    if pp == 1 and len(layers) == model.num_layers:
        return _share(0, 0, tp_ways, deployment.tp)
    if part.split == "ep":
        held, among = model.layers_with_experts(layers), model.layers_with_experts(range(model.num_layers))
    else:
        held, among = len(layers), model.num_layers
    return _share(held, among, tp_ways, deployment.tp) if held else None


@lru_cache(maxsize=4096)
def _share(held: int, layers: int, ways: int | None, tp: int, *, ranks: bool = False) -> Portion:
    """`held` of so many layers, if they divide, and one of so many ways, if it divides over ranks."""
    among = (Factor("layers", layers, "layer"),) if held else ()
    if ways is not None:
        name = ("ranks", "rank") if ranks else ("tp", "tp") if ways == tp else ("shares", "share")
        among = (*among, Factor(name[0], ways, name[1]))
    return Portion((Factor("layers_on_stage", held, "layer"),) if held else (), among)


def _together(factors: tuple[Factor, ...]) -> Factor:
    """Factors as one, its name and noun joined: layers_x_tp."""
    several = [factor for factor in factors if factor.value != 1] or [factors[0]]
    if len(several) == 1:
        (single,) = several
        return Factor("ranks", single.value, "rank") if single.name == "tp" else single
    return Factor(
        "_x_".join(factor.name for factor in several),
        math.prod(factor.value for factor in several),
        " x ".join(factor.noun for factor in several),
    )
