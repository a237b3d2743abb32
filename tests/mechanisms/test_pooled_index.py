"""Index keys pooled over several tokens, with a ring of what the next is made of: formulas, ranks, mistakes in a file.

Bytes are added up by hand: a key of 128 elements is 132 in fp8 with its scale; a key and its gates wait in bf16.
"""

from __future__ import annotations

from typing import Any

import pytest

import kvcalc
from kvcalc.mechanisms import GQA, MLA, Attention, ShortConv
from kvcalc.model.layers import LayerGroup

FIELDS: dict[str, Any] = {
    "num_heads": 8,
    "kv_lora_rank": 64,
    "qk_rope_head_dim": 0,
    "qk_nope_head_dim": 32,
    "v_head_dim": 32,
    "q_lora_rank": 16,
    "index_head_dim": 128,
    "index_n_heads": 4,
    "index_topk": 16,
    "index_kpool": 4,
}
POOLED = MLA(**FIELDS)
WAITING = 2 * 128 * 2


def model_of(*attentions: Attention) -> kvcalc.Model:
    return kvcalc.Model(name="small", dtype="bf16", layers=tuple(LayerGroup(count=1, attention=a) for a in attentions))


def held(model: kvcalc.Model, **options: Any) -> int:
    return kvcalc.estimate(model, **options).cache.bytes_per_rank


@pytest.mark.parametrize(
    ("context", "keys", "waiting"), [(1, 0, 1), (3, 0, 3), (4, 1, 4), (5, 1, 4), (7, 1, 4), (8, 2, 4), (1001, 250, 4)]
)
def test_rows_of_a_layer(context: int, keys: int, waiting: int) -> None:
    assert held(model_of(POOLED), context=context) == context * 128 + keys * 132 + waiting * WAITING


def test_formats_of_keys_and_of_what_waits_are_their_own() -> None:
    plain = 1000 * 128 + 250 * 132 + 4 * WAITING
    assert held(model_of(POOLED), context=1000, cache_dtype="fp8") == plain - 1000 * 64
    assert held(model_of(POOLED), context=1000, cache_dtype="index_k=bf16") == plain + 250 * (256 - 132)
    assert held(model_of(POOLED), context=1000, cache_dtype="index_tail=fp32") == plain + 4 * WAITING


def test_ranks_hold_all_of_it_whole_but_latents_in_turn() -> None:
    model = model_of(POOLED)
    assert held(model, context=1000, tp=4) == held(model, context=1000)
    assert held(model, context=1000, tp=4, dcp=4) == 250 * 128 + 250 * 132 + 4 * WAITING


def test_a_shared_prefix_is_kept_once_but_each_waits_for_its_own_key() -> None:
    two = {"batch": 2, "context": 1000, "shared_prefix": 990}
    assert held(model_of(POOLED), **two) == (990 + 2 * 10) * 128 + (247 + 2 * 3) * 132 + 2 * 4 * WAITING


def test_an_indexer_that_pools_has_two_projections_of_tokens() -> None:
    """Of a key and of its gates, beside those of queries and of their weights (index_kpool_compress_gate)."""
    rows = [each.rows for each in POOLED.projections(256) if each.name == "indexer's projections"]
    assert rows == [128, 128, 4 * 128, 4]


def test_a_layer_without_an_indexer_pools_nothing() -> None:
    with pytest.raises(ValueError, match="index_kpool: goes with index_head_dim"):
        MLA(**{**FIELDS, "index_head_dim": None, "index_n_heads": None})


INDEX: dict[str, Any] = {"index_head_dim": 128, "index_n_heads": 4, "index_topk": 16, "index_kpool": 4}
HEADS = GQA(num_heads=8, num_kv_heads=2, head_dim=64, **INDEX)


@pytest.mark.parametrize(("context", "keys", "waiting"), [(1, 0, 1), (3, 0, 3), (4, 1, 4), (7, 1, 4), (1001, 250, 4)])
def test_rows_of_a_layer_of_heads(context: int, keys: int, waiting: int) -> None:
    """Keys are in bf16, and a vector as wide waits; what ranks divide is keys and values."""
    index = (keys + waiting) * 256
    assert held(model_of(HEADS), context=context) == context * 2 * 2 * 64 * 2 + index
    assert held(model_of(HEADS), context=context, tp=2) == context * 2 * 64 * 2 + index


def test_heads_of_which_few_positions_are_read() -> None:
    assert HEADS.positions_read == 16
    assert HEADS.label == "gqa 8/2 x 64, index 128 of 4, top 16"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"index_topk": None}, "index_topk: goes with index_kpool"),
        ({"index_kpool": None}, "index_topk: goes with index_kpool"),
        ({"index_block_size": 4, "index_topk_blocks": 2}, "goes without index_block_size"),
        ({"index_head_dim": None, "index_n_heads": None}, "goes with index_head_dim"),
    ],
)
def test_heads_whose_fields_contradict_each_other(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        GQA(num_heads=8, num_kv_heads=2, head_dim=64, **{**INDEX, **change})


def test_a_convolution_that_skips_inputs_keeps_as_many_more_whole_on_each_rank() -> None:
    for whole, inputs in ((True, 96), (False, 48)):
        skipping = ShortConv(hidden_size=96, conv_kernel=4, dilation=3, whole=whole)
        model = model_of(HEADS, skipping)
        assert held(model, context=1000, tp=2) - held(model_of(HEADS), context=1000, tp=2) == 9 * inputs * 2
        assert held(model, context=1000) - held(model_of(HEADS), context=1000) == 9 * 96 * 2


@pytest.mark.parametrize("engine", ["mlx", "sglang", "tensorrt-llm"])
@pytest.mark.parametrize("attention", [HEADS, ShortConv(hidden_size=96, conv_kernel=4, dilation=3, whole=True)])
def test_an_engine_that_does_not_place_these_refuses_them(engine: str, attention: Attention) -> None:
    with pytest.raises(kvcalc.KvcalcError, match=f"does not follow how {engine} lays out layers of kind"):
        kvcalc.estimate(model_of(attention), engine=engine)


@pytest.mark.parametrize("engine", ["mlx", "sglang", "tensorrt-llm"])
def test_an_engine_that_does_not_place_pooled_keys_refuses_them(engine: str) -> None:
    with pytest.raises(kvcalc.KvcalcError, match=f"does not follow how {engine} lays out layers of kind 'mla'"):
        kvcalc.estimate(model_of(POOLED), engine=engine)
