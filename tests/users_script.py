"""A script as a user writes it: `mypy --strict` reads it, and a test runs it."""

from __future__ import annotations

from dataclasses import replace
from typing import assert_type

import kvcalc


def smallest(model: str, gpus: list[str], batch: int) -> kvcalc.Plan:
    """What to buy."""
    return kvcalc.plan(model, batch=batch, context="8Ki", gpu=gpus, prices=dict.fromkeys(gpus, 2.5))


def longest(model: kvcalc.Model, **most: int) -> dict[int, int | None]:
    """Sequences by tensor parallelism."""
    return {tp: kvcalc.capacity(model, tp=tp, context=8192).sequences for tp in (1, 2, 4) if tp <= most["tp"]}


def main() -> int:
    """Every kind of call, with what a type checker makes of it."""
    estimate = kvcalc.estimate("llama-3-70b", batch=32, context="8Ki", tp=8, reserve={"lora": "2GiB"})
    assert_type(estimate, kvcalc.Estimate)
    assert_type(estimate.cache.bytes, int)
    assert_type(estimate.gpus.fits, bool | None)
    assert_type(estimate.notes[0].code if estimate.notes else "", str)
    scenario = estimate.scenario
    assert_type(replace(scenario, shared_prefix=100), kvcalc.Scenario)

    model = kvcalc.load_model("llama-3-8b")
    assert_type(longest(model, tp=4), dict[int, int | None])
    planned = smallest("llama-3-70b", ["h100", "mi300x"], 32)
    assert_type([each.count for each in planned.deployments], list[int])
    compared = kvcalc.compare(["llama-3-8b", "qwen3-8b"], cache_dtype=["bf16", "fp8"])
    assert_type(compared.rows[0].ratio_to_mha, float | None)
    try:
        kvcalc.estimate("llama-3-70b", tp=3)
    except kvcalc.KvcalcError as error:
        assert_type(int(error.exit_code), int)
    return estimate.cache.bytes


def mistakes() -> None:
    """What a type checker refuses: an ignore that is not needed would be a mistake itself."""
    kvcalc.estimate("llama-3-70b", bach=4)  # type: ignore[call-arg]
    kvcalc.estimate("llama-3-70b", batch=[4])  # type: ignore[arg-type]
    kvcalc.load_gpu(80)  # type: ignore[arg-type]
    print(kvcalc.estimate("llama-3-70b").cache.bits)  # type: ignore[attr-defined]  # noqa: T201
