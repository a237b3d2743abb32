"""Pools that read prompts and pools that decode: by hand, and by schedules that no bound may be below."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from fractions import Fraction
from typing import Any, NamedTuple

import pytest
from fuzzing import examples
from hypothesis import given
from hypothesis import strategies as st

import kvcalc
from kvcalc.errors import KvcalcError
from kvcalc.verbs.requests.pools import Pool

LLAMA_3_8B = 2 * 32 * 8 * 128 * 2
"""Bytes of a token: K and V, layers, heads, head_dim, bf16."""
BANDWIDTH = 3350 * 10**9
"""Of an H100."""
WEIGHTS, READ = 24_374_650_080, 23_532_068_352
"""Bytes of gemma-3-12b in bf16, and what a step reads of them: no tower."""
ALONE: dict[str, Any] = {"gpu": "h100", "tp": 1, "utilization": 1, "temporary": 0, "overhead": 0}


def decode_pool(model: str, **options: Any) -> Pool:
    return kvcalc.estimate(model, **{**ALONE, "rps": 100, "handoff": "50GB", **options}).pools[1]


def test_pools_by_hand() -> None:
    """Llama-3-8B on an H100 of 3,350 GB/s and 989.4 x 10^12 operations a second in bf16.

    A prompt multiplies each token by the layers, the last by the head too, and attends to n (n + 1) / 2 pairs of
    32 x 32 heads x 2 x 128. A request takes 200 steps after its first token, of 4,097 to 4,296 tokens.
    """
    parameters, head = 8_030_261_248, 128_256 * 4096
    layers = parameters - 2 * head
    pairs = 4096 * 4097 // 2 * 32 * 32 * 2 * 128
    computing = 2 * (layers * 4096 + head + pairs) / 989.4e12
    asked: Any = {**ALONE, "gpu_memory": "40GB", "input_tokens": 4096, "output_tokens": 201}
    prefill, decode = kvcalc.estimate("llama-3-8b", **asked, rps=100, handoff="50GB").pools
    assert prefill.requests_per_second == pytest.approx(1 / computing, rel=1e-3)
    assert (prefill.replicas, prefill.gpus, prefill.limited_by) == (
        -(-100 * computing // 1),
        prefill.replicas,
        "compute",
    )
    each = Fraction(4097 + 4296, 2) * LLAMA_3_8B
    held = (40 * 10**9 - 2 * parameters) / each
    assert held < (40 * 10**9 - 2 * parameters) // (4097 * LLAMA_3_8B)
    seconds = 200 * (2 * (layers + head) + held * each) / BANDWIDTH / held
    assert decode.sequences == held // 1
    assert decode.requests_per_second == float(1 / seconds)
    assert decode.replicas == -(-100 * seconds // 1)
    slow = kvcalc.estimate("llama-3-8b", **asked, rps=100, handoff="1GB").pools[0]
    assert slow.limited_by == "hand-off"
    assert slow.requests_per_second == pytest.approx(1e9 / (4096 * LLAMA_3_8B))
    assert slow.replicas == -(-100 * 4096 * LLAMA_3_8B // 10**9)


def test_a_mix_of_one_kind_is_requests_that_are_alike() -> None:
    asked: Any = {**ALONE, "rps": 30, "handoff": "9GB"}
    alike = kvcalc.estimate("gemma-3-12b", **asked, input_tokens=900, output_tokens=500)
    mixed = kvcalc.estimate("gemma-3-12b", **asked, mix="30%:900+500,70%:900+500")
    assert (alike.pools, alike.handoff) == (mixed.pools, mixed.handoff)


def test_a_mix_takes_the_steps_of_all_its_requests() -> None:
    """Half of the requests take 9 steps of 101 to 109 tokens, a quarter none, a quarter 99 of 1,001 to 1,099."""
    head = 128_256 * 4096
    weights = 2 * (8_030_261_248 - head)
    tokens = Fraction(9 * 105, 2) + Fraction(99 * 1050, 4)
    steps = Fraction(9, 2) + Fraction(99, 4)
    held = (20 * 10**9 - weights - 2 * head) / (tokens / steps * LLAMA_3_8B)
    seconds = (steps * weights / held + tokens * LLAMA_3_8B) / BANDWIDTH
    mix = "50%:100+10,25%:1000+1,25%:1000+100"
    found = kvcalc.estimate("llama-3-8b", **ALONE, gpu_memory="20GB", rps=100, handoff="1GB", mix=mix)
    prefill, decode = found.pools
    assert decode.requests_per_second == pytest.approx(float(1 / seconds), rel=1e-12)
    assert decode.sequences == held // 1
    sent = Fraction(100 + 1000, 2) * LLAMA_3_8B / 10**9
    assert prefill.requests_per_second == pytest.approx(float(1 / sent), rel=1e-12)
    assert found.handoff is not None
    assert found.handoff.bytes == 1000 * LLAMA_3_8B, "of the longest prompt"


def test_an_engine_generates_for_no_more_requests_than_it_runs_at_once() -> None:
    """Memory has room for thousands of 33 tokens; a step reads the weights and what is kept of 256 of them."""
    asked: Any = {"gpu_memory": "60GB", "input_tokens": 16, "output_tokens": 17, "engine": "vllm"}
    found = decode_pool("llama-3-8b", **asked, engine_option={"max-num-seqs": "256"})
    assert found.sequences == 256
    weights = 2 * (8_030_261_248 - 128_256 * 4096)
    read = Fraction(17 + 32, 2) * LLAMA_3_8B
    assert found.requests_per_second == pytest.approx(256 * BANDWIDTH / (16 * float(weights + 256 * read)), rel=1e-9)
    more = decode_pool("llama-3-8b", **asked, engine_option={"max-num-seqs": "512"})
    assert (more.requests_per_second or 0) > (found.requests_per_second or 0)


def test_requests_of_one_token_need_no_decoding() -> None:
    found = decode_pool("llama-3-8b", input_tokens=4000, output_tokens=1)
    assert (found.replicas, found.requests_per_second, found.limited_by) == (1, None, "none")


def kept_by_formula(tokens: int) -> int:
    """gemma-3-12b: 8 heads of 256; 8 layers keep all tokens, 40 the last 1,024."""
    return 2 * 8 * 256 * 2 * (8 * tokens + 40 * min(tokens, 1024))


def kept_by_vllm(tokens: int) -> int:
    """Blocks of 16 tokens and 8 layers: of windows those that attention reaches back to."""
    blocks = -(-tokens // 16)
    return 2 * 8 * 256 * 2 * 8 * 16 * (blocks + 5 * (blocks - max(0, tokens - 1024) // 16))


class Request(NamedTuple):
    input: int
    output: int

    @property
    def steps(self) -> range:
        """Tokens that each step attends to, after the first token."""
        return range(self.input + 1, self.input + self.output)


def most_held(begun: list[tuple[int, Request]], period: int, kept: Callable[[int], int]) -> int:
    """Bytes at the fullest step, where each request begins again and again, every so many steps."""
    held = [0] * period
    for start, request in begun:
        for number, tokens in enumerate(request.steps):
            held[(start + number) % period] += kept(tokens)
    return max(held)


def rate(begun: list[tuple[int, Request]], period: int) -> float:
    """Requests a second: a step reads the weights, and what is kept of each request."""
    read = sum(kept_by_formula(tokens) for _, request in begun for tokens in request.steps)
    return len(begun) * BANDWIDTH / (period * READ + read)


def schedules(
    requests: list[Request], memory: int, kept: Callable[[int], int], chance: random.Random
) -> Iterator[float]:
    """What schedules serve that memory holds: with requests in even turns, or as chance has it."""
    longest = max(len(request.steps) for request in requests)
    for together in (1, 2, 3, 5):
        for even in (True, False, False):
            several = requests * together
            low, high = 1, longest * len(several)  # the shortest period that memory holds
            starts = [index / len(several) if even else chance.random() for index in range(len(several))]
            while low < high:
                period = (low + high) // 2
                begun = [(int(start * period), each) for start, each in zip(starts, several, strict=True)]
                low, high = (low, period) if most_held(begun, period, kept) <= memory else (period + 1, high)
            begun = [(int(start * low), each) for start, each in zip(starts, several, strict=True)]
            if most_held(begun, low, kept) <= memory:
                yield rate(begun, low)


@examples(6)
@given(
    st.sampled_from(["exact", "vllm"]),
    st.integers(1, 1500),
    st.integers(20, 600),
    st.integers(2, 9),
    st.booleans(),
    st.randoms(use_true_random=False),
)
def test_no_schedule_serves_more_than_the_bound(
    engine: str, prompt: int, output: int, number: int, differ: bool, chance: random.Random
) -> None:
    kept = {"exact": kept_by_formula, "vllm": kept_by_vllm}[engine]
    asked: Any = {**ALONE, "engine": engine, "rps": 9, "handoff": "9GB"}
    asked |= {"mix": f"50%:{prompt}+{output},50%:7+20"} if differ else {"input_tokens": prompt, "output_tokens": output}
    reserved = number * 62 * 16384 * (prompt + output)
    found = kvcalc.capacity("gemma-3-12b", **asked, gpu_memory=WEIGHTS + 10**9 + reserved)
    memory, (_, pool) = found.cache_memory_bytes, found.pools
    requests = [Request(prompt, output), *([Request(7, 20)] if differ else [])]
    assert pool.requests_per_second is not None
    assert max(schedules(requests, memory, kept, chance)) <= pool.requests_per_second


def test_schedules_come_near_the_bound_and_serve_more_than_requests_in_the_middle_of_their_output_tell() -> None:
    """What a request holds bends at its window: on average that is less than in the middle."""
    request = Request(100, 1849)
    memory = 6 * kept_by_formula(1949)
    asked: Any = {**ALONE, "input_tokens": request.input, "output_tokens": request.output}
    found = decode_pool("gemma-3-12b", **asked, gpu_memory=WEIGHTS + memory).requests_per_second
    best = max(schedules([request], memory, kept_by_formula, random.Random(1)))  # noqa: S311  # no secret
    middle = kept_by_formula(1024)
    by_middle = BANDWIDTH / (1848 * (READ * middle / memory + middle))
    assert found is not None
    assert max(by_middle, 0.9 * found) < best <= found


def test_pools_need_requests_that_are_bounded() -> None:
    asked: Any = {"input_tokens": 10, "output_tokens": 9, "rps": 2, "handoff": "9GB"}
    with pytest.raises(KvcalcError, match="--rps: there is no bound of a request"):
        kvcalc.estimate("llama-3-8b", **asked, weights="9GB")
    with pytest.raises(
        KvcalcError, match=r"--rps: of pools whose caches are in part in host memory .* leave --spill out"
    ):
        kvcalc.estimate("llama-3-8b", **asked, spill=True)
    with pytest.raises(
        KvcalcError, match=r"--rps: tp 1 holds not one request of 9,000 tokens; give more GPUs \(--tp N"
    ):
        decode_pool("llama-3-8b", input_tokens=1000, output_tokens=8000, gpu_memory="17GB")


def test_pools_are_of_accelerators() -> None:
    asked: Any = {"input_tokens": 10, "output_tokens": 9, "rps": 2, "handoff": "9GB"}
    with pytest.raises(KvcalcError, match="--rps: pools are of accelerators; leave --cache-memory out"):
        kvcalc.capacity("llama-3-8b", **asked, cache_memory="9GB")


def test_replicas_that_share_experts_are_a_replica_of_a_pool() -> None:
    options: Any = {"gpu": "h200", "input_tokens": 2048, "output_tokens": 500, "rps": 50, "handoff": "50GB"}
    joined = kvcalc.estimate("deepseek-v3", tp=1, dp=8, ep=8, dp_attention=True, **options).pools
    assert all(pool.gpus == 8 * pool.replicas for pool in joined)
    apart = kvcalc.estimate("deepseek-v3", tp=8, dp=2, **options).pools
    assert all(pool.gpus == 8 * pool.replicas for pool in apart)
