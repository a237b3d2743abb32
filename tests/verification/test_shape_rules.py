"""Shapes by rule are those that torch's own operations on the meta device give."""

from __future__ import annotations

import contextlib

import pytest
import torch
from samples import SAMPLES, model_of, named

import kvcalc
from kvcalc.formats.element import FORMATS
from kvcalc.mechanisms import GQA, Attention
from kvcalc.verification import shapes
from kvcalc.verification.scope import scope_of
from kvcalc.verification.shape_rules import ShapeRules

Tensors = dict[str, tuple[object, ...]]

x_23 = torch.empty(2, 3, device="meta", dtype=torch.bfloat16)
y_1 = torch.empty(1, device="meta", dtype=torch.float32)


def observed(scenario: kvcalc.Scenario) -> Tensors:
    scope = scope_of(scenario)
    return {
        f"{rank} {label} {name}": (kept.row, kept.rows, kept.stored.shape, kept.stored.dtype, kept.stored.stride())
        for rank in scope.ranks
        for label, one in shapes.observe(scope, rank).items()
        for name, kept in one.tensors.items()
    }


def same_without_rules(scenario: kvcalc.Scenario) -> bool:
    by_rule = observed(scenario)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(shapes, "ShapeRules", contextlib.nullcontext)
        return by_rule == observed(scenario)


@pytest.mark.parametrize("attention", SAMPLES, ids=named)
def test_of_every_mechanism(attention: Attention) -> None:
    assert same_without_rules(kvcalc.make_scenario(model_of(attention), batch=3, context=7))


@pytest.mark.parametrize("name", FORMATS)
def test_of_every_format(name: str) -> None:
    attention = GQA(num_heads=4, num_kv_heads=2, head_dim=128)
    assert same_without_rules(kvcalc.make_scenario(model_of(attention), batch=3, context=7, cache_dtype=name))


@pytest.mark.parametrize(
    "expression",
    [
        "x * y", "x - 1", "2.0 ** x", "x.log2().ceil().exp2()", "y / x", "-x",
        "torch.cat((x, x.float()), -1)", "torch.cat((x, x))",
        "torch.stack((x, x), -1)", "torch.stack((x, x), 1)", "torch.stack((x, x))", "torch.stack((x, x), -2)",
        "x.sum(-1)", "x.sum(0, keepdim=True)", "x.amax(1)", "x.amax(dim=-2, keepdim=True)", "torch.outer(x[0], y)",
        "torch.einsum('ab,cb->ca', x, x)", "torch.nn.functional.linear(x, x)",
        "x.to(torch.uint8) & 15", "x.to(torch.uint8) ^ 8", "x.to(torch.int8) & 15",
        "x.to(torch.uint8) & x.to(torch.int8)", "x.to(torch.uint8) & True", "x.to(torch.bool) & 3",
        "x.to(torch.uint8) | y.to(torch.uint8)", "x.to(torch.uint8) << 4",
        "x.to(torch.uint8) >> 4", "x.to(torch.uint8) | y.to(torch.int32)", "x.to(torch.int8) + 1",
        "torch.cat((x.to(torch.uint8), x.to(torch.uint8)))", "x[:, :0] * y", "x > y",
    ],
)  # fmt: skip
def test_of_an_operation(expression: str) -> None:
    names = {"x": x_23, "y": y_1, "torch": torch}
    expected = eval(expression, names)  # noqa: S307  # of this file
    with ShapeRules():
        found = eval(expression, names)  # noqa: S307  # likewise
    assert (found.shape, found.dtype, found.device) == (expected.shape, expected.dtype, expected.device)


@pytest.mark.parametrize(
    "expression",
    ["x * x.T", "torch.cat((x, x.T))", "torch.stack((x, x.T))", "torch.nn.functional.linear(x, x.T)",
     "torch.einsum('ab,ab->a', x, x.T)", "torch.outer(x, x)"],
)  # fmt: skip
def test_what_does_not_fit_is_refused_as_without_rules(expression: str) -> None:
    with ShapeRules(), pytest.raises(RuntimeError):
        eval(expression, {"x": x_23, "torch": torch})  # noqa: S307  # of this file


def test_what_is_not_on_the_meta_device_is_computed() -> None:
    with ShapeRules():
        assert (torch.ones(2) + torch.ones(2)).tolist() == [2, 2]
        assert torch.cat((torch.ones(1), torch.zeros(1))).tolist() == [1, 0]
