"""Encoders, chunks, and several caches side by side in a layer."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from conftest import Kvcalc
from state_samples import DEEPSEEK_V32, NEMOTRON_H, cache, model

import kvcalc
from kvcalc.mechanisms import (
    GQA,
    MQA,
    Cross,
)
from kvcalc.model.layers import LayerGroup

# --- cross attention and chunks ---


def test_an_encoders_tokens_are_kept_once_for_each_sequence() -> None:
    cross = Cross(num_heads=32, num_kv_heads=8, head_dim=128, encoder_context=6404)
    text = GQA(num_heads=32, num_kv_heads=8, head_dim=128)
    vision = model(cross, text)
    for context in (1, 8192):
        found = cache(vision, batch=3, context=context)
        assert found.state_bytes_per_sequence == 6404 * 8 * 256 * 2
        assert found.bytes == 3 * (6404 + context) * 4096
        assert found.bytes_per_token == 4096
    assert cache(vision, context=1, tp=16).bytes_per_rank == (6404 + 1) * 256 * 2  # a head on each of two ranks
    assert cache(vision, context=1, cache_dtype="fp8").bytes == (6404 + 1) * 2048


@pytest.mark.parametrize(
    ("context", "kept"), [(1, 1), (8191, 8191), (8192, 8192), (8193, 8192), (16_384, 8192), (100_000, 8192)]
)
def test_a_chunk_is_counted_at_its_fullest(context: int, kept: int) -> None:
    """One more token is never less, though a new chunk begins empty."""
    chunked = model(GQA(num_heads=40, num_kv_heads=8, head_dim=128), count=36, chunk=8192)
    assert cache(chunked, context=context).bytes == 36 * 2048 * 2 * kept


def test_a_chunk_shares_a_prefix_only_where_it_is_in_it() -> None:
    chunked = model(MQA(num_heads=2, head_dim=16), chunk=100)
    row = 2 * 16 * 2

    def kept(context: int, prefix: int) -> int:
        return int(cache(chunked, batch=10, context=context, shared_prefix=prefix).bytes) // row

    assert kept(90, 50) == 50 + 10 * 40
    assert kept(100, 100) == 100
    assert kept(150, 50) == 10 * 100  # the chunk of 100 to 199 has none of it
    assert kept(150, 120) == 20 + 10 * 80


# --- several caches in one layer ---


def test_caches_side_by_side_in_a_layer_add_up() -> None:
    text, state = GQA(num_heads=20, num_kv_heads=4, head_dim=128), replace(NEMOTRON_H, num_heads=32, num_groups=2)
    both = kvcalc.Model(name="m", dtype="bf16", layers=(LayerGroup(count=72, attention=(text, state)),))
    apart = model(text, state, count=72)
    for options in ({}, {"tp": 4}, {"batch": 7, "context": 3}, {"state_dtype": "bf16", "cache_dtype": "fp8"}):
        side_by_side, one_by_one = cache(both, **options), cache(apart, **options)
        assert side_by_side.bytes == one_by_one.bytes
        assert side_by_side.state_bytes_per_sequence == one_by_one.state_bytes_per_sequence
    assert (both.num_layers, apart.num_layers) == (72, 144)
    assert len(both.sequence()) == 72


def test_stages_of_layers_with_several_caches() -> None:
    """28 layers on 3 stages: 10, 9 and 9, each with both of its caches."""
    latent = replace(DEEPSEEK_V32, index_head_dim=None, index_n_heads=None, index_topk=None)
    longcat = kvcalc.Model(name="m", dtype="bf16", layers=(LayerGroup(count=28, attention=(latent, latent)),))
    assert cache(longcat, context=10).bytes == 28 * 2 * 576 * 2 * 10
    assert cache(longcat, context=10, pp=3).bytes_per_rank == 10 * 2 * 576 * 2 * 10
    assert cache(longcat, context=10, pp=28).bytes_per_rank == 2 * 576 * 2 * 10


def test_windows_and_formats_are_of_the_caches_that_grow() -> None:
    text, state = GQA(num_heads=20, num_kv_heads=4, head_dim=128), replace(NEMOTRON_H, num_heads=32, num_groups=2)
    both = kvcalc.Model(
        name="m", dtype="bf16", layers=(LayerGroup(count=2, attention=(text, state), window=7, cache_dtype="fp8"),)
    )
    assert [layer.label for layer in both.distinct()] == ["gqa 20/4 x 128, window 7, fp8", state.label]
    found = cache(both, context=100)
    assert found.state_bytes_per_sequence == cache(model(state, count=2)).bytes
    assert found.bytes - found.state_bytes_per_sequence == 2 * 7 * 2 * 4 * 128
    without = cache(both, context=100).without_windows_bytes
    assert without - found.state_bytes_per_sequence == 2 * 100 * 2 * 4 * 128


def test_weights_of_stages_count_layers_not_caches() -> None:
    """Two caches a layer, and half of the layers on each of two stages."""
    latent = replace(DEEPSEEK_V32, index_head_dim=None, index_n_heads=None, index_topk=None)
    twice = kvcalc.Model(
        name="m",
        dtype="bf16",
        hidden_size=64,
        vocab_size=1000,
        tie_word_embeddings=False,
        parameters=2 * 64_000 + 6_000,
        layers=(LayerGroup(count=6, attention=(latent, latent)),),
    )
    rank = kvcalc.estimate(twice, pp=2).memory.per_rank
    assert rank.weights_bytes == 2 * (64_000 + 3_000)


def test_dcp_is_not_limited_by_an_encoders_heads() -> None:
    """Those of an encoder's tokens are not shared, so only the text's one head, on all 8 ranks, counts."""
    vision = model(MQA(num_heads=8, head_dim=16), Cross(num_heads=8, num_kv_heads=8, head_dim=16, encoder_context=10))
    found = cache(vision, context=80, tp=8, dcp=8)
    assert found.bytes_per_rank == (10 + 10) * 2 * 16 * 2


def test_what_an_encoder_adds_to_a_step() -> None:
    vision = kvcalc.estimate("llama-3.2-11b-vision", context=1000).decode
    assert vision is not None
    (cross,) = (term for term in vision.terms.parts[2].parts if "cross" in term.path)  # type: ignore[union-attr]  # a sum
    assert cross.bytes == 2 * 8 * 6404 * 32 * 2 * 128


def test_no_rotary_key_is_no_tensor() -> None:
    kept = replace(DEEPSEEK_V32, qk_rope_head_dim=0).cached()
    assert [tensor.name for tensor in kept] == ["c_kv", "index_k"]


def test_lists_tell_growth_from_states(kvcalc_lists: dict[str, Any]) -> None:
    assert (kvcalc_lists["bytes_per_token"], kvcalc_lists["state_bytes_per_sequence"]) == (24_576, 77_266_944)
    row = next(row for row in kvcalc.compare("qwen3-next-80b-a3b", context=8192).rows if row.own)
    assert (row.bytes_per_token, row.state_bytes_per_sequence) == (24_576, 77_266_944)
    assert row.cache_bytes == 278_593_536


@pytest.fixture
def kvcalc_lists(kvcalc: Kvcalc) -> dict[str, Any]:
    models = json.loads(kvcalc("models", "list", "--json").stdout)["models"]
    return next(each for each in models if each["name"] == "qwen3-next-80b-a3b")
