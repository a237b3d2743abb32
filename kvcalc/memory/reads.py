"""What one decode step reads and computes on a rank, at least.

A step makes one token of every sequence. It multiplies each token by the weights of the layers and of the output head,
and attends to all that the cache keeps, in a sparse layer to the positions that are chosen; what choosing them computes
is not counted. Of a table of embeddings it looks up a row, which counts as nothing. Of num_experts experts a step uses
num_experts_per_tok at least, and as many more as its tokens choose differently; which is not known, so the least is
taken, spread evenly over the ranks that share them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from kvcalc.mechanisms import Role
from kvcalc.memory.parts import Part, placed_parts
from kvcalc.memory.weights import on_stage, tied_head
from kvcalc.term import Factor, Product, Share, Sum, Term

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kvcalc.deployment import Deployment
    from kvcalc.formats import ElementFormat
    from kvcalc.layers import Layer
    from kvcalc.memory.ranks import Rank
    from kvcalc.scenario import Scenario


class Operations(NamedTuple):
    """Floating-point operations, two for each multiply-add.

    Attributes:
        term: whose value is their number.
        element_format: of what tokens are multiplied by; None where it is not known.
    """

    term: Term
    element_format: ElementFormat | None


def parts_used(scenario: Scenario) -> tuple[Part, ...] | None:
    """The parts of the weights that a step multiplies by; None where the model's file does not tell them apart.

    Towers for images or sound, which every rank holds whole, are not used to make text.
    """
    placed, model = placed_parts(scenario), scenario.model
    if placed is None:
        return None
    experts = any(part.split == "ep" for part in placed)
    if experts != model.is_mixture_of_experts or (experts and model.num_experts_per_tok is None):
        return None
    tied = (part._replace(term=part.term._replace(path="output head")) for part in tied_head(scenario, placed))
    return (*(part for part in placed if part.place != "embedding" and part.used), *tied)


def weights_read(scenario: Scenario, deployment: Deployment, rank: Rank, parts: tuple[Part, ...]) -> Sum:
    """What a step reads of a rank's weights."""
    terms = (_share(scenario, deployment, rank, part, part.term) for part in parts)
    return Sum("weights read", tuple(term for term in terms if term is not None))


def operations(
    scenario: Scenario, deployment: Deployment, rank: Rank, parts: tuple[Part, ...], sequences: int, joined: int
) -> Iterator[Operations]:
    """What a step computes on a rank for so many sequences of its replica.

    Args:
        scenario: what is asked.
        deployment: over which ranks.
        rank: one of them.
        parts: those of the weights that are used.
        sequences: of the replica.
        joined: sequences of all replicas that share the experts.
    """
    for part in parts:
        if part.multiplied:
            each = Product(
                part.term.path,
                (
                    Factor("per_multiply_add", 2, "operation"),
                    Factor("parameters", part.multiplied, "parameter"),
                    Factor("sequences", joined if part.split == "ep" else sequences, "token"),
                ),
            )
            term = _share(scenario, deployment, rank, part, each)
            if term is not None:
                yield Operations(_in_operations(term), part.element_format)
    for layer, count in rank.layers.items():
        yield from _attention(scenario, deployment, layer, count, sequences)


def _attention(
    scenario: Scenario, deployment: Deployment, layer: Layer, count: int, sequences: int
) -> Iterator[Operations]:
    """Of a layer's scores and sums over what grows, and over what does not."""
    attention, context = layer.attention, scenario.workload.context
    positions = context if layer.span is None else layer.span.kept(context)
    if attention.positions_read is not None:
        positions = min(positions, attention.positions_read)
    growing = [tensor for tensor in attention.cached() if tensor.rows is None and tensor.role is Role.CACHE]
    constant = [tensor for tensor in attention.cached() if tensor.rows is not None and tensor.role is not Role.CONV]
    each = Factor("positions", positions, "position"), Factor("multiply_adds", attention.multiply_adds, "multiply-add")
    alone = (Factor("multiply_adds", attention.constant_multiply_adds, "multiply-add"),)
    for factors, tensors in ((each, growing), (alone, constant)):
        if factors[-1].value:
            whole = Product(
                f"attention of {layer.label}",
                (
                    Factor("per_multiply_add", 2, "operation"),
                    Factor("layers", count, "layer"),
                    Factor("sequences", sequences, "token"),
                    *factors,
                ),
            )
            ranks = Factor("ranks", deployment.tp, "rank")
            term = Share(whole.path, whole, ranks, unit="operations") if deployment.tp > 1 else whole
            formats = {scenario.cache_format.of(layer, tensor) for tensor in tensors}
            yield Operations(term, formats.pop() if len(formats) == 1 else None)


def _in_operations(term: Term) -> Term:
    return term._replace(unit="operations") if isinstance(term, Share) else term


def _share(scenario: Scenario, deployment: Deployment, rank: Rank, part: Part, whole: Product) -> Term | None:
    """A rank's share of what a step reads or computes of a part."""
    share = on_stage(scenario, deployment, part, rank.stage, rank.layer_range)
    if share is None or part.split != "ep":
        return None if share is None else share.of(whole)
    used, experts = scenario.model.num_experts_per_tok or 1, scenario.model.num_experts or 1
    share = share.times(Factor("experts_per_token", used, "expert")).over(Factor("experts", experts, "expert"))
    return share.over(Factor("ranks", deployment.expert_ranks, "rank")).of(whole)
