"""A plan over several accelerators is the plans of each, merged, in whatever order they are named."""

from __future__ import annotations

from dataclasses import replace
from itertools import product
from typing import Any

import pytest
from fuzzing import some

import kvcalc
from kvcalc.verbs.planning.result import Plan, Planned

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


@pytest.mark.parametrize(
    ("model", "engine"), [("qwen3-30b-a3b", "exact"), ("llama-3-70b", "vllm"), ("mixtral-8x7b", "sglang")]
)
@pytest.mark.parametrize("prices", [{}, {"h100": 3, "l4": 0.3, "t4": 0.2, "b200": 5.5, "rtx4090": 0.4}])
def test_of_many_accelerators_those_shown_are_the_first_of_all(
    model: str, engine: str, prices: dict[str, float]
) -> None:
    """What each needs is found first, and offers only of those that can be shown: alone each gives the same."""
    options: dict[str, Any] = {"batch": 40, "context": 16_384, "engine": engine, "max_gpus": 64}
    names = ["a10", "a100-80-sxm", "b200", "h100", "h20", "h200", "l4", "l40s", "mi300x", "rtx4090", "t4", "v100-16"]
    if engine != "exact":
        names = [name for name in names if name not in {"mi300x", "v100-16"}] + ["rtx5090", "a30"]
    plan = kvcalc.plan(model, gpu=names, prices=prices or None, limit=10, **options)
    alone = [
        kvcalc.plan(model, gpu=name, prices={name: prices[name]} if name in prices else None, limit=1, **options)
        for name in names
    ]
    best = [each.deployments[0] for each in alone if each.deployments]
    assert len(best) > 10

    def order(each: Planned) -> tuple[Any, ...]:
        price = (each.usd_per_hour is None, each.usd_per_hour or 0) if prices else ()
        one = each.deployment
        sizes = -one.tp, one.pp, int(one.dp_attention), one.dcp, one.dp, one.ep
        return (*price, each.count, sizes, each.gpu)

    assert list(plan.deployments) == sorted(best, key=order)[:10]


def test_two_accelerators_of_one_name_are_refused() -> None:
    """The last of them stood for both, in silence; one that is given twice, or stands for the catalogue's, is none."""
    h100 = kvcalc.load_gpu("h100")
    small = replace(h100, memory_bytes=40 * 1024**3)
    with pytest.raises(kvcalc.KvcalcError, match="gpu: two accelerators that differ are called 'h100-sxm'"):
        kvcalc.plan("llama-3-8b", gpu=[h100, small])
    assert kvcalc.plan("llama-3-8b", gpu=[h100, "h100"]) == kvcalc.plan("llama-3-8b", gpu="h100")
    named = replace(small, name="h100-small", aliases=())
    found = {row.gpu: row.usable_bytes for row in kvcalc.plan("llama-3-8b", gpu=[h100, named]).deployments}
    assert found["h100-small"] < found["h100-sxm"]
