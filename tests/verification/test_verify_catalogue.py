"""Every set of layers in the catalogue, verified by shapes and by a proof in float64, with every window crossed."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from catalogue_models import distinct_names
from proven_once import proven_once

import kvcalc

BATCH, CONTEXT = 2, 300_000


@pytest.fixture(autouse=True, scope="module")
def _each_layer_is_proven_once() -> Iterator[None]:
    """Models differ in more than what is proven of their layers: made small, half of them are alike."""
    with proven_once():
        yield


def kinds_of_layers(model: kvcalc.Model) -> object:
    """What a model's layers are, however many of each; what many of them keep is added up in tests/catalogue."""
    return model.dtype, [(each.attention, each.span) for each in model.distinct()]


@pytest.mark.parametrize("name", distinct_names(kinds_of_layers))
def test_a_model_of_the_catalogue_is_verified(name: str) -> None:
    model = kvcalc.load_model(name)
    assert all(layer.span is None or layer.limits(CONTEXT) for layer in model.distinct())
    result = kvcalc.verify(model, batch=BATCH, context=CONTEXT, device="meta")
    assert [check for check in result.checks if not check.ok] == []
    assert result.unsupported == ()
    assert result.verified
    [whole] = [check for check in result.checks if check.name == "cache bytes"]
    assert whole.measured == kvcalc.estimate(model, batch=BATCH, context=CONTEXT).cache.bytes
    assert whole.measured
    kinds = {layer.label for layer in model.distinct() if layer.attention.cached()}
    assert {check.subject for check in result.checks if check.name == "sufficient"} == kinds
    assert {check.subject for check in result.checks if check.name == "needed"} == kinds
