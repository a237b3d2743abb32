"""How much fits: worked by hand, and published models."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from conftest import texts

import kvcalc
from kvcalc.mechanisms import GQA, MHA, NoAttention
from kvcalc.model.layers import LayerGroup
from kvcalc.model.model import WeightPart

# Worked by hand: a layer of 2 KV heads of 8 keeps 64 bytes a token.


def layers_of(*windows: int | None) -> kvcalc.Model:
    attention = GQA(num_heads=4, num_kv_heads=2, head_dim=8)
    return kvcalc.Model(
        name="m",
        dtype="bf16",
        parameters=500,
        layers=tuple(LayerGroup(count=1, attention=attention, window=window) for window in windows),
    )


FULL = layers_of(None)
MIXED = layers_of(None, 20)
WINDOWED = layers_of(20)


@pytest.mark.parametrize(
    ("model", "options", "sequences", "tokens", "max_context", "concurrency", "lacks"),
    [
        # 3,200 bytes a sequence; 400 left are 6 tokens; 4 x 3,200 - 10,000
        (FULL, {}, 3, 156, 156, 3.12, 2800),
        (FULL, {"batch": 4}, 3, 156, 39, 3.12, 2800),
        (FULL, {"batch": 200}, 3, 156, 0, 3.12, 2800),
        (FULL, {"cache_dtype": "fp8"}, 6, 312, 312, 6.25, 1200),
        (FULL, {"tp": 2}, 6, 312, 312, 6.25, 1200),
        (FULL, {"tp": 4, "batch": 3}, 6, 312, 104, 6.25, 1200),  # heads are not split further
        (FULL, {"tp": 4, "dcp": 2}, 12, 624, 624, 12.5, 400),  # ... but tokens are: 25 of 50 on a rank, 32 bytes each
        (FULL, {"dp": 2, "batch": 5}, 3, 156, 52, 3.12, 2800),  # 3 on the fuller replica
        # 30 tokens once, 20 of each sequence's own: (10,000 - 1,920) / 1,280; beside them 36 tokens, 30 of them free
        (FULL, {"shared_prefix": 30}, 6, 336, 156, 6.31, 880),
        (FULL, {"shared_prefix": 30, "batch": 7}, 6, 336, 48, 6.31, 880),
        # 4,480 bytes a sequence; 1,040 left are 8 tokens in both layers; 1,280 in the window, the rest in the other
        (MIXED, {}, 2, 108, 136, 2.23, 3440),
        (MIXED, {"batch": 7}, 2, 108, 11, 2.23, 3440),
        (MIXED, {"pp": 2}, 3, 156, 156, 3.12, 2800),  # the stage without a window is full first
        # 1,280 bytes a sequence, however long
        (WINDOWED, {}, 7, None, None, 7.81, 240),
        (WINDOWED, {"batch": 7}, 7, None, None, 7.81, 240),
        (WINDOWED, {"batch": 8}, 7, None, 19, 7.81, 240),
    ],
)
def test_worked_capacities(
    model: kvcalc.Model,
    options: dict[str, Any],
    sequences: int,
    tokens: int | None,
    max_context: int | None,
    concurrency: float,
    lacks: int,
) -> None:
    result = kvcalc.capacity(model, context=50, cache_memory=10_000, **options)

    assert (result.sequences, result.tokens, result.max_context) == (sequences, tokens, max_context)
    assert (result.concurrency, result.one_more_lacks_bytes) == (concurrency, lacks)
    assert result.limited_by == ("none" if tokens is None else "memory")


@pytest.mark.parametrize(
    ("context", "room", "sequences", "tokens"),
    [(50, 1000, 0, 15), (50, 1279, 0, 19), (50, 1280, 1, None), (10, 1000, 1, 15), (10, 1280, 2, None)],
)
def test_a_window_that_does_not_fit_limits_the_tokens(
    context: int, room: int, sequences: int, tokens: int | None
) -> None:
    """Once a whole window of 20 tokens fits, 1,280 bytes, a sequence may go on without end."""
    result = kvcalc.capacity(WINDOWED, context=context, cache_memory=room)
    assert (result.sequences, result.tokens, result.max_context) == (sequences, tokens, tokens)
    assert result.limited_by == ("none" if tokens is None else "memory")


def test_no_cache_has_no_end() -> None:
    model = kvcalc.Model(name="m", parameters=1, layers=(LayerGroup(count=1, attention=NoAttention()),))
    result = kvcalc.capacity(model, context=50, cache_memory=0)

    unbounded = (result.sequences, result.tokens, result.max_context, result.concurrency, result.one_more_lacks_bytes)
    assert unbounded == (None,) * 5
    assert (result.total.tokens, result.total.sequences, result.limited_by) == (None, None, "none")


def test_sequences_that_share_everything_have_no_end() -> None:
    result = kvcalc.capacity(FULL, context=50, shared_prefix=50, cache_memory=3200)

    assert (result.sequences, result.tokens, result.limited_by) == (None, None, "none")
    assert result.max_context == 50
    assert kvcalc.capacity(FULL, context=50, shared_prefix=50, cache_memory=3199).sequences == 0


@pytest.mark.parametrize("room", [10**10, 10**13, 10**18])
def test_capacities_may_be_beyond_what_can_be_asked_for(room: int) -> None:
    """4 bytes a token; a batch is at most 10^9, a context at most 10^12."""
    model = kvcalc.Model(name="m", dtype="bf16", layers=(LayerGroup(count=1, attention=MHA(num_heads=1, head_dim=1)),))
    result = kvcalc.capacity(model, context=1, cache_memory=room)
    assert (result.sequences, result.tokens, result.max_context) == (room // 4,) * 3
    assert (result.one_more_lacks_bytes, result.limited_by) == (4, "memory")


def test_the_longest_window_has_an_end_too() -> None:
    """A window of 10^12 tokens that fits is no growth without end."""
    model = layers_of(10**12)
    assert kvcalc.capacity(model, context=50, cache_memory=64 * 10**12).max_context is None
    assert kvcalc.capacity(model, context=50, cache_memory=64 * 10**12 - 1).max_context == 10**12 - 1


@pytest.mark.parametrize(
    ("usable", "room", "sequences"),
    [(1000 + 30 + 7 + 5 + 3200 * 3, 9600, 3), (1000 + 30 + 7 + 5 + 3199, 3199, 0), (1041, 0, 0), (1042, 0, 0)],
)
def test_beside_everything_else(usable: int, room: int, sequences: int) -> None:
    """1,000 bytes of weights, 30 of temporary memory, 7 of overhead and 5 reserved."""
    result = kvcalc.capacity(
        FULL,
        context=50,
        temporary=30,
        overhead=7,
        reserve={"x": 5},
        gpu_memory=usable,
        utilization=1,
        tp=1,
    )
    assert (result.cache_memory_bytes, result.sequences) == (room, sequences)
    assert result.at_limit.bytes == 1042 + sequences * 3200
    lacks_all = [note for note in texts(result.notes) if "for all but the cache" in note]
    assert lacks_all == (["a rank lacks 1 bytes for all but the cache"] if usable == 1041 else [])


def test_a_stage_with_less_room_limits() -> None:
    """Of three layers the first stage has two, 6,400 bytes a sequence; the last has one, and a head of 5,000 bytes."""
    model = replace(
        layers_of(None, None, None),
        parameters=None,
        weights=(
            WeightPart(part="embedding", parameters=1, format="fp8", place="embedding"),
            WeightPart(part="head", parameters=5000, format="fp8", place="head"),
        ),
    )
    options: dict[str, Any] = {"context": 50, "temporary": 0, "overhead": 0, "utilization": 1, "pp": 2}
    even = kvcalc.capacity(model, gpu_memory=6401, **options)
    head = kvcalc.capacity(model, gpu_memory=6401, **{**options, "context": 30})

    assert (even.sequences, even.cache_memory_bytes, even.one_more_lacks_bytes) == (0, 6400, 1799)
    assert (head.sequences, head.cache_memory_bytes, head.max_context) == (0, 6400, 21)
    assert "pipeline stage 1 limits: it has less memory beside its weights than the fullest" in texts(even.notes)
    wide = kvcalc.capacity(model, gpu_memory=12_801, **options)
    assert (wide.sequences, wide.one_more_lacks_bytes) == (2, 6400)
    assert not any("limits" in note for note in texts(wide.notes))


# Right answers that pooled memory gets wrong.


def test_deepseek_v3_on_eight_h200() -> None:
    """The latent is on each of 8 ranks: 9,210,691,584 bytes a sequence and GPU, of 48,988,233,983.

    So are 1,138,574,176 bytes of latent down-projections, routers, norms and scales.
    """
    options: dict[str, Any] = {"gpu": "h200", "context": 131_072}
    copied = kvcalc.capacity("deepseek-v3", tp=8, **options)
    split = kvcalc.capacity("deepseek-v3", tp=8, dcp=8, **options)
    apart = kvcalc.capacity("deepseek-v3", dp=8, ep=8, dp_attention=True, **options)

    assert copied.cache_memory_bytes == 49_984_486_387 - 1_138_574_176 * 7 // 8
    assert (copied.sequences, copied.concurrency) == (5, 5.31)
    assert (copied.sequences_at_temporary_high, copied.sequences_at_temporary_low) == (4, 5)
    assert (split.sequences, split.concurrency) == (42, 42.54)
    assert (apart.sequences, apart.total.sequences) == (3, 24)


def test_llama_3_70b_on_16_ranks() -> None:
    """8 KV heads, so that each is on two ranks: 335,544,320 bytes a sequence and GPU.

    Of 78,218,988,093 usable bytes, 8,819,213,312 are a 16th of the weights, 167,772,160 what projections of keys and
    values take beyond that, 1.5 GiB temporary, 4 x 0.5 + 0.7 GiB overhead.
    """
    result = kvcalc.capacity("llama-3-70b", tp=16, context=8192)
    assert result.cache_memory_bytes == 64_890_059_121 - 167_772_160
    assert (result.sequences, result.concurrency) == (192, 192.88)
    assert result.one_more_lacks_bytes == 193 * 335_544_320 - 64_722_286_961


def test_gemma_3_27b_in_20_gib() -> None:
    """A token takes 8,192 bytes in each of 10 layers, and in 52 more of which each keeps 1,024."""
    result = kvcalc.capacity("gemma-3-27b", cache_memory="20GiB", context=32_768, batch=4)
    each = 10 * 8192 * 32_768 + 52 * 8192 * 1024
    assert each == 3_120_562_176
    assert (result.sequences, result.concurrency) == (6, 6.88)
    assert result.tokens == 6 * 32_768 + (20 * 2**30 - 6 * each - 52 * 8192 * 1024) // 81_920
    assert result.max_context == (5 * 2**30 - 52 * 8192 * 1024) // 81_920
    assert (result.tokens, result.max_context) == (224_870, 60_211)
