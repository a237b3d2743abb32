"""The parts of a checkpoint: how large each is, in which format, where in the model it sits, how it divides over ranks.

A model's file may list them. Else they follow from its dims: the embedding and the output head are vocab_size x
hidden_size each (one table where they are tied), the routed experts 3 x hidden_size x moe_intermediate_size each (gate,
up and down projection of a gated feed-forward block), and the rest of the parameters belongs to the layers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from kvcalc.formats.weights import find_weight_format, is_for_layers_alone, is_plain
from kvcalc.scenario import checkpoint_format, compute_format, once
from kvcalc.term import GIVEN, Factor, Product

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kvcalc.formats.element import ElementFormat
    from kvcalc.model.model import Model, Split, WeightPart, WeightPlace
    from kvcalc.scenario import Scenario

ROUTERS = "routers"
_MADE_SMALLER = frozenset({"parameters", "layers", "routed experts"})
"""The parts that quantised checkpoints have in another format; all of them where parts are not told apart."""


class Part(NamedTuple):
    """Some of the weights.

    Attributes:
        split: over which ranks it divides.
        heads: over how many tensor-parallel ranks it divides at most; further ranks hold copies. None: over any number.
        place: where it sits; None where that is not known, as of a size that the user gives.
        block: elements along a row that must stay together, since they share a scale.
        is_table: whether it is the embedding, which a tied output head uses too.
        parameters: its own, or scales; 0 where the number is not known.
        scales: whether it holds the scales of others.
        projections: whether the layers' projections of keys and values are said to be in it.
        element_format: of the parameters; None where only the size is known.
        used: whether making text reads it.
    """

    term: Product
    split: Split = "tp"
    place: WeightPlace | None = None
    block: int = 1
    is_table: bool = False
    parameters: int = 0
    element_format: ElementFormat | None = None
    scales: bool = False
    used: bool = True
    heads: int | None = None
    projections: bool = False

    @property
    def multiplied(self) -> int:
        """Parameters that a token is multiplied by."""
        return 0 if self.scales else self.parameters

    def ways(self, tp: int) -> int:
        """Over how many of `tp` ranks it divides."""
        return tp if self.heads is None else min(tp, self.heads)


@once
def whole_parts(scenario: Scenario) -> tuple[Part, ...] | None:
    """The parts as the user, the model's file or its parameters give them, not taken apart. None where not known."""
    model, given = scenario.model, scenario.replacements.weights
    if given is not None:
        return (Part(Product("weights", (Factor("given", given, "byte"),), GIVEN)),)
    if model.weights:
        return tuple(_listed(scenario))
    if model.parameters is None:
        return None
    if (asked := scenario.weight_format) and is_for_layers_alone(asked) and (placed := placed_parts(scenario)):
        return placed
    return (_of_one_format(scenario, "parameters", model.parameters),)


@once
def placed_parts(scenario: Scenario) -> tuple[Part, ...] | None:
    """The parts, each with its place in the model; None where the model's file does not tell them apart."""
    model = scenario.model
    if scenario.replacements.weights is not None:
        return None
    if model.weights:
        return tuple(_listed(scenario)) if any(part.place == "embedding" for part in model.weights) else None
    counts = None if model.parameters is None else _counts(model)
    if counts is None:
        return None
    asked = scenario.weight_format
    routers = counts.routers if asked and is_for_layers_alone(asked) else 0
    parts = (
        _of_one_format(scenario, "embedding", counts.table, place="embedding", is_table=True),
        _of_one_format(scenario, "towers for images or sound", counts.towers, place="embedding"),
        _of_one_format(scenario, "output head", counts.head, place="head"),
        _of_one_format(scenario, "routed experts", counts.experts, place="layers", split="ep"),
        _of_one_format(scenario, ROUTERS, routers, place="layers", heads=1),
        _of_one_format(scenario, "layers", counts.rest - routers, place="layers"),
    )
    return tuple(part for part in parts if part.parameters)


def left_alone(scenario: Scenario) -> tuple[str, ...] | None:
    """The parts that the asked format leaves in the model's dtype: none where the parts are not told apart.

    None where no format is asked for, or one for all weights, and where the weights are not known.
    """
    asked, parts = scenario.weight_format, whole_parts(scenario)
    if asked is None or parts is None or scenario.replacements.weights is not None or not is_for_layers_alone(asked):
        return None
    return tuple(part.term.path for part in parts if part.element_format != asked)


def expert_parameters(model: Model) -> int | None:
    """Parameters of all routed experts, from the model's dims; None where the dims are not known or do not agree.

    `active_parameters` counts num_experts_per_tok of the num_experts, so it must tell the same.
    """
    if not model.is_mixture_of_experts:
        return 0
    experts, width, hidden = model.num_experts, model.moe_intermediate_size, model.hidden_size
    if experts is None or width is None or hidden is None:
        return None
    counted = 3 * hidden * width * experts * (model.num_layers - model.first_with_experts)
    if model.parameters and model.active_parameters and model.num_experts_per_tok:
        idle = counted // experts * (experts - model.num_experts_per_tok)
        if model.parameters - model.active_parameters != idle:
            return None
    return counted


def router_parameters(model: Model, hidden_size: int) -> int:
    """Parameters of the matrices that choose experts: one in each layer that has them."""
    return (model.num_experts or 0) * hidden_size * (model.num_layers - model.first_with_experts)


class _Counts(NamedTuple):
    """Parameters of a model of one format."""

    table: int
    towers: int
    head: int
    experts: int
    routers: int
    rest: int


def _counts(model: Model) -> _Counts | None:
    """What the dims tell of the parameters; None where they do not tell all."""
    experts = expert_parameters(model)
    vocab, hidden, tied = model.vocab_size, model.hidden_size, model.tie_word_embeddings
    towers = model.tower_parameters if model.has_towers else 0
    if experts is None or vocab is None or hidden is None or tied is None or towers is None:
        return None
    table = vocab * hidden
    head = 0 if tied else table
    rest = (model.parameters or 0) - table - towers - head - experts
    routers = router_parameters(model, hidden) if experts else 0
    return _Counts(table, towers, head, experts, routers, rest) if rest > routers else None


def _listed(scenario: Scenario) -> Iterator[Part]:
    asked, table_seen = scenario.weight_format, False
    stay = _that_stay(scenario)
    for part in scenario.model.weights:
        if asked and part.scales:
            continue
        own = find_weight_format(part.format, "format")
        element_format = own if asked is None or part in stay else asked
        block = (None if asked else part.weight_block_size) or element_format.kept_together
        is_table = part.place == "embedding" and not table_seen
        table_seen = table_seen or is_table
        term = Product(part.part, element_format.parameters(part.parameters))
        yield Part(
            term,
            "tp" if part.split == "stage" else part.split,
            part.place,
            block,
            is_table,
            part.parameters,
            element_format,
            scales=part.scales,
            used=part.used and part.split != "all",
            heads=1 if part.split == "stage" else None,
            projections=part.projections,
        )


def _that_stay(scenario: Scenario) -> tuple[WeightPart, ...]:
    """The listed parts that stay as they are in the asked format.

    Where the list is of a quantised checkpoint, what that left in plain numbers; else all but what divides of layers.
    """
    asked, parts = scenario.weight_format, scenario.model.weights
    if asked is None or not is_for_layers_alone(asked):
        return ()
    plain = tuple(part for part in parts if not part.scales and is_plain(find_weight_format(part.format, "format")))
    if len(plain) < sum(not part.scales for part in parts):
        return plain
    return tuple(part for part in plain if part.place != "layers" or part.split in {"stage", "all"})


def _format_of(scenario: Scenario, name: str) -> ElementFormat:
    """The format of the part of that name in a checkpoint whose file states one."""
    own, asked = checkpoint_format(scenario.model), scenario.weight_format
    if asked is None or name in _MADE_SMALLER or not is_for_layers_alone(asked):
        return asked or own
    return own if is_plain(own) else compute_format(scenario.model)


def _of_one_format(
    scenario: Scenario,
    name: str,
    parameters: int,
    *,
    split: Split = "tp",
    place: WeightPlace | None = None,
    is_table: bool = False,
    heads: int | None = None,
) -> Part:
    element_format = _format_of(scenario, name)
    term = Product(name, element_format.parameters(parameters))
    block = element_format.kept_together
    return Part(term, split, place, block, is_table, parameters, element_format, heads=heads)
