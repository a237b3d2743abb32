"""Compressed attention in llama.cpp, whose own printed sizes of b11549 are compared, and what it does not serve."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

import kvcalc
from kvcalc.engines import Load
from kvcalc.mechanisms import Compressed
from kvcalc.memory import Ranks
from kvcalc.model.layers import LayerGroup

COMMON: dict[str, Any] = {"num_heads": 64, "head_dim": 512, "sliding_window": 128, "q_lora_rank": 1024}
WINDOW = Compressed(**COMMON, qk_rope_head_dim=64)
HEAVY = Compressed(**COMMON, qk_rope_head_dim=64, compress_ratio=128)
SPARSE = Compressed(
    **COMMON,
    qk_rope_head_dim=64,
    compress_ratio=4,
    overlap=True,
    index_head_dim=128,
    index_n_heads=64,
    index_topk=512,
)


def layers(*kinds: Compressed) -> kvcalc.Model:
    """Seven of DeepSeek-V4-Flash: windows alone, entries of ratio 4 and of 128 in turn."""
    groups = tuple(LayerGroup(count=1, attention=each) for each in kinds)
    return kvcalc.Model(name="shape", dtype="bf16", parameters=10**9, layers=groups)


SEVEN = layers(WINDOW, WINDOW, SPARSE, HEAVY, SPARSE, HEAVY, SPARSE)

PRINTED: list[tuple[int, int, str | None, dict[str, str], list[float]]] = [
    # context, slots, cache-dtype, options; MiB of windows, entries of ratio 4, of 128, an indexer's keys, of what waits
    (1000, 1, None, {}, [5.25, 0.75, 0.5, 0.19, 0.19, 1.0, 0.05]),
    (4096, 1, None, {}, [5.25, 3.0, 0.5, 0.75, 0.19, 1.0, 0.05]),
    (100_096 // 3, 3, None, {}, [15.75, 74.25, 3.0, 18.56, 0.56, 3.0, 0.14]),
    (16_384, 4, None, {"kv-unified": "1"}, [21.0, 192.0, 4.0, 48.0, 0.75, 4.0, 0.19]),
    (32_768, 1, "q8_0", {"ubatch-size": "1024"}, [4.65, 12.75, 0.27, 3.19, 0.19, 1.0, 0.05]),
    (16_384, 2, None, {"swa-full": "1"}, [224.0, 24.0, 1.0, 6.0, 0.38, 2.0, 0.09]),
    (4096, 8, "q4_0", {}, [11.81, 6.75, 1.12, 1.69, 1.5, 8.0, 0.38]),
    (32_768, 1, None, {"draft-n": "3"}, [5.25, 24.0, 0.5, 6.0, 0.75, 4.0, 0.19]),
]
"""As a run of b11549 printed them, of a file of these seven layers (tests/live/llama_cpp_compressed.py)."""


@pytest.mark.parametrize(("context", "slots", "dtype", "options", "parts"), PRINTED)
def test_cells_are_as_printed(
    context: int, slots: int, dtype: str | None, options: dict[str, str], parts: list[float]
) -> None:
    asked = kvcalc.make_scenario(
        SEVEN, engine="llama-cpp", engine_option=options, cache_dtype=dtype, batch=slots, context=context
    )
    settled: Any = Ranks(asked).settled(kvcalc.Deployment())
    held = sum(settled.held_bytes(stage, Load(slots, context)) for stage in settled.stages)
    assert abs(held / 2**20 - sum(parts)) < 0.005 * len(parts)


@pytest.mark.parametrize(("context", "slots", "dtype", "options", "parts"), PRINTED)
def test_what_is_in_excess_is_listed(
    context: int, slots: int, dtype: str | None, options: dict[str, str], parts: list[float]
) -> None:
    found = kvcalc.estimate(
        SEVEN, engine="llama-cpp", engine_option=options, cache_dtype=dtype, batch=slots, context=context
    )
    assert abs(found.cache.bytes / 2**20 - sum(parts)) < 0.005 * len(parts)
    assert found.cache.bytes == sum(each.bytes for each in found.cache.terms)


@pytest.mark.parametrize(
    ("model", "options", "said"),
    [
        (SEVEN, {"engine": "llama-cpp@b8201"}, "compressed attention in b11549; --engine llama-cpp@b11549"),
        (SEVEN, {"engine_option": {"ollama-new-engine": "true"}}, "ollama-new-engine: kvcalc does not follow"),
        (SEVEN, {"cache_dtype": "k=q8_0,v=f16"}, "a latent in K's type"),
        (layers(Compressed(**COMMON, qk_rope_head_dim=64, compress_ratio=8)), {}, "with ratios of 4, with overlap"),
        ("deepseek-v4.1-flash", {}, "with ratios of 4, with overlap"),
        ("deepseek-v4-flash", {"mtp": 1}, "--mtp"),
    ],
)
def test_what_it_does_not_serve_is_refused(model: Any, options: dict[str, Any], said: str) -> None:
    with pytest.raises(kvcalc.KvcalcError, match=said):
        kvcalc.estimate(model, **{"engine": "llama-cpp", **options})


def test_most_tokens_are_those_of_which_one_more_does_not_fit() -> None:
    most = kvcalc.capacity(SEVEN, engine="llama-cpp", cache_memory=2**29, context=4096)
    assert most.sequences == 47
    for context, fits in ((most.max_context or 0, True), ((most.max_context or 0) + 1, False)):
        assert (kvcalc.estimate(SEVEN, context=context, engine="llama-cpp").cache.bytes <= 2**29) == fits
    for slots, fits in ((47, True), (48, False)):
        assert (kvcalc.estimate(SEVEN, context=4096, batch=slots, engine="llama-cpp").cache.bytes <= 2**29) == fits


FLASH, WIDE = 4096, 7168
BUFFERS = [
    # hidden_size, query heads, context, options, slots; MiB of the compute buffer
    (FLASH, 64, 4096, {}, 1, 212.6),
    (FLASH, 64, 16_384, {}, 1, 218.6),
    (FLASH, 64, 65_536, {}, 1, 306.8),
    (FLASH, 64, 131_072, {}, 1, 404.1),
    (FLASH, 64, 262_144, {}, 1, 533.8),
    (FLASH, 64, 1_048_576, {}, 1, 1755.8),
    (FLASH, 64, 65_536, {"ubatch-size": "1024"}, 1, 486.6),
    (FLASH, 64, 65_536, {"ubatch-size": "2048"}, 1, 1233.2),
    (FLASH, 64, 16_384, {}, 4, 218.6),
    (FLASH, 128, 65_536, {}, 1, 498.8),
    (FLASH, 128, 65_536, {"ubatch-size": "2048"}, 1, 2001.2),
    (WIDE, 64, 4096, {}, 1, 268.6),
    (WIDE, 64, 1_048_576, {}, 1, 1759.8),
]
"""As llama.cpp b11549 reserves graphs of DeepSeek-V4-Flash's dims (tests/live/llama_cpp_compressed.py, METADATA)."""


@pytest.mark.parametrize(("hidden", "heads", "context", "options", "slots", "mib"), BUFFERS)
def test_compute_buffers_are_within_their_range(
    hidden: int, heads: int, context: int, options: dict[str, str], slots: int, mib: float
) -> None:
    kinds = [replace(each, num_heads=heads) for each in (WINDOW, SPARSE, HEAVY)]
    model = replace(layers(*kinds), hidden_size=hidden)
    asked = kvcalc.make_scenario(model, engine="llama-cpp", engine_option=options, batch=slots, context=context)
    settled: Any = Ranks(asked).settled(kvcalc.Deployment())
    found = settled.temporary(settled.stages[0], Load(slots, context))
    assert found.low <= mib * 2**20 <= found.high
