"""Pools of a plan: against what `estimate` says of every size of a replica."""

from __future__ import annotations

from typing import Any

import pytest
from conftest import Kvcalc

import kvcalc
from kvcalc.errors import KvcalcError
from kvcalc.verbs.requests.pools import Pool

ASKED: dict[str, Any] = {"rps": 20, "input_tokens": 4000, "output_tokens": 500, "handoff": "50GB"}
CASES: list[tuple[str, str, dict[str, Any]]] = [
    ("llama-3.1-70b", "h100", {}),
    ("llama-3.1-8b", "l4", {"engine": "vllm", "handoff": "1GB"}),
    ("qwen3-32b", "a100-80gb", {"cache_dtype": "fp8"}),
    ("gemma-3-27b", "h200", {"rps": 300}),
]


@pytest.mark.parametrize(("model", "gpu", "options"), CASES)
def test_each_pool_is_the_smallest_of_all_sizes(model: str, gpu: str, options: dict[str, Any]) -> None:
    asked = {**ASKED, **options, "gpu": gpu}
    (found,) = kvcalc.plan(model, **asked).pools
    every: dict[str, dict[int, int]] = {"prefill": {}, "decode": {}}
    for tp in (1, 2, 4, 8):
        for pool in pools_of(model, {**asked, "tp": tp}):
            every[pool.name][tp] = pool.gpus
    for best in (found.prefill, found.decode):
        fewest = min(every[best.name].values())
        assert best.gpus == fewest
        assert best.deployment.tp == max(tp for tp, gpus in every[best.name].items() if gpus == fewest)
    assert found.count == found.prefill.gpus + found.decode.gpus


def pools_of(model: str, asked: dict[str, Any]) -> tuple[Pool, ...]:
    """Nothing of a replica that holds no request."""
    replica = {**asked, "rps": None, "handoff": None}
    if kvcalc.capacity(model, **replica).sequences_at_temporary_low == 0:
        with pytest.raises(KvcalcError, match="not one request"):
            kvcalc.estimate(model, **asked)
        return ()
    return kvcalc.estimate(model, **asked).pools


def test_the_cheapest_pools_come_first_and_whole_nodes_and_spares_are_counted() -> None:
    asked = {**ASKED, "gpu": "h100,h200"}
    fewest = kvcalc.plan("llama-3.1-70b", **asked).pools
    assert [each.count for each in fewest] == sorted(each.count for each in fewest)
    priced = kvcalc.plan("llama-3.1-70b", **asked, prices={"h100": 2.5, "h200": 4}).pools
    assert [each.usd_per_hour for each in priced] == [2.5 * 20, 4 * 16]
    assert priced[0].usd_per_month == 2.5 * 20 * 730
    whole = kvcalc.plan("llama-3.1-70b", **asked, whole_nodes=True).pools
    assert all(pool.gpus % 8 == 0 for each in whole for pool in (each.prefill, each.decode))
    spared = kvcalc.plan("llama-3.1-70b", **asked, spare=1, tp=4).pools
    plain = kvcalc.plan("llama-3.1-70b", **asked, tp=4).pools
    assert [each.count for each in spared] == [each.count + 8 for each in plain]


def test_replicas_of_a_mixture_of_experts_may_share_them() -> None:
    (found,) = kvcalc.plan("deepseek-v3", **{**ASKED, "rps": 300}, gpu="h200", tp=1).pools
    assert found.decode.deployment.dp_attention
    assert found.decode.deployment.gpus == 8


def test_an_accelerator_without_a_rate_is_left_out_with_a_word() -> None:
    asked = {**ASKED, "latency": 3}
    found = kvcalc.plan("llama-3.1-8b", **asked, gpu="h100,rtxpro4500-bw")
    assert [each.gpu for each in found.pools] == ["h100-sxm"]
    assert "no pools on rtxpro4500-bw: no memory bandwidth is known" in [each.text for each in found.notes]
    with pytest.raises(KvcalcError, match="no memory bandwidth is known"):
        kvcalc.plan("llama-3.1-8b", **asked, gpu="rtxpro4500-bw")


def test_a_replica_over_stages_has_the_fewest_that_hold_a_prompt() -> None:
    """Llama-3.1-405B: 812 GB of weights in bf16, and 80 GB of each of 8 GPUs of a node."""
    (found,) = kvcalc.plan("llama-3.1-405b", **{**ASKED, "rps": 2}, gpu="h100").pools
    for pool in (found.prefill, found.decode):
        tp, pp = pool.deployment.tp, pool.deployment.pp
        assert kvcalc.capacity("llama-3.1-405b", gpu="h100", tp=tp, pp=pp - 1, context=4000).sequences == 0
        assert pp > 1


REFUSED = [
    ({"handoff": "50GB"}, "goes with --rps"),
    ({**ASKED, "gpu": "rtx4090+rtx3090", "engine": "llama-cpp", "latency": 3}, "one kind of accelerator"),
    ({"context": 4000, "rps": 20, "latency": 3, "handoff": "50GB"}, "how much a request generates"),
]


@pytest.mark.parametrize(("options", "told"), REFUSED)
def test_what_has_no_pools_is_refused(options: dict[str, Any], told: str) -> None:
    with pytest.raises(KvcalcError, match=told):
        kvcalc.plan("llama-3.1-8b", **options)


def test_the_screen_tells_them(kvcalc: Kvcalc) -> None:
    asked = "plan llama-3.1-70b --gpu h200 --price h200-sxm=4 --rps 20 --input 4000 --output 500 --handoff 50GB"
    told = " ".join(kvcalc(*asked.split()).stdout.split())
    assert "20 requests/s in pools: at least 16 x h200-sxm, 64.00 USD an hour: 3 x (tp 4, compute) read prompts" in told
