"""What requests hold over time, beside sums that are added up moment by moment, and beside Little's law."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Sequence
from fractions import Fraction
from itertools import chain, pairwise
from math import ceil
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from conftest import Kvcalc

import kvcalc
from kvcalc import KvcalcError
from kvcalc.memory import Ranks
from kvcalc.scenario.make import make_scenario
from kvcalc.verbs.demand.held import Slopes, held
from kvcalc.verbs.demand.prefixes import hits_of
from kvcalc.verbs.demand.result import Demand
from kvcalc.verbs.demand.stays import Stays

SHARES = {"p50": Fraction(50, 100), "p90": Fraction(90, 100), "p95": Fraction(95, 100), "p99": Fraction(99, 100)}
LLAMA_3_8B = 2 * 32 * 8 * 128 * 2
"""Bytes of a token: keys and values, 32 layers, 8 heads of 128, 2 bytes."""


class Request(NamedTuple):
    """When it is admitted and done, in seconds, and its lengths."""

    start: Fraction
    end: Fraction
    prompt: int
    generated: int

    def tokens(self, at: Fraction) -> Fraction:
        """What it has then."""
        return self.prompt + self.generated * (at - self.start) / (self.end - self.start)


def admitted(requests: Sequence[tuple[Fraction, int, int]], speed: Fraction, most: int | None = None) -> list[Request]:
    """One after another as they come, each when fewer than `most` of those before it are there."""
    found: list[Request] = []
    for at, prompt, generated in requests:
        start = max(at, found[-1].start if found else at)
        while most is not None and sum(each.start <= start < each.end for each in found) >= most:
            start = min(each.end for each in found if each.end > start)
        found.append(Request(start, start + generated / speed, prompt, generated))
    return found


def trace(path: Path, requests: Sequence[tuple[Fraction, int, int]]) -> Path:
    lines = (f"{float(at):.3f},{prompt},{generated}" for at, prompt, generated in requests)
    path.write_text("\n".join(["arrival_time,input_tokens,output_tokens", *lines]) + "\n")
    return path


def drawn(number: int, seed: int, spread: int = 40) -> list[tuple[Fraction, int, int]]:
    draw = random.Random(seed)  # noqa: S311  # no secret
    at = sorted(Fraction(draw.randrange(1000 * spread), 1000) for _ in range(number))
    return [(each, draw.randrange(1, 3000), draw.randrange(1, 200)) for each in at]


def time_at_most(
    requests: Sequence[Request],
    value: Fraction,
    moments: Sequence[Fraction],
    of: Callable[[Request, Fraction], Fraction],
) -> Fraction:
    """For how long no more than that is held, where between two moments all that is held lies on a line."""
    total = Fraction(0)
    for low, high in pairwise(moments):
        inside = (2 * low + high) / 3, (low + 2 * high) / 3
        first, second = (sum(of(each, at) for each in requests if each.start <= at < each.end) for at in inside)
        begin, end = 2 * first - second, 2 * second - first
        if max(begin, end) <= value:
            total += high - low
        elif min(begin, end) < value:
            total += (high - low) * (value - begin) / (end - begin)
    return total


@pytest.mark.parametrize(("seed", "speed", "most"), [(1, 20, None), (2, Fraction(33, 10), 3), (3, 7, 1)])
def test_bytes_are_those_of_every_moment(tmp_path: Path, seed: int, speed: Fraction, most: int | None) -> None:
    """llama-3-8b: a token is as many bytes wherever it stands, so all follows from tokens alone."""
    requests = drawn(40, seed)
    result = kvcalc.demand(
        "llama-3-8b", trace=trace(tmp_path / "t.csv", requests), tokens_per_second=Fraction(speed), concurrency=most
    )
    stays = admitted(requests, Fraction(speed), most)
    moments = sorted({moment for each in stays for moment in each[:2]})
    whole = moments[-1] - requests[0][0]

    def of(each: Request, at: Fraction) -> Fraction:
        return LLAMA_3_8B * each.tokens(at)

    for name, share in SHARES.items():
        at = getattr(result.cache, f"{name}_bytes")
        idle = whole - (moments[-1] - moments[0])
        assert time_at_most(stays, Fraction(at), moments, of) + idle >= share * whole
        assert at == 0 or time_at_most(stays, Fraction(at - 1), moments, of) + idle < share * whole
    mean = sum((each.end - each.start) * LLAMA_3_8B * (2 * each.prompt + each.generated) / 2 for each in stays) / whole
    assert result.cache.mean_bytes == round(mean)
    ends = [sum(of(one, each.end) for one in stays if one.start < each.end <= one.end) for each in stays]
    assert result.cache.max_bytes == max(map(ceil, ends))
    assert result.tokens.max == max(map(ceil, ends)) // LLAMA_3_8B + (max(ends) % LLAMA_3_8B > 0)
    assert result.requests.max == max(sum(one.start <= each.start < one.end for one in stays) for each in stays)


def test_littles_law(tmp_path: Path) -> None:
    """Requests at the same time = requests a second x seconds that each stays."""
    result = kvcalc.demand(
        "llama-3-8b", trace=trace(tmp_path / "t.csv", drawn(300, 5)), rate=3, seed=4, tokens_per_second="12.5"
    )
    assert result.trace.arrivals == "poisson"
    assert result.requests.mean == pytest.approx(result.trace.requests_per_second * result.pace.mean_seconds, rel=1e-6)
    assert result.trace.requests_per_second == pytest.approx(3, rel=0.15)


def test_blocks_are_those_of_every_moment(tmp_path: Path) -> None:
    """vLLM: a request has whole blocks of 16 tokens, the one that is begun too; one block is there always."""
    requests, speed = drawn(5, 6, spread=15), Fraction(8)
    result = kvcalc.demand("llama-3-8b", trace=trace(tmp_path / "t.csv", requests), tokens_per_second=8, engine="vllm")
    stays = admitted(requests, speed)
    block = 16 * LLAMA_3_8B
    moments = {moment for each in stays for moment in each[:2]}
    moments |= {each.start + Fraction(token) / speed for each in stays for token in range(each.generated + 1)}
    ordered = sorted(moments)

    def of(each: Request, at: Fraction) -> Fraction:
        return Fraction(block * ceil(Fraction(ceil(each.tokens(at)), 16)))

    whole = ordered[-1] - ordered[0]
    for name, share in SHARES.items():
        at = getattr(result.cache, f"{name}_bytes") - block
        assert time_at_most(stays, Fraction(at), ordered, of) >= share * whole
        assert time_at_most(stays, Fraction(at - 1), ordered, of) < share * whole
    middles = [(low + high) / 2 for low, high in pairwise(ordered)]
    held_then = [sum(of(each, at) for each in stays if each.start <= at < each.end) for at in middles]
    assert result.cache.max_bytes == max(held_then) + block


ENGINES = [
    ("gemma-3-27b", "exact", {}),
    ("qwen3-next-80b-a3b", "exact", {}),
    ("gpt-oss-120b", "exact", {"tp": 2}),
    ("deepseek-v3", "exact", {"tp": 4, "dcp": 4}),
    ("gemma-3-27b", "vllm", {}),
    ("llama-3-8b", "sglang", {}),
    ("llama-3-8b", "tensorrt-llm", {}),
    ("llama-3-8b", "mlx", {"gpu": "m3-max"}),
]


@pytest.mark.parametrize(("model", "engine", "options"), ENGINES)
def test_a_request_holds_what_estimate_says(model: str, engine: str, options: dict[str, int | str]) -> None:
    """Of every number of tokens that is looked at, in particular around windows and blocks."""
    longest = 3000
    ask: dict[str, Any] = {"engine": engine, **options}
    scenario = make_scenario(model, context=longest, **ask)
    ranks = Ranks(scenario)
    found = held(ranks, scenario.deployment or kvcalc.Deployment(), longest)
    spots = {1, 2, 3, 15, 16, 17, 127, 128, 129, 255, 256, 257, 1022, 1023, 1024, 1025, 2047, 2048, 2049, longest}
    for tokens in spots:
        whole = kvcalc.estimate(scenario_at(scenario, tokens)).cache.bytes - found.base_bytes
        shape = found.each
        at = max(index for index, corner in enumerate(shape.tokens) if corner <= tokens)
        if isinstance(shape, Slopes):
            line = shape.bytes[at] + Fraction(shape.rates[at] * (tokens - shape.tokens[at]), shape.every)
            assert line == whole if shape.every == 1 else 0 <= whole - line < shape.rates[0] * shape.every
        else:
            assert shape.bytes[at] == whole, tokens


def scenario_at(scenario: kvcalc.Scenario, tokens: int) -> kvcalc.Scenario:
    from dataclasses import replace

    return replace(scenario, workload=kvcalc.Workload(1, tokens))


@pytest.mark.parametrize("engine", ["exact", "vllm", "sglang"])
def test_requests_that_are_alike_hold_at_most_what_estimate_says(tmp_path: Path, engine: str) -> None:
    """N + M tokens each, as --input N --output M."""
    alike = [(Fraction(0), 1000, 200)] * 12
    found = kvcalc.demand("llama-3-8b", trace=trace(tmp_path / "t.csv", alike), tokens_per_second=10, engine=engine)
    whole = kvcalc.estimate("llama-3-8b", batch=12, input_tokens=1000, output_tokens=200, engine=engine)
    assert found.cache.max_bytes == whole.cache.bytes
    assert (found.points[-1].batch, found.gpus.max) == (12, whole.gpus.count)


def test_gpus_are_those_of_the_search(tmp_path: Path) -> None:
    """A point is as many requests, of as many tokens, as hold its bytes; estimate finds the same deployment."""
    found = kvcalc.demand(
        "llama-3-70b", trace=trace(tmp_path / "t.csv", drawn(400, 8, spread=20)), tokens_per_second=4, gpu="a100-80gb"
    )
    counts = []
    for point in found.points:
        same = kvcalc.estimate("llama-3-70b", batch=point.batch, context=point.context, gpu="a100-80gb")
        held_there = getattr(found.cache, f"{point.at}_bytes")
        less = kvcalc.estimate("llama-3-70b", batch=point.batch, context=max(1, point.context - 1)).cache.bytes
        assert same.cache.bytes >= held_there > (less if point.context > 1 else -1)
        assert (same.gpus.count, same.gpus.count_tight) == (point.count, point.tight)
        counts.append(point.count or 0)
    assert counts[1:] == sorted(counts[1:])
    assert counts[-1] == found.gpus.max
    assert counts[-1] > 2


def test_prefixes_are_found_while_they_are_kept() -> None:
    """By hand: blocks of 10 tokens; with two blocks the second request finds one of its own, with one none."""
    from array import array

    from kvcalc.traces import Hashes

    blocks = [[0, 1], [0, 2], [3], [0, 2], [0, 1]]
    ends = [sum(map(len, blocks[: index + 1])) for index in range(len(blocks))]
    hashes = Hashes(10, array("q", chain.from_iterable(blocks)), array("q", ends))
    prompts = array("q", [20, 15, 10, 15, 20])
    stays = Stays(10, 1, [0, 100, 200, 300, 400], prompts, array("q", [1] * 5), array("q", range(5)), (0, 0))
    assert hits_of(hashes, stays, lambda _: 100).unbounded == 10 + 15 + 20
    assert hits_of(hashes, stays, lambda _: 100).tokens == 10 + 15 + 20
    # [0 1]; 0 is found, [2 0] stay; 3 comes, 2 goes (the last of its request): [0 3]; 0 is found; 0 again
    assert hits_of(hashes, stays, lambda _: 2).tokens == 10 + 10 + 10
    assert hits_of(hashes, stays, lambda _: 0).tokens == 0


def test_what_requests_leave_is_less_than_all(tmp_path: Path) -> None:
    path = tmp_path / "m.jsonl"
    lines = [
        {"timestamp": 1000 * at, "input_length": 5120, "output_length": 600, "hash_ids": [*range(first, first + 10)]}
        for at in range(60)
        for first in [10 * (at % 7)]
    ]
    path.write_text("\n".join(map(json.dumps, lines)))
    ample, left = (
        kvcalc.demand("llama-3-8b", trace=path, tokens_per_second=20, tp=1, gpu_memory=memory).prefix
        for memory in ("80GiB", "27500MiB")
    )
    assert ample is not None
    assert left is not None
    assert ample.block_bytes == 512 * LLAMA_3_8B
    assert ample.hit_rate == ample.unbounded_hit_rate == pytest.approx(53 / 60, abs=1e-6)
    assert left.hit_rate < ample.hit_rate
    assert left.unbounded_hit_rate == ample.unbounded_hit_rate


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("llama-3-8b",), "--trace: is needed"),
        (("llama-3-8b", "--trace", "no-such"), "these ship with kvcalc: agents, chat"),
        (("llama-3-8b", "--trace", "chat", "--engine", "llama-cpp"), "reserves the whole context of every slot"),
        (("llama-3-8b", "--trace", "chat", "--engine", "transformers"), "one batch, whose sequences begin and end"),
        (("llama-3-8b", "--trace", "chat", "--prefix-cache", "1GiB"), "--prefix-cache: the trace has no hash_ids"),
        (("gemma-3-27b", "--trace", "agents", "--prefix-cache", "1GiB"), "layers all keep every token"),
        (("llama-3-8b", "--trace", "chat", "--weights", "16GB"), "--tokens-per-second: is needed: --weights"),
        (("llama-3-8b", "--trace", "chat", "--rate", "0"), "--rate: "),
        (("llama-3-8b", "--trace", "chat", "--rate", "1e-9"), "more than a century"),
        (("llama-3-8b", "--trace", "chat", "--tp", "3"), "tp: 3 is illegal"),
        (("llama-3-8b", "--trace", "chat", "--time-unit", "m"), "--time-unit: no unit 'm'"),
    ],
)
def test_what_cannot_be_is_refused(words: tuple[str, ...], told: str, kvcalc: Kvcalc) -> None:
    run = kvcalc("demand", *words)
    assert (run.code, run.stdout) == (2, "")
    assert told in run.stderr


def test_lengths_alone_need_a_rate(tmp_path: Path) -> None:
    path = tmp_path / "lengths.jsonl"
    path.write_text('{"prompt_len": 100, "output_len": 20}\n' * 50)
    with pytest.raises(KvcalcError, match="no column of arrival times; --rate R draws them"):
        kvcalc.demand("llama-3-8b", trace=path)
    found = [kvcalc.demand("llama-3-8b", trace=path, rate=2, seed=seed, tokens_per_second=10) for seed in (1, 1, 2)]
    assert found[0] == found[1] != found[2]


def test_a_speed_that_nobody_gives_is_the_bound_that_estimate_has(tmp_path: Path) -> None:
    found: Demand = kvcalc.demand("llama-3-8b", trace=trace(tmp_path / "t.csv", [(Fraction(0), 900, 200)] * 3))
    bound = kvcalc.estimate("llama-3-8b", batch=1, context=1000).decode
    assert bound is not None
    assert found.pace.is_bound
    assert found.pace.tokens_per_second == float(f"{bound.tokens_per_second_per_sequence:.6g}")
    assert "speed-is-a-bound" in {each.code for each in found.notes}


def test_what_is_left_out_or_sorted_is_told(tmp_path: Path) -> None:
    requests = [(Fraction(5), 9, 10), (Fraction(0), 9, 10), (Fraction(6), 9, 0)]
    found = kvcalc.demand("llama-3-8b", trace=trace(tmp_path / "t.csv", requests), tokens_per_second=1)
    assert (found.trace.requests, found.trace.without_output, found.trace.seconds) == (2, 1, 15)
    assert {"trace-sorted", "requests-without-output"} <= {each.code for each in found.notes}


def test_an_idle_hour_counts(tmp_path: Path) -> None:
    """Nothing is held for most of the time: the weights and one token are what half of it needs."""
    twice = trace(tmp_path / "t.csv", [(Fraction(0), 9, 10), (Fraction(3600), 9, 10)])
    found = kvcalc.demand("llama-3-8b", trace=twice, tokens_per_second=1)
    assert (found.cache.p50_bytes, found.tokens.p99, found.requests.p99) == (0, 0, 0)
    assert (found.points[1].batch, found.points[1].context, found.gpus.p50) == (1, 1, 1)
    assert found.cache.max_bytes == 19 * LLAMA_3_8B
    assert found.peaks.bytes[0] == found.peaks.bytes[-1] == found.cache.max_bytes


def test_windows_are_those_of_every_moment(tmp_path: Path) -> None:
    """gemma-3-1b: 22 layers keep 512 tokens, 4 all of them; a head of 256 for keys and for values, 2 bytes."""
    requests, speed = [(Fraction(at), 300 + 40 * at, 60 + 30 * at) for at in range(9)], Fraction(5)
    result = kvcalc.demand("gemma-3-1b", trace=trace(tmp_path / "t.csv", requests), tokens_per_second=5)
    stays = admitted(requests, speed)
    turns = {each.start + (512 - each.prompt) / speed for each in stays}
    moments = sorted({moment for each in stays for moment in each[:2]} | {at for at in turns if at > 0})
    whole = max(each.end for each in stays)

    def of(each: Request, at: Fraction) -> Fraction:
        tokens = each.tokens(at)
        return 2 * 256 * 2 * (4 * tokens + 22 * min(tokens, Fraction(512)))

    for name, share in SHARES.items():
        at = getattr(result.cache, f"{name}_bytes")
        assert time_at_most(stays, Fraction(at), moments, of) >= share * whole
        assert time_at_most(stays, Fraction(at - 1), moments, of) < share * whole


@pytest.mark.parametrize("model", ["deepseek-v4-flash", "deepseek-v4-pro"])
def test_short_requests_hold_what_estimate_says(tmp_path: Path, model: str) -> None:
    """Shorter than a compressed entry of 128 tokens: a line to it was taken, a fifth below what is held."""
    whole = trace(tmp_path / "t.csv", [(Fraction(0), 17, 16)])
    found = kvcalc.demand(model, trace=whole, tokens_per_second=8)
    assert found.cache.max_bytes == kvcalc.estimate(model, batch=1, context=33).cache.bytes


def test_a_request_too_long_for_its_steps_is_refused(tmp_path: Path) -> None:
    requests = [(Fraction(0), 10**9, 10)]
    with pytest.raises(KvcalcError, match="in more than 300,000 steps"):
        kvcalc.demand("llama-3-8b", trace=trace(tmp_path / "t.csv", requests), tokens_per_second=5, engine="vllm")
    found = kvcalc.demand("llama-3-8b", trace=trace(tmp_path / "t.csv", requests), tokens_per_second=5)
    assert found.cache.max_bytes == (10**9 + 10) * LLAMA_3_8B


def test_a_request_that_generates_nothing_makes_the_time_no_longer(tmp_path: Path) -> None:
    """It is left out: what is held is held for all of the time from the first that generates something."""
    asked = [(Fraction(0), 500, 0), (Fraction(100), 9, 30), (Fraction(100), 10, 30), (Fraction(400), 500, 0)]
    found = kvcalc.demand("llama-3-8b", trace=trace(tmp_path / "trace.csv", asked), tokens_per_second=30)
    assert (found.requests.p50, found.requests.mean, found.tokens.mean) == (2, 2, 9 + 10 + 2 * 15)
