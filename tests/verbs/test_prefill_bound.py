"""How soon the first token can be there: operations by the dims of a model, and the batch that follows from bounds."""

from __future__ import annotations

from math import ceil
from typing import Any

import pytest

import kvcalc
from kvcalc.mechanisms import GQA
from kvcalc.memory.prompt_work import pairs
from kvcalc.model.layers import Layer
from kvcalc.model.span import Chunk, Window

BF16_OPERATIONS = 989.5e12
BANDWIDTH = 3350e9
"""Of an H100 SXM."""
LLAMA_LAYER = 2 * 4096 * 4096 + 2 * 4096 * 1024 + 3 * 4096 * 14336
"""Weights of the matrices of a layer of llama-3-8b: queries, output, keys, values, feed-forward."""
HEAD = 4096 * 128256


def test_a_prompt_is_multiplied_by_the_weights_and_attends_to_itself() -> None:
    tokens = 4000
    found = kvcalc.estimate("llama-3-8b", input_tokens=tokens, output_tokens=500).prefill
    assert found is not None
    matrices = 2 * (32 * LLAMA_LAYER * tokens + HEAD)
    attention = 2 * 32 * (32 * 128 * 2) * sum(range(1, tokens + 1))
    assert found.tokens == tokens
    assert found.operations == pytest.approx(matrices + attention, rel=1e-4)
    assert found.seconds == found.compute_seconds == pytest.approx((matrices + attention) / BF16_OPERATIONS, rel=1e-4)
    assert found.memory_seconds == pytest.approx(2 * (32 * LLAMA_LAYER + HEAD) / BANDWIDTH, rel=1e-4)
    assert found.limited_by == "compute"


def test_a_short_prompt_waits_for_the_weights() -> None:
    found = kvcalc.estimate("llama-3-8b", context=10).prefill
    assert found is not None
    assert (found.limited_by, found.seconds) == ("memory", found.memory_seconds)


def test_a_prefix_that_is_there_is_not_computed_again() -> None:
    whole, rest = (kvcalc.estimate("llama-3-8b", context=8000, shared_prefix=prefix).prefill for prefix in (None, 6000))
    assert whole is not None
    assert rest is not None
    assert rest.shared_tokens == 6000
    attention = 2 * 32 * (32 * 128 * 2) * sum(range(6001, 8001))
    assert rest.operations == pytest.approx(2 * (32 * LLAMA_LAYER * 2000 + HEAD) + attention, rel=1e-4)
    assert rest.seconds < whole.seconds


def test_ranks_share_a_prompt_and_stages_work_side_by_side() -> None:
    deployments: tuple[dict[str, Any], ...] = ({"tp": 1}, {"tp": 4}, {"pp": 4})
    alone, shared, staged = (kvcalc.estimate("llama-3-8b", context=8000, **each).prefill for each in deployments)
    assert alone is not None
    assert shared is not None
    assert staged is not None
    assert shared.seconds == pytest.approx(alone.seconds / 4, rel=1e-3)
    assert alone.seconds / 5 < staged.compute_seconds < alone.seconds / 3
    assert staged.memory_seconds == pytest.approx(alone.memory_seconds, rel=1e-3)


@pytest.mark.parametrize(
    "layer",
    [
        Layer(GQA(num_heads=4, num_kv_heads=2, head_dim=8), None, None),
        Layer(GQA(num_heads=4, num_kv_heads=2, head_dim=8), Window(7), None),
        Layer(GQA(num_heads=4, num_kv_heads=2, head_dim=8), Chunk(7), None),
    ],
)
def test_pairs_are_those_that_attend(layer: Layer) -> None:
    """Token after token, from the first position that it attends to."""
    for start, stop in ((0, 1), (0, 23), (5, 23), (7, 14), (22, 23)):
        counted = sum(
            token - (0 if layer.span is None else layer.span.first(token)) for token in range(start + 1, stop + 1)
        )
        assert pairs(layer, start, stop) == counted


def test_mla_is_taken_in_the_form_that_computes_less() -> None:
    found = kvcalc.estimate("deepseek-v3", input_tokens=32768, output_tokens=1, gpu="h200", tp=8).prefill
    assert found is not None
    of_attention = [each.bytes for each in found.terms.parts[1].parts if each.path.startswith("attention of")]  # type: ignore[union-attr]  # a sum
    pairs_of_all = 32768 * 32769 // 2
    assert sum(of_attention) == 2 * 61 * pairs_of_all * 128 * (128 + 64 + 128) // 8


def test_no_bound_where_layers_share_a_cache() -> None:
    assert kvcalc.estimate("gemma-3n-e4b", context=1000).prefill is None


def test_a_rate_holds_as_many_as_arrive_while_one_is_served() -> None:
    given: dict[str, Any] = {"input_tokens": 4000, "output_tokens": 500}
    found = kvcalc.plan("llama-3-70b", rps=20, **given)
    told: Any = next(each.data for each in found.notes if each.code == "batch-from-bound")
    batch, seconds = told["batch"], told["seconds"]
    assert found.workload.batch == batch == ceil(20 * seconds)
    best = found.deployments[0].deployment
    prompt = kvcalc.estimate("llama-3-70b", tp=best.tp, **given).prefill
    middle = kvcalc.estimate("llama-3-70b", batch=batch, context=4250, tp=best.tp).decode  # of 4,001 to 4,499 tokens
    assert prompt is not None
    assert middle is not None
    assert seconds == pytest.approx(prompt.seconds + 499 * middle.seconds_per_token, rel=1e-4)
    assert seconds <= prompt.seconds + 499 * middle.seconds_per_token
    given_wins = kvcalc.plan("llama-3-70b", rps=20, latency=30, **given)
    assert given_wins.workload.batch == 600
    assert [each.code for each in given_wins.notes if each.code.startswith("batch")] == ["batch-from-rate"]


def test_a_rate_of_a_mix_takes_as_long_as_its_requests_on_average() -> None:
    """99 steps over 1,001 to 1,099 tokens, or 299 over 3,001 to 3,299: with each number of tokens equally often."""
    found = kvcalc.plan("llama-3-8b", rps=10, mix="50%:1000+100,50%:3000+300")
    told: Any = next(each.data for each in found.notes if each.code == "batch-from-bound")
    first = [kvcalc.estimate("llama-3-8b", context=tokens, tp=1).prefill for tokens in (1000, 3000)]
    one, two = (kvcalc.estimate("llama-3-8b", batch=told["batch"], context=c, tp=1).decode for c in (1050, 3150))
    assert one is not None
    assert two is not None
    step = (99 * one.seconds_per_token + 299 * two.seconds_per_token) / 398
    seconds = sum((each.seconds for each in first if each), 0.0) / 2 + 199 * step
    assert told["seconds"] == pytest.approx(seconds, rel=1e-3)
    assert found.workload.batch == ceil(10 * told["seconds"])


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"rps": 2}, "--rps: goes with --latency: .*; or with --input N --output M"),
        ({"latency": 2}, "--latency: goes with --rps"),
        ({"rps": 2, "input_tokens": 10, "output_tokens": 10, "gpu": "all"}, "on 8 accelerators at most"),
        ({"rps": 2, "input_tokens": 10, "output_tokens": 10, "weights": "16GiB"}, "has no bound .* give --latency S"),
    ],
)
def test_a_rate_without_a_bound_is_refused(given: dict[str, Any], message: str) -> None:
    with pytest.raises(kvcalc.KvcalcError, match=message):
        kvcalc.plan("llama-3-8b", **given)


def test_a_card_whose_rate_of_computing_is_not_known_is_bound_by_its_memory_alone() -> None:
    told = "(a bound, by memory bandwidth alone: the rate of computing is not known)"
    assert kvcalc.load_gpu("rtx4080-super").bf16_dense_tflops is None
    assert told in str(kvcalc.estimate("llama-3-8b", gpu="rtx4080-super", tp=2))
    assert told not in str(kvcalc.estimate("llama-3-8b", gpu="rtx4090"))
