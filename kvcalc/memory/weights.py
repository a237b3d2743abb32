"""Weights: the bytes of a checkpoint, and what a rank holds of them.

Over tensor-parallel ranks every part divides evenly. Over pipeline stages:

- a checkpoint of one format divides by layers, with the embedding on the first stage and the output head on the last;
- one that its file lists part by part divides by layers too, experts over the layers that have them;
- where the file lacks the dims for that, or the user gives the size, it divides evenly.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, NamedTuple

from kvcalc.formats import find_format
from kvcalc.scenario import checkpoint_format
from kvcalc.term import Factor, Product, Share, Sum, Term

if TYPE_CHECKING:
    from kvcalc.deployment import Deployment
    from kvcalc.formats import ElementFormat
    from kvcalc.model import Model
    from kvcalc.scenario import Scenario

Basis = Literal["embedding, layers and head", "layers", "even"]
"""How weights divide over pipeline stages."""

BY_LAYERS_AND_ENDS: Basis = "embedding, layers and head"


class _Part(NamedTuple):
    """Some of the weights, and over which ranks it divides."""

    term: Product
    split: Literal["tp", "ep", "all"]


def replica_weights(scenario: Scenario, deployment: Deployment) -> Sum | None:
    """The weights of one replica: each part once, and once a rank what every rank holds. None where not known."""
    parts = _parts(scenario)
    if parts is None:
        return None
    ranks = Factor("ranks", deployment.ranks, "rank")
    copied = deployment.ranks > 1
    terms = [term.times(ranks) if split == "all" and copied else term for term, split in parts]
    if deployment.pp > 1 and scenario.model.tie_word_embeddings and weights_basis(scenario) == BY_LAYERS_AND_ENDS:
        terms.append(Product("output head, a copy of the embedding", _table(scenario).factors))
    return Sum("weights", tuple(terms))


def rank_weights(scenario: Scenario, deployment: Deployment, stage: int, layers: range) -> Sum | None:
    """The weights of a rank of the pipeline stage that holds these layers. None where not known."""
    parts = _parts(scenario)
    if parts is None:
        return None
    if deployment.pp > 1 and weights_basis(scenario) == BY_LAYERS_AND_ENDS:
        return _stage_of_one_format(scenario, deployment, stage, layers)
    return Sum("weights", tuple(_rank_part(scenario, deployment, part, layers) for part in parts))


def alike(scenario: Scenario, deployment: Deployment, stage: int, layers: range) -> tuple[int, int, bool, bool]:
    """What tells stages' weights apart: their layers, those with experts, and whether they are first or last."""
    with_experts = len(range(max(layers.start, _first_with_experts(scenario)), layers.stop))
    return len(layers), with_experts, stage == 0, stage == deployment.pp - 1


def weights_basis(scenario: Scenario) -> Basis:
    """How this scenario's weights divide over pipeline stages."""
    model = scenario.model
    if scenario.replacements.weights is not None:
        return "even"
    if model.weights:
        return "layers"
    dims = (model.parameters, model.vocab_size, model.hidden_size, model.tie_word_embeddings)
    return "even" if None in dims or _layer_parameters(model) < 1 else BY_LAYERS_AND_ENDS


def _parts(scenario: Scenario) -> tuple[_Part, ...] | None:
    model, given = scenario.model, scenario.replacements.weights
    if given is not None:
        return (_Part(Product("weights", (Factor("given", given, "byte"),), "given by the user"), "tp"),)
    if model.weights:
        asked = scenario.weight_format
        return tuple(
            _Part(
                Product(part.part, (asked or find_format(part.format, "format")).parameters(part.parameters)),
                part.split,
            )
            for part in model.weights
            if not (asked and part.scales)
        )
    if model.parameters is None:
        return None
    return (_Part(Product("parameters", _one_format(scenario).parameters(model.parameters)), "tp"),)


def _one_format(scenario: Scenario) -> ElementFormat:
    return scenario.weight_format or checkpoint_format(scenario.model)


def _rank_part(scenario: Scenario, deployment: Deployment, part: _Part, layers: range) -> Term:
    term, split = part
    if split == "all" or deployment.ranks == 1:
        return term
    if deployment.pp == 1 or weights_basis(scenario) == "even":
        return Share(term.path, term, Factor("ranks", deployment.ranks, "rank"))
    num_layers = scenario.model.num_layers
    first = _first_with_experts(scenario) if split == "ep" else 0
    on_stage = len(range(max(layers.start, first), layers.stop))
    among = Factor("layers_x_tp", (num_layers - first) * deployment.tp, "layer x tp")
    return Share(term.path, term, among, Factor("layers_on_stage", on_stage, "layer"))


def _first_with_experts(scenario: Scenario) -> int:
    return min(scenario.model.first_k_dense or 0, scenario.model.num_layers - 1)


def _embedding_parameters(model: Model) -> int:
    return (model.vocab_size or 0) * (model.hidden_size or 0)


def _layer_parameters(model: Model) -> int:
    """Parameters that are neither embedding nor output head."""
    tables = 1 if model.tie_word_embeddings else 2
    return (model.parameters or 0) - tables * _embedding_parameters(model)


def _table(scenario: Scenario) -> Product:
    """The embedding, or an output head of its size."""
    return Product("table", _one_format(scenario).parameters(_embedding_parameters(scenario.model)))


def _stage_of_one_format(scenario: Scenario, deployment: Deployment, stage: int, layers: range) -> Sum:
    """The stage's layers, taken as equally large; embedding first, output head last, a copy where tied."""
    model, element_format = scenario.model, _one_format(scenario)
    terms: list[Term] = [
        Share(
            "layers of the stage",
            Product("all layers", element_format.parameters(_layer_parameters(model))),
            Factor("layers_x_tp", model.num_layers * deployment.tp, "layer x tp"),
            Factor("layers_on_stage", len(layers), "layer"),
        )
    ]
    table = _table(scenario)
    tp = Factor("tp", deployment.tp, "rank")
    if stage == 0:
        terms.append(Share("embedding", table, tp))
    if stage == deployment.pp - 1:
        terms.append(Share("output head", table, tp))
    return Sum("weights", tuple(terms))
