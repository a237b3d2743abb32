"""Weights: the bytes of a checkpoint, and what a rank holds of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from kvcalc.formats import find_format
from kvcalc.scenario import checkpoint_format
from kvcalc.term import Factor, Product, Share, Sum, Term

if TYPE_CHECKING:
    from kvcalc.deployment import Deployment
    from kvcalc.formats import ElementFormat
    from kvcalc.model import Model
    from kvcalc.scenario import Scenario


class _Part(NamedTuple):
    """Some of the weights, and whether every rank holds them whole."""

    term: Product
    on_every_rank: bool


def _given(size: int) -> Product:
    return Product("weights given", (Factor("given", size, "bytes"),), "given by the user")


def _uniform_format(scenario: Scenario) -> ElementFormat:
    return scenario.weight_format or checkpoint_format(scenario.model)


def _parts(scenario: Scenario) -> tuple[_Part, ...] | None:
    model, replacement = scenario.model, scenario.replacements.weights
    if replacement is not None:
        return (_Part(_given(replacement), on_every_rank=False),)
    if model.weights:
        asked = scenario.weight_format
        return tuple(
            _Part(
                Product(part.part, (asked or find_format(part.format, "format")).parameters(part.parameters)),
                part.split == "all",
            )
            for part in model.weights
            if not (asked and part.scales)
        )
    if model.parameters is None:
        return None
    return (_Part(Product("parameters", _uniform_format(scenario).parameters(model.parameters)), on_every_rank=False),)


def replica_weights(scenario: Scenario, deployment: Deployment) -> Sum | None:
    """The weights of one replica: each part once, and once a rank what every rank holds. None where not known."""
    parts = _parts(scenario)
    if parts is None:
        return None
    ranks = Factor("ranks", deployment.ranks, "ranks")
    copies = deployment.ranks > 1
    return Sum(
        "weights",
        tuple(part.term.times(ranks) if part.on_every_rank and copies else part.term for part in parts),
    )


def rank_weights(scenario: Scenario, deployment: Deployment, stage: int, layers_on_stage: int) -> Sum | None:
    """The weights of a rank of one pipeline stage. None where not known.

    Parts divide evenly over tensor-parallel ranks. Over stages, a checkpoint of one format divides by layers, taken as
    equally large, with the embedding on the first stage and the output head on the last; any other divides evenly.
    """
    parts = _parts(scenario)
    if parts is None:
        return None
    if deployment.pp > 1 and splits_by_layers(scenario):
        return _stage_by_layers(scenario, deployment, stage, layers_on_stage)
    if deployment.ranks == 1:
        return Sum("weights", tuple(part.term for part in parts))
    ranks = Factor("ranks", deployment.ranks, "ranks")
    return Sum(
        "weights",
        tuple(part.term if part.on_every_rank else Share(part.term.path, part.term, ranks) for part in parts),
    )


def splits_by_layers(scenario: Scenario) -> bool:
    """Whether the model's file says enough to tell embedding, layers and output head apart."""
    model = scenario.model
    return (
        scenario.replacements.weights is None
        and not model.weights
        and None not in (model.parameters, model.vocab_size, model.hidden_size, model.tie_word_embeddings)
        and _layer_parameters(model) > 0
    )


def _embedding_parameters(model: Model) -> int:
    return (model.vocab_size or 0) * (model.hidden_size or 0)


def _layer_parameters(model: Model) -> int:
    """Parameters that are neither embedding nor output head."""
    tables = 1 if model.tie_word_embeddings else 2
    return (model.parameters or 0) - tables * _embedding_parameters(model)


def _stage_by_layers(scenario: Scenario, deployment: Deployment, stage: int, layers_on_stage: int) -> Sum:
    model, element_format = scenario.model, _uniform_format(scenario)
    terms: list[Term] = [
        Share(
            "layers of the stage",
            Product("all layers", element_format.parameters(_layer_parameters(model))),
            Factor("layers x tp", model.num_layers * deployment.tp, "layers x tp"),
            Factor("layers_on_stage", layers_on_stage, "layers on the stage"),
        )
    ]
    table = Product("table", element_format.parameters(_embedding_parameters(model)))
    tp = Factor("tp", deployment.tp, "ranks")
    if stage == 0:
        terms.append(Share("embedding", table, tp))
    if stage == deployment.pp - 1:
        terms.append(Share("output head", table, tp))
    return Sum("weights", tuple(terms))
