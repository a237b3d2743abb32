"""Compressed attention in the plain formulas: entries, rings, ranks, shared prefixes, mistakes in a file."""

from __future__ import annotations

from typing import Any

import pytest

import kvcalc
from kvcalc.mechanisms import GQA, Compressed
from kvcalc.model.layers import LayerGroup

FIELDS: dict[str, Any] = {"num_heads": 8, "head_dim": 64, "sliding_window": 16, "compress_ratio": 4}
SPARSE = Compressed(**FIELDS, overlap=True, index_head_dim=128)
HEAVY = Compressed(**{**FIELDS, "compress_ratio": 32})
WINDOW = Compressed(num_heads=8, head_dim=64, sliding_window=16)


def model_of(*attentions: Compressed) -> kvcalc.Model:
    return kvcalc.Model(name="small", dtype="bf16", layers=tuple(LayerGroup(count=1, attention=a) for a in attentions))


def held(model: kvcalc.Model, **options: Any) -> int:
    return kvcalc.estimate(model, **options).cache.bytes_per_rank


@pytest.mark.parametrize(
    ("context", "rows"),
    [(1, (1, 0, 1)), (4, (4, 1, 4)), (15, (15, 3, 8)), (16, (16, 4, 8)), (17, (16, 4, 8)), (1000, (16, 250, 8))],
)
def test_rows_of_a_sparse_layer(context: int, rows: tuple[int, int, int]) -> None:
    window, entries, waiting = rows
    expected = window * 128 + entries * (128 + 132) + waiting * 4 * (4 * 64 + 4 * 128)
    assert held(model_of(SPARSE), context=context) == expected


def test_rows_of_other_layers() -> None:
    assert held(model_of(WINDOW), context=1000) == 16 * 128
    assert held(model_of(HEAVY), context=1000) == 16 * 128 + 31 * 128 + 32 * 4 * 2 * 64
    assert held(model_of(HEAVY), context=1000, state_dtype="bf16") == 16 * 128 + 31 * 128 + 32 * 2 * 2 * 64
    assert held(model_of(HEAVY), context=1000, cache_dtype="compressed_kv=fp8") == 16 * 128 + 31 * 64 + 32 * 512


def test_rows_of_layers_that_share_entries() -> None:
    """DeepSeek-V4.1: keys are made of entries, an entry of one token waits for nothing, readers keep their window."""
    indexed: dict[str, Any] = {"index_head_dim": 128, "index_of_entries": True, "index_n_heads": 2, "index_topk": 8}
    pairs, single = (Compressed(**{**FIELDS, "compress_ratio": ratio}, **indexed) for ratio in (2, 1))
    reader = Compressed(**{**FIELDS, "compress_ratio": 2}, shared_entries=True, index_topk=8)
    chooser = Compressed(
        **{**FIELDS, "compress_ratio": 1}, shared_entries=True, **{**indexed, "index_of_entries": False}
    )
    assert held(model_of(pairs), context=1001) == 16 * 128 + 500 * (128 + 132) + 2 * 4 * 2 * 64
    assert held(model_of(single), context=1001) == 16 * 128 + 1001 * (128 + 132)
    assert held(model_of(reader), context=1001) == held(model_of(chooser), context=1001) == 16 * 128
    assert len({layer.label for layer in (pairs, single, reader, chooser)}) == 4
    assert [layer.positions(1001) for layer in (pairs, single, reader, chooser)] == [16 + 8] * 4


def test_ranks_hold_entries_whole_or_take_them_in_turn() -> None:
    model = model_of(SPARSE)
    assert held(model, context=1000, tp=4) == held(model, context=1000)
    whole = 16 * 128 + 250 * 132 + 8 * 3072  # rings, and an indexer's keys
    assert held(model, context=1000, tp=4, dcp=4) == whole + 63 * 128


def test_a_shared_prefix_is_kept_once_in_whole_groups() -> None:
    model, two = model_of(HEAVY), {"batch": 2, "context": 1000}
    rings = 2 * (16 * 128 + 32 * 512)
    assert held(model, **two) == rings + 2 * 31 * 128
    assert held(model, **two, shared_prefix=100) == rings + (3 + 2 * 28) * 128
    assert held(model, **two, shared_prefix=990) == rings - 6 * 128 - 22 * 512 + (30 + 2 * 1) * 128


def test_a_rate_spreads_a_row_over_its_tokens() -> None:
    found = kvcalc.estimate(model_of(SPARSE, HEAVY), context=1000).cache
    assert found.bytes_per_token_at_context == (128 + 132) // 4 + 128 // 32
    assert found.bytes_per_token == found.bytes_per_token_at_context + 2 * 128 + 3072 + 512
    assert kvcalc.estimate(model_of(HEAVY), context=1000, cache_dtype="mxfp8").cache.bytes_per_token_at_context == 3


def test_a_capacity_is_what_fits_to_the_token() -> None:
    model = model_of(SPARSE, HEAVY)
    memory = 10 * held(model, context=777)
    found = kvcalc.capacity(model, cache_memory=memory, context=777)
    assert found.sequences == 10
    most = kvcalc.capacity(model, cache_memory=memory, batch=1, context=777).max_context
    assert most is not None
    assert held(model, context=most) <= memory < held(model, context=most + 1)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"compress_ratio": None, "overlap": True}, "overlap: goes with compress_ratio"),
        ({"compress_ratio": None, "index_head_dim": 128}, "index_head_dim: goes with compress_ratio"),
        ({"index_topk": 8}, "index_topk: goes with index_head_dim"),
        ({"compress_ratio": None, "shared_entries": True}, "shared_entries: goes with compress_ratio"),
        ({"shared_entries": True, "overlap": True}, "overlap: goes with entries that this layer pools"),
        ({"compress_ratio": 1, "overlap": True}, "overlap: goes with entries that this layer pools"),
        ({"index_of_entries": True}, "index_of_entries: goes with index_head_dim"),
        ({"compress_ratio": 0}, "compress_ratio: must be at least 1"),
        ({"qk_rope_head_dim": 65}, "qk_rope_head_dim: must be at most head_dim"),
        ({"state_dtype": "fp8"}, "state_dtype: states are kept in fp32, bf16, fp16"),
    ],
)
def test_fields_that_do_not_go_together_are_refused(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Compressed(**{**FIELDS, **fields})


def test_a_layer_that_says_itself_what_it_keeps_has_no_window() -> None:
    with pytest.raises(ValueError, match="window: attention of kind 'compressed' says itself which tokens it keeps"):
        LayerGroup(count=1, attention=HEAVY, window=16)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"index_n_heads": 2}, "index_n_heads: goes with index_head_dim"),
        ({"index_head_dim": 8, "index_topk_blocks": 2}, "index_topk_blocks: goes with index_block_size"),
    ],
)
def test_an_indexer_beside_heads_has_all_that_it_needs(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        GQA(num_heads=4, num_kv_heads=2, head_dim=8, **fields)


@pytest.mark.parametrize("engine", ["llama-cpp", "sglang"])
def test_an_engine_that_does_not_place_an_indexer_beside_heads_refuses_it(engine: str) -> None:
    with pytest.raises(kvcalc.KvcalcError, match=f"does not follow how {engine} lays out layers of kind 'gqa'"):
        kvcalc.estimate("minimax-m3", engine=engine)


def test_an_engine_that_does_not_place_such_rows_refuses_them() -> None:
    with pytest.raises(
        kvcalc.KvcalcError, match="does not follow how tensorrt-llm lays out layers of kind 'compressed'"
    ):
        kvcalc.estimate(model_of(HEAVY), engine="tensorrt-llm")
