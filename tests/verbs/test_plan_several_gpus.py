"""A plan over several accelerators is the plans of each, merged, in whatever order they are named."""

from __future__ import annotations

from itertools import product

import pytest
from fuzzing import some

import kvcalc
from kvcalc.verbs.planning.result import Plan

LIMIT = 12


def rows(plan: Plan) -> dict[str, list[object]]:
    """Each accelerator's deployments, and what is rejected."""
    found: dict[str, list[object]] = {}
    for row in plan.deployments:
        found.setdefault(row.gpu, []).append(row.to_dict())
    for rejected in plan.rejected:
        found.setdefault(f"{rejected.gpu}, rejected", []).append(rejected.to_dict())
    return found


MODELS = ["llama-3-70b", "qwen3-next-80b-a3b", "deepseek-v2-lite"]
GPUS = [("h100-sxm", "gh200-96"), ("gb10", "mi300x", "l4"), ("rtx5090", "gh200-96", "h20")]


@pytest.mark.parametrize(("model", "names"), some(product(MODELS, GPUS)))
def test_each_accelerator_has_its_own_node(model: str, names: tuple[str, ...]) -> None:
    """gh200-96 and gb10 are alone in their node, l4 and rtx5090 are not."""
    alone: dict[str, list[object]] = {}
    for name in names:
        alone |= rows(kvcalc.plan(model, gpu=name, batch=32, context=20_001, limit=LIMIT))
    for order in (names, names[::-1], names[1:] + names[:1]) if len(names) > 2 else (names, names[::-1]):
        together = rows(kvcalc.plan(model, gpu=list(order), batch=32, context=20_001, limit=LIMIT))
        for key, found in together.items():
            assert found == alone[key][: len(found)], (order, key)
        assert {key for key in alone if key.endswith("rejected")} <= set(together)
