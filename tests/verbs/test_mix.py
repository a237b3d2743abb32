"""Requests that differ: what they hold by arithmetic of its own, and laws that hold for any mix."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from fuzzing import examples
from hypothesis import given
from hypothesis import strategies as st

import kvcalc
from kvcalc.engines.load import Alike
from kvcalc.engines.rank_load import RankLoad
from kvcalc.engines.rows_kept import rows_kept
from kvcalc.mechanisms import MLA
from kvcalc.model.layers import Layer, LayerGroup
from kvcalc.model.model import Model
from kvcalc.scenario.mix import Kind, Mix
from kvcalc.scenario.mix_text import mix as read_mix
from kvcalc.scenario.scenario import cache_format

MIX = "70%:2Ki+500,25%:16Ki+1Ki,5%:128Ki"
NUMBERS = {"2Ki": 14, "16Ki": 5, "128Ki": 1}
"""Of 20 requests: 70, 25 and 5 % are whole."""
PEAKS = {2548: 14, 17408: 5, 131072: 1}
AVERAGES = {2298: 14, 16896: 5, 131072: 1}
LLAMA_TOKEN = 2 * 32 * 8 * 128 * 2
"""Bytes of a token of llama-3-8b: K and V, layers, heads, head_dim, bf16."""


def held_by(tokens_kept: Callable[[int], int], lengths: dict[int, int]) -> int:
    return sum(number * tokens_kept(tokens) for tokens, number in lengths.items())


def test_full_attention_holds_all_tokens_of_each_request() -> None:
    found = kvcalc.estimate("llama-3-8b", batch=20, mix=MIX)
    assert found.cache.bytes == LLAMA_TOKEN * held_by(lambda tokens: tokens, AVERAGES)
    assert found.cache.peak_bytes == LLAMA_TOKEN * held_by(lambda tokens: tokens, PEAKS)
    assert found.memory.cache_bytes == found.memory.per_rank.cache_bytes == found.cache.peak_bytes
    assert sum(term.bytes for term in found.cache.terms) == found.cache.bytes
    each = found.cache.percentiles
    assert (each.p50, each.p90, each.p95, each.p99) == tuple(LLAMA_TOKEN * n for n in (2548, 17408, 17408, 131072))
    assert found.workload.context == 131072
    assert [(kind.input, kind.output, kind.requests) for kind in found.mix] == [
        (131072, 0, 1),
        (16384, 1024, 5),
        (2048, 500, 14),
    ]


def test_windows_and_states_are_kept_of_each_request() -> None:
    """gemma-3-27b: 52 layers keep 1,024 tokens at most; qwen3-next: 12 layers of 48 keep tokens, 36 a state."""
    row = 2 * 16 * 128 * 2
    found = kvcalc.estimate("gemma-3-27b", batch=20, mix=MIX)
    assert found.cache.peak_bytes == row * (
        10 * held_by(lambda tokens: tokens, PEAKS) + 52 * held_by(lambda tokens: min(tokens, 1024), PEAKS)
    )
    alone = kvcalc.estimate("qwen3-next-80b-a3b", context=1000)
    found = kvcalc.estimate("qwen3-next-80b-a3b", batch=20, mix=MIX)
    token, state = alone.cache.bytes_per_token, alone.cache.state_bytes_per_sequence
    assert found.cache.peak_bytes == 20 * state + token * held_by(lambda tokens: tokens, PEAKS)


def test_blocks_are_rounded_for_each_request() -> None:
    """vLLM: ceil(tokens / 16) blocks of each, and one that nobody gets."""
    block = 16 * LLAMA_TOKEN
    found = kvcalc.estimate("llama-3-8b", batch=20, mix=MIX, engine="vllm")
    for size, lengths in ((found.cache.bytes, AVERAGES), (found.cache.peak_bytes, PEAKS)):
        assert size == block * (1 + held_by(lambda tokens: -(-tokens // 16), lengths))


@pytest.mark.parametrize("model", ["gemma-3-27b", "gpt-oss-120b", "deepseek-v3", "qwen3-next-80b-a3b"])
@pytest.mark.parametrize("engine", ["exact", "vllm", "tensorrt-llm", "mlx"])
def test_requests_that_share_nothing_add_up(model: str, engine: str) -> None:
    """What nobody asks for (a null block) is there once."""
    given: dict[str, Any] = {"engine": engine, "gpu": "m3-max-128gb" if engine == "mlx" else "h200-sxm"}

    def peak(**workload: Any) -> int:
        return kvcalc.estimate(model, **given, **workload).cache.peak_bytes

    try:
        first, second = (peak(batch=2, context=8200) - peak(batch=1, context=8200) for _ in range(2))
    except kvcalc.KvcalcError:
        assert (engine, model) in {("tensorrt-llm", "qwen3-next-80b-a3b"), ("tensorrt-llm", "gemma-3-27b")}
        return
    assert first == second
    once = peak(batch=1, context=8200) - first
    each = {tokens: peak(batch=1, context=tokens) - once for tokens in PEAKS}
    assert peak(batch=20, mix=MIX) == once + held_by(lambda tokens: each[tokens], PEAKS)


def test_sglang_sizes_its_pools_for_all_requests_together() -> None:
    """gpt-oss: pages of 1 token, in a full pool and a pool of windows (128 tokens and the page that is written)."""
    engine: dict[str, Any] = {"engine": "sglang", "engine_option": {"swa-full-tokens-ratio": "0.5", "page-size": "1"}}
    found = kvcalc.estimate("gpt-oss-120b", batch=20, mix=MIX, **engine)
    full, window = (18 * 2 * 8 * 64 * 2,) * 2
    tokens, windows = held_by(lambda tokens: tokens, PEAKS), held_by(lambda tokens: min(tokens, 129), PEAKS)
    assert windows < tokens // 2
    assert found.cache.peak_bytes == tokens * full + (full + window) + -(-tokens * window // 2)


def test_llama_cpp_has_slots_for_the_longest_request() -> None:
    """n_ctx is shared out evenly over slots; a unified cache has the cells of all requests together."""
    slots = kvcalc.estimate("llama-3-8b", batch=20, mix=MIX, engine="llama-cpp")
    alike = kvcalc.estimate("llama-3-8b", batch=20, context=131072, engine="llama-cpp")
    assert slots.cache.bytes == slots.cache.peak_bytes == alike.cache.bytes
    assert slots.memory.per_rank == alike.memory.per_rank or slots.memory.total_bytes == alike.memory.total_bytes
    unified = kvcalc.estimate("llama-3-8b", batch=20, mix=MIX, engine="llama-cpp", engine_option={"kv-unified": "1"})
    cells = -(-held_by(lambda tokens: tokens, PEAKS) // 256) * 256
    assert unified.cache.bytes == unified.cache.peak_bytes == cells * LLAMA_TOKEN


def test_transformers_pads_a_batch_to_its_longest_prompt() -> None:
    with pytest.raises(kvcalc.KvcalcError, match=r"pads a batch .* give --context 132096"):
        kvcalc.estimate("llama-3-8b", batch=4, mix=MIX, engine="transformers")
    one = kvcalc.estimate("llama-3-8b", batch=4, mix="100%:900+100", engine="transformers")
    assert (
        one.cache.peak_bytes == kvcalc.estimate("llama-3-8b", batch=4, context=1000, engine="transformers").cache.bytes
    )


@pytest.mark.parametrize("engine", ["exact", "vllm", "sglang", "llama-cpp", "transformers", "tensorrt-llm"])
@pytest.mark.parametrize("extra", [{}, {"tp": 2}, {"dp": 3}, {"shared_prefix": 1000}])
def test_a_mix_of_one_length_is_that_context(engine: str, extra: dict[str, Any]) -> None:
    given: dict[str, Any] = {"engine": engine, "batch": 7, "gpu": "h200-sxm", **extra}
    if engine in {"llama-cpp", "transformers"}:
        given.pop("tp", None)
    for verb in (kvcalc.estimate, kvcalc.capacity):
        asked, mixed = verb("llama-3-8b", context=9000, **given), verb("llama-3-8b", mix="9%:9000,91%:9000", **given)
        assert asked.to_dict() == mixed.to_dict()
        generating = verb("llama-3-8b", mix="9%:8000+1000,91%:9000", **given).to_dict()
        same = ("gpus", "answer", "sequences", "tokens", "concurrency", "max_context", "total")
        assert all(generating[key] == asked.to_dict()[key] for key in same if key in generating)


lengths = st.integers(1, 20_000)
kinds = st.lists(st.tuples(st.integers(1, 50), lengths, st.integers(0, 3000)), min_size=1, max_size=6)


def mixed(rows: list[tuple[int, int, int]]) -> Mix:
    whole = sum(share for share, _, _ in rows)
    return Mix(tuple(Kind(Fraction(share, whole), prompt, generated) for share, prompt, generated in rows))


def by_largest_remainder(mix: Mix, requests: int) -> list[int]:
    """Seat after seat: each kind has its whole quotas, then those that lack most get one more."""
    seats = [int(kind.share * requests) for kind in mix.kinds]
    while sum(seats) < requests:
        places = enumerate(zip(mix.kinds, seats, strict=True))
        lacking = [(kind.share * requests - seat, -place) for place, (kind, seat) in places]
        seats[-max(lacking)[1]] += 1
    return seats


@examples(60)
@given(kinds, st.integers(0, 90), st.integers(1, 5))
def test_requests_are_shared_out_by_largest_remainder(
    rows: list[tuple[int, int, int]], requests: int, replicas: int
) -> None:
    mix = mixed(rows)
    assert list(mix.shared_out(requests)) == by_largest_remainder(mix, requests)
    assert mixed(rows[::-1]) == mix
    first, *rest = rows
    split = mixed([(share * 2, prompt, generated) for share, prompt, generated in rest] + [first] * 2)
    assert split == mix
    dealt = every(mix.kinds, mix.shared_out(requests * replicas))
    here = every(mix.kinds, mix.shared_out(requests, replicas))
    assert here == dealt[::replicas]
    least = every(mix.kinds, mix.least.shared_out(requests, replicas))
    assert all(least.count(kind) <= here.count(kind) for kind in mix.kinds)


def every(kinds: tuple[Kind, ...], numbers: tuple[int, ...]) -> list[Kind]:
    return [kind for kind, number in zip(kinds, numbers, strict=True) for _ in range(number)]


@examples(12)
@given(kinds, st.sampled_from([{"tp": 1}, {"dp": 2}, {"dcp": 2, "tp": 16}]), st.sampled_from([0, 1]))
def test_what_is_held_is_no_less_than_on_average_and_never_more_than_all_as_the_longest(
    rows: list[tuple[int, int, int]], deployment: dict[str, int], prefix: int
) -> None:
    mix = mixed(rows)
    given: dict[str, Any] = {"batch": 9, **deployment}
    shared = min(prefix * 700, mix.shortest_input) or None
    found = kvcalc.estimate("llama-3-8b", mix=mix, shared_prefix=shared, **given).cache
    longest = kvcalc.estimate("llama-3-8b", context=mix.longest, shared_prefix=shared, **given).cache
    assert found.bytes <= found.peak_bytes <= longest.bytes
    assert found.percentiles.p50 <= found.percentiles.p90 <= found.percentiles.p95 <= found.percentiles.p99


@examples(8)
@given(kinds, st.sampled_from(["exact", "vllm"]), st.integers(1, 3))
def test_the_most_requests_of_a_mix_are_the_most_that_fit(
    rows: list[tuple[int, int, int]], engine: str, dp: int
) -> None:
    """By trying every number; of a mix one more may take less."""
    given: dict[str, Any] = {"mix": mixed(rows), "engine": engine, "dp": dp, "temporary": 0, "overhead": 0}
    memory = 3 * 10**9
    found = kvcalc.capacity("llama-3-8b", cache_memory=memory, **given).sequences
    assert found is not None

    def fits(requests: int) -> bool:
        return kvcalc.estimate("llama-3-8b", batch=requests * dp, **given).memory.per_rank.cache_bytes <= memory

    assert found == 0 or fits(found)
    assert not any(fits(requests) for requests in range(found + 1, found + 12))


def test_loads_keep_lengths_apart_only_where_they_differ() -> None:
    assert mixed([(1, 100, 0)]).load(5).mixed == ()
    assert mixed([(1, 100, 0), (1, 50, 50)]).load(5).mixed == ()
    load = mixed([(1, 100, 0), (3, 50, 0)]).load(4)
    assert load.mixed == (Alike(1, 100), Alike(3, 50))
    assert (load.sequences, load.context, load.tokens) == (4, 100, 250)
    assert mixed([(1, 100, 0), (3, 50, 0)]).load(1).context == 100, "the longest must be served"


def test_a_file_and_rows_are_a_mix_too(tmp_path: Path) -> None:
    file = tmp_path / "mix.csv"
    file.write_text("output, share ,input\n500,70%,2Ki\n1Ki,25%,16Ki\n\n0,5%,128Ki\n")
    expected = read_mix(MIX, "--mix")
    assert read_mix(str(file), "--mix") == expected
    assert read_mix([(0.7, 2048, 500), ("25%", "16Ki", "1Ki"), (Fraction(1, 20), 131072, 0)], "mix") == expected
    assert read_mix("70:2Ki+500,25:16Ki+1Ki,5:128Ki", "--mix") == expected
    assert str(expected) == "5%:131072+0,25%:16384+1024,70%:2048+500"
    assert read_mix(str(expected), "--mix") == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("70%:2Ki,20%:1Ki", "add up to 90%, not 100%"),
        ("100%", "cannot be read"),
        ("", "is not SHARE:INPUT"),
        ("100%:", "is not SHARE:INPUT"),
        ("100%:2k", "could mean two numbers: write 2000, or 2Ki"),
        ("0%:2Ki,100%:1Ki", "not a number above 0"),
        ("-1:2Ki", "not a number above 0|must be above 0"),
        ("100%:0+5", "must be at least 1"),
        ("100%:1e12+1", "beyond the limit"),
        (",".join(f"{1}:{tokens}" for tokens in range(1, 102)), "add up to 10100%"),
        ("nothing.csv", "cannot be read"),
    ],
)
def test_what_is_no_mix_is_refused(text: str, message: str) -> None:
    with pytest.raises(kvcalc.KvcalcError, match=message):
        kvcalc.estimate("llama-3-8b", mix=text)


@pytest.mark.parametrize(
    ("held", "message"),
    [
        ("share,input,output\n50%,100,1\n50%,200,1\n".encode("utf-16"), "is UTF-16; save it as UTF-8"),
        (b"share,input,output\n50%,100,\xff\n", r"is not UTF-8 text \(byte 27\)"),
        (b'share,input,output\n100%,100,"1\n', "no CSV file: a quote is not closed"),
        (b"share,input,output\n" + b"1,100,1\n" * 5000, "more than 4,096 lines; a mix has at most 256 kinds"),
    ],
)
def test_what_is_no_file_of_a_mix_is_refused(held: bytes, message: str, tmp_path: Path) -> None:
    path = tmp_path / "mix.csv"
    path.write_bytes(held)
    with pytest.raises(kvcalc.KvcalcError, match=message):
        kvcalc.estimate("llama-3-8b", mix=path)


def test_a_mix_says_how_long_requests_are() -> None:
    for name in ("context", "input_tokens", "output_tokens"):
        other: dict[str, Any] = {name: 100}
        with pytest.raises(kvcalc.KvcalcError, match="--mix says how long requests are"):
            kvcalc.estimate("llama-3-8b", mix=MIX, **other)
    with pytest.raises(kvcalc.KvcalcError, match="more than the shortest input of --mix, 2,048"):
        kvcalc.estimate("llama-3-8b", mix=MIX, shared_prefix=2049)
    with pytest.raises(kvcalc.KvcalcError, match="--tokens: with --mix"):
        kvcalc.plan("llama-3-8b", mix=MIX, tokens=1000)
    too_many = [(Fraction(1, 257), tokens, 0) for tokens in range(1, 258)]
    with pytest.raises(kvcalc.KvcalcError, match="257 kinds of requests are more than 256"):
        kvcalc.estimate("llama-3-8b", mix=too_many)


def test_a_plan_holds_the_mix_at_its_peak() -> None:
    found = kvcalc.plan("llama-3-8b", mix=MIX, batch=60, gpu="a100-40gb").deployments
    assert found
    for each in found[:4]:
        sizes: dict[str, Any] = {name: getattr(each.deployment, name) for name in ("tp", "pp", "dp", "dcp")}
        alone = kvcalc.estimate("llama-3-8b", mix=MIX, batch=60, gpu="a100-40gb", **sizes)
        assert alone.gpus.fits or alone.gpus.tight
        assert alone.memory.per_rank.total_bytes == each.bytes_per_rank


def test_each_prefix_is_kept_once() -> None:
    given: dict[str, Any] = {"batch": 64, "context": 8192, "shared_prefix": 6144}
    for engine, block in (("exact", 1), ("vllm", 16), ("tensorrt-llm", 32)):
        null = int(engine == "vllm")
        for groups in (1, 4, 64, 1000):
            found = kvcalc.estimate("llama-3-8b", engine=engine, prefix_groups=groups, **given)
            blocks = null + (64 * 2048 + min(groups, 64) * 6144) // block
            assert found.cache.bytes == blocks * block * LLAMA_TOKEN
    plain = kvcalc.estimate("llama-3-8b", engine="llama-cpp", prefix_groups=4, **given)
    assert plain.cache.bytes == 64 * 8192 * LLAMA_TOKEN, "slots share nothing"
    with pytest.raises(kvcalc.KvcalcError, match="--prefix-groups: of prefixes of how many tokens"):
        kvcalc.estimate("llama-3-8b", prefix_groups=2)


@examples(60)
@given(
    st.lists(st.tuples(st.integers(1, 5), st.integers(0, 40)), min_size=1, max_size=4),
    st.integers(1, 30),
    st.integers(1, 6),
    st.integers(1, 5),
)
def test_tokens_on_the_fullest_rank_are_those_of_a_search(
    rows: list[tuple[int, int]], prefix: int, groups: int, turns: int
) -> None:
    """Ranks that take tokens in turn, token t on rank t mod dcp: the fullest, by looking at each."""
    alike = tuple(Alike(number, prefix + more) for more, number in {more: number for number, more in rows}.items())
    sequences = sum(number for number, _ in alike)
    layer = Layer(MLA(num_heads=8, kv_lora_rank=8, qk_rope_head_dim=2, qk_nope_head_dim=4, v_head_dim=4), None, None)
    longest = max(context for _, context in alike)
    formats = cache_format(Model(name="small", layers=(LayerGroup(count=1, attention=layer.attention),)), None)
    load = RankLoad({layer: 1}, turns, sequences, longest, formats, turns, prefix, mixed=alike, prefixes=groups)
    kept = rows_kept(layer, layer.attention.cached()[0], load).rows

    def on(rank: int) -> int:
        shared = sum(token % turns == rank for token in range(prefix))
        own = sum(number * sum(t % turns == rank for t in range(prefix, context)) for number, context in alike)
        return own + min(groups, sequences) * shared

    assert kept == max(map(on, range(turns)))
