"""What one decode step reads and computes on a rank, at least.

A step makes one token of every sequence. It multiplies each token by the weights of the layers and of the output head,
and attends to all that the cache keeps, in a sparse layer to the positions that are chosen; what choosing them computes
is not counted. Of a table of embeddings it looks up a row, which counts as nothing. Of num_experts experts a step uses
num_experts_per_tok at least, and as many more as its tokens choose differently; which is not known, so the least is
taken, spread evenly over the ranks that share them.
"""

from __future__ import annotations

from functools import cached_property
from math import prod
from typing import TYPE_CHECKING

from kvcalc.mechanisms import Role
from kvcalc.memory.copies import with_copies
from kvcalc.memory.parts import Part, placed_parts
from kvcalc.memory.weights import Portion, on_stage, tied_head
from kvcalc.named_tuple import NamedTuple
from kvcalc.scenario import once
from kvcalc.scenario.mix import Mix
from kvcalc.term import Factor, Product, Share, Sum, Term

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from kvcalc.deployment import Deployment
    from kvcalc.formats.element import ElementFormat
    from kvcalc.memory.rank import Rank
    from kvcalc.model.layers import Layer
    from kvcalc.scenario import Scenario


class PartWork(NamedTuple):
    """Multiplying tokens by a rank's share of some weights.

    Attributes:
        path: of the weights.
        parameters: of all ranks.
        share: that this rank has of them.
        joined: whether the tokens are those of all replicas that share the experts.
        element_format: of what tokens are multiplied by; None where it is not known.
    """

    path: str
    parameters: int
    share: Portion
    joined: bool
    element_format: ElementFormat | None

    def operations(self, sequences: int, joined: int) -> int:
        """Two for each multiply-add."""
        return self.share.bytes_of((2 * self.parameters * (joined if self.joined else sequences),))

    def term(self, sequences: int, joined: int) -> Term:
        """Whose value is their number."""
        factors = (
            Factor("per_multiply_add", 2, "operation"),
            Factor("parameters", self.parameters, "parameter"),
            Factor("sequences", joined if self.joined else sequences, "token"),
        )
        return _in_operations(self.share.of(Product(self.path, factors)))


class AttentionWork(NamedTuple):
    """Scores and sums of layers of one kind over what they keep.

    Attributes:
        each: factors of one token in one layer; where sequences differ, without the positions.
        ranks: that share them.
        element_format: of what is attended to; None where it is not known.
        positions: of so many sequences together, where they differ.
    """

    path: str
    layers: int
    each: tuple[Factor, ...]
    ranks: int
    element_format: ElementFormat | None
    positions: Callable[[int], int] | None = None

    def _of(self, sequences: int) -> Factor:
        if self.positions is None:
            return Factor("sequences", sequences, "token")
        return Factor("positions", self.positions(sequences), "position of all sequences")

    def operations(self, sequences: int, joined: int) -> int:  # noqa: ARG002  # as weights have it
        """Two for each multiply-add."""
        sequences = self._of(sequences).value
        return -(-2 * self.layers * sequences * prod(factor.value for factor in self.each) // self.ranks)

    def term(self, sequences: int, joined: int) -> Term:  # noqa: ARG002  # as weights have it
        """Whose value is their number."""
        factors = (
            Factor("per_multiply_add", 2, "operation"),
            Factor("layers", self.layers, "layer"),
            self._of(sequences),
            *self.each,
        )
        whole, ranks = Product(self.path, factors), Factor("ranks", self.ranks, "rank")
        return Share(self.path, whole, ranks, unit="operations") if self.ranks > 1 else whole


Work = PartWork | AttentionWork
"""Floating-point operations of a step on a rank, for any number of sequences of its replica, and of those joined."""


@once
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


def parts_read(scenario: Scenario, deployment: Deployment) -> tuple[Part, ...]:
    """Those parts, with what the deployment's ranks copy of them; none where they are not told apart."""
    return with_copies(scenario, deployment, parts_used(scenario) or ())


class WeightsUsed:
    """What a step uses of a rank's weights, whatever its workload.

    Attributes:
        shares: the parts that it uses, and how much of each.
    """

    def __init__(self, scenario: Scenario, deployment: Deployment, rank: Rank, parts: tuple[Part, ...]) -> None:
        shares = ((part, _share(scenario, deployment, rank, part)) for part in parts)
        self.shares = tuple((part, share) for part, share in shares if share is not None)

    @cached_property
    def read(self) -> Sum:
        """What it reads of them."""
        return Sum("weights read", tuple(share.of(part.term) for part, share in self.shares))

    @cached_property
    def read_bytes(self) -> int:
        """The bytes of that."""
        return sum(share.bytes_of((part.term.bytes,)) for part, share in self.shares)

    @cached_property
    def work(self) -> tuple[tuple[Part, PartWork], ...]:
        """The parts that tokens are multiplied by, and what that computes."""
        return tuple(
            (part, PartWork(part.term.path, part.multiplied, share, part.split == "ep", part.element_format))
            for part, share in self.shares
            if part.multiplied
        )


def work(scenario: Scenario, deployment: Deployment, rank: Rank, used: WeightsUsed) -> Iterator[Work]:
    """What a step computes on a rank that uses these weights."""
    for _, multiplied in used.work:
        yield multiplied
    for layer, count in rank.layers.items():
        yield from _attention(scenario, deployment, rank, layer, count)


def _attention(
    scenario: Scenario, deployment: Deployment, rank: Rank, layer: Layer, count: int
) -> Iterator[AttentionWork]:
    """Of a layer's scores and sums over what grows, and over what does not."""
    attention, lengths = layer.attention, scenario.workload.average

    def scored(context: int) -> int:
        return attention.positions(context if layer.span is None else layer.span.kept(context))

    def of_all(sequences: int) -> int:
        return sum(number * scored(context) for number, context in rank.load(sequences, lengths).alike)

    mixed = of_all if isinstance(lengths, Mix) else None
    kept = attention.cached()
    growing = [tensor for tensor in kept if tensor.rows is None and tensor.role is Role.CACHE]
    constant = [tensor for tensor in kept if tensor.rows is not None and tensor.role is not Role.CONV]
    each: tuple[Factor, ...] = (Factor("multiply_adds", attention.multiply_adds, "multiply-add"),)
    if not isinstance(lengths, Mix):
        each = (Factor("positions", scored(lengths), "position"), *each)
    alone = (Factor("multiply_adds", attention.constant_multiply_adds, "multiply-add"),)
    for factors, tensors, positions in ((each, growing, mixed), (alone, constant, None)):
        if factors[-1].value:
            formats = {rank.settled.cache_format.of(layer, tensor) for tensor in tensors}
            one_format = formats.pop() if len(formats) == 1 else None
            yield AttentionWork(f"attention of {layer.label}", count, factors, deployment.tp, one_format, positions)


def _in_operations(term: Term) -> Term:
    return term._replace(unit="operations") if isinstance(term, Share) else term


def _share(scenario: Scenario, deployment: Deployment, rank: Rank, part: Part) -> Portion | None:
    """A rank's share of what a step reads or computes of a part."""
    share = on_stage(scenario, deployment, part, rank.stage, rank.layer_range)
    if share is None or part.split != "ep":
        return share
    used, experts = scenario.model.num_experts_per_tok or 1, scenario.model.num_experts or 1
    share = share.times(Factor("experts_per_token", used, "expert")).over(Factor("experts", experts, "expert"))
    return share.over(Factor("ranks", deployment.expert_ranks, "rank"))
