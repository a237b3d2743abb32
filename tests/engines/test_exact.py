"""The engine `exact`, to the byte: worked examples, formats and ranks, with literals and plain arithmetic."""

from __future__ import annotations

from typing import Any

import pytest
from format_bytes import ROW_BYTES

import kvcalc
from kvcalc.deployment import heads_on_rank
from kvcalc.legality import check_legal, legal_tps
from kvcalc.mechanisms import GQA, MHA, MLA, MQA, Attention, NoAttention, Shared
from kvcalc.model.ad_hoc import AdHoc
from kvcalc.model.layers import LayerGroup
from kvcalc.verbs.estimate_parts import gpus_by_memory

GB = 10**9


def one_layer(attention: Attention, window: int | None = None) -> kvcalc.Model:
    return kvcalc.Model(name="one-layer", layers=(LayerGroup(count=1, attention=attention, window=window),))


def deepseek_layer() -> MLA:
    return MLA(num_heads=128, kv_lora_rank=512, qk_rope_head_dim=64, qk_nope_head_dim=128, v_head_dim=128)


# The worked rows of the public interface: batch 1 x 8,192 tokens in bf16.


@pytest.mark.parametrize(
    ("model", "tp", "per_token", "per_rank", "every_copy", "one_copy"),
    [
        ("llama-3-70b", 16, 40_960, 335_544_320, 5_368_709_120, 2_684_354_560),
        ("deepseek-v3", 8, 70_272, 575_668_224, 4_605_345_792, 575_668_224),
    ],
)
def test_worked_rows(model: str, tp: int, per_token: int, per_rank: int, every_copy: int, one_copy: int) -> None:
    cache = kvcalc.estimate(model, batch=1, context=8192, cache_dtype="bf16", tp=tp).cache

    assert cache.bytes_per_token == per_token
    assert cache.bytes_per_token_at_context == per_token
    assert cache.bytes_per_rank == per_rank
    assert cache.bytes_per_sequence == per_rank
    assert cache.bytes == every_copy
    assert cache.one_copy_bytes == one_copy
    assert cache.state_bytes_per_sequence == 0
    assert not cache.lower_bound


def test_llama_3_70b_with_32_sequences() -> None:
    assert kvcalc.estimate("llama-3-70b", batch=32, context=8192).cache.bytes == 85_899_345_920


# A widely read article's example: 32 layers, 32 query heads of 64, 80,000 tokens, 2 bytes.


@pytest.mark.parametrize(
    ("kv_heads", "kind", "expected"),
    [(32, "mha", 20_971_520_000), (4, "gqa", 2_621_440_000), (1, "mqa", 655_360_000)],
)
def test_the_articles_shape(kv_heads: int, kind: str, expected: int) -> None:
    model = AdHoc(layers=32, heads=32, kv_heads=kv_heads, head_dim=64).model()
    answer = kvcalc.estimate(model, context=80_000)

    assert answer.model.mechanisms == (kind,)
    assert answer.cache.bytes == expected


@pytest.mark.parametrize(("cache", "expected"), [(80 * GB, 2), (640 * GB, 9)])
def test_the_articles_gpu_count(cache: int, expected: int) -> None:
    assert gpus_by_memory(14 * GB + cache + 5 * GB, 80 * GB) == expected


@pytest.mark.parametrize(("batch", "cache", "expected"), [(1, 80 * GB, 2), (8, 640 * GB, 9)], ids=["gqa", "mha"])
def test_the_articles_gpu_count_through_an_estimate(batch: int, cache: int, expected: int) -> None:
    # 25 layers x 80,000 tokens x 2 x 4 heads x 2,500 x 2 bytes = 80 x 10^9 bytes a sequence.
    model = AdHoc(layers=25, heads=32, kv_heads=4, head_dim=2500).model()
    answer = kvcalc.estimate(
        model,
        batch=batch,
        context=80_000,
        weights="14GB",
        temporary="5GB",
        overhead=0,
        gpu_memory="80GB",
        utilization=1,
    )

    assert answer.cache.bytes == cache
    assert answer.gpus.usable_bytes == 80 * GB
    assert answer.gpus.unsplit_bytes == 14 * GB + cache + 5 * GB
    assert answer.gpus.by_memory == expected


@pytest.mark.parametrize(
    ("total", "usable", "expected"), [(1, 10, 1), (10, 10, 1), (11, 10, 2), (20, 10, 2), (21, 10, 3)]
)
def test_by_memory_rounds_up(total: int, usable: int, expected: int) -> None:
    assert gpus_by_memory(total, usable) == expected


# One layer, one token: elements that each mechanism keeps.


@pytest.mark.parametrize(
    ("attention", "elements"),
    [
        (MHA(num_heads=6, head_dim=10), 6 * 20),
        (MHA(num_heads=6, head_dim=10, v_head_dim=7), 6 * 17),
        (MQA(num_heads=6, head_dim=10), 20),
        (MQA(num_heads=6, head_dim=10, v_head_dim=7), 17),
        (GQA(num_heads=6, num_kv_heads=3, head_dim=10), 3 * 20),
        (GQA(num_heads=6, num_kv_heads=3, head_dim=10, v_head_dim=7), 3 * 17),
        (deepseek_layer(), 576),
        (MLA(num_heads=2, kv_lora_rank=5, qk_rope_head_dim=5, qk_nope_head_dim=1, v_head_dim=1), 10),
        (Shared(), 0),
        (NoAttention(), 0),
    ],
)
def test_elements_per_token(attention: Attention, elements: int) -> None:
    cache = kvcalc.estimate(one_layer(attention), context=11, batch=3).cache

    assert attention.elements_per_token == elements
    assert cache.bytes_per_token == elements * 2
    assert cache.bytes == elements * 2 * 11 * 3


@pytest.mark.parametrize(
    ("context", "positions", "next_token"), [(1, 1, 1), (99, 99, 1), (100, 100, 0), (101, 100, 0), (10**12, 100, 0)]
)
def test_a_window_keeps_no_more_than_its_tokens(context: int, positions: int, next_token: int) -> None:
    per_token = 2 * 3 * 16 * 2
    cache = kvcalc.estimate(one_layer(MHA(num_heads=3, head_dim=16), window=100), context=context).cache

    assert cache.bytes == positions * per_token
    assert cache.bytes_per_token == per_token
    assert cache.bytes_per_token_at_context == next_token * per_token
    assert cache.without_windows_bytes == context * per_token
    assert cache.lower_bound is (context > 100)


def test_a_group_may_have_a_format_of_its_own() -> None:
    attention = MHA(num_heads=2, head_dim=32)
    model = kvcalc.Model(
        name="two-formats",
        layers=(
            LayerGroup(count=3, attention=attention),
            LayerGroup(count=5, attention=attention, cache_dtype="fp32"),
        ),
    )

    assert kvcalc.estimate(model, context=7).cache.bytes == 7 * 2 * 2 * 32 * (3 * 2 + 5 * 4)
    assert kvcalc.estimate(model, context=7, cache_dtype="fp8").cache.bytes == 7 * 2 * 2 * 32 * (3 * 1 + 5 * 4)


# Element formats: K and V of 8 KV heads of 128.


@pytest.mark.parametrize("name", ROW_BYTES)
def test_bytes_of_a_format(name: str) -> None:
    model, row = one_layer(GQA(num_heads=16, num_kv_heads=8, head_dim=128)), ROW_BYTES[name][0]

    assert kvcalc.estimate(model, context=1, cache_dtype=name).cache.bytes == 2 * row
    assert kvcalc.estimate(model, context=9, cache_dtype=f"k={name},v=fp32").cache.bytes == 9 * (row + 4096)


def test_another_spelling_takes_the_same() -> None:
    model = one_layer(GQA(num_heads=8, num_kv_heads=2, head_dim=256))

    assert kvcalc.estimate(model, context=1, cache_dtype="fp8_e4m3").cache.bytes == 1024


def test_the_latent_in_fp8_with_scales_takes_656_bytes() -> None:
    assert kvcalc.estimate(one_layer(deepseek_layer()), context=1, cache_dtype="fp8_ds_mla").cache.bytes == 656
    assert kvcalc.estimate(
        one_layer(deepseek_layer()), context=1, cache_dtype="c_kv=fp8_block128,k_rope=fp32"
    ).cache.bytes == 528 + 256  # fmt: skip


def test_a_tensor_that_is_not_named_keeps_the_models_dtype() -> None:
    model = kvcalc.Model(
        name="fp32", dtype="fp32", layers=(LayerGroup(count=1, attention=MHA(num_heads=1, head_dim=32)),)
    )

    assert kvcalc.estimate(model, context=1, cache_dtype="k=q8_0").cache.bytes == 34 + 128


@pytest.mark.parametrize(
    ("head_dim", "cache_dtype", "expected"),
    [
        (5, "int4_per_token_head", 2 * (3 + 4)),  # half a byte each, padded to whole bytes
        (6, "int4_per_token_head", 2 * (3 + 4)),
        (16, "q8_0", None),  # a row of 16 is half a block
        (48, "q4_0", None),
        (48, "nvfp4", 2 * 27),
        (64, "fp8_block128", None),
    ],
)
def test_rows_that_blocks_do_not_fill(head_dim: int, cache_dtype: str, expected: int | None) -> None:
    model = one_layer(MHA(num_heads=1, head_dim=head_dim))
    if expected is None:
        with pytest.raises(kvcalc.KvcalcError, match="blocks of"):
            kvcalc.estimate(model, context=1, cache_dtype=cache_dtype)
    else:
        assert kvcalc.estimate(model, context=1, cache_dtype=cache_dtype).cache.bytes == expected


def test_a_block_may_span_heads_of_one_row() -> None:
    model = one_layer(MHA(num_heads=2, head_dim=16))

    assert kvcalc.estimate(model, context=1, cache_dtype="q8_0").cache.bytes == 2 * 34
    with pytest.raises(kvcalc.KvcalcError, match="blocks of 32"):
        kvcalc.estimate(model, context=1, cache_dtype="q8_0", tp=2)


# Ranks.


@pytest.mark.parametrize(
    ("heads", "tp", "expected"), [(8, 1, 8), (8, 2, 4), (8, 8, 1), (8, 16, 1), (8, 64, 1), (1, 7, 1), (6, 3, 2)]
)
def test_heads_on_a_rank(heads: int, tp: int, expected: int) -> None:
    assert heads_on_rank(heads, tp) == expected


@pytest.mark.parametrize(("heads", "tp"), [(8, 3), (8, 12), (6, 4)])
def test_heads_that_do_not_spread(heads: int, tp: int) -> None:
    with pytest.raises(ValueError, match="do not spread"):
        heads_on_rank(heads, tp)


@pytest.mark.parametrize(
    ("mechanisms", "legal"),
    [
        ([GQA(num_heads=64, num_kv_heads=8, head_dim=1)], [1, 2, 4, 8, 16, 32, 64]),
        ([GQA(num_heads=24, num_kv_heads=8, head_dim=1)], [1, 2, 4, 8, 24]),
        ([GQA(num_heads=40, num_kv_heads=10, head_dim=1)], [1, 2, 5, 10, 20, 40]),
        ([MQA(num_heads=71, head_dim=1)], [1, 71]),
        ([MQA(num_heads=6, head_dim=1)], [1, 2, 3, 6]),
        ([MHA(num_heads=12, head_dim=1), MHA(num_heads=18, head_dim=1)], [1, 2, 3, 6]),
        ([deepseek_layer()], [1, 2, 4, 8, 16, 32, 64, 128]),
        ([MHA(num_heads=4, head_dim=1), Shared(), NoAttention()], [1, 2, 4]),
        ([NoAttention()], [1]),
    ],
)
def test_legal_tensor_parallel_sizes(mechanisms: list[Attention], legal: list[int]) -> None:
    model = kvcalc.Model(name="m", layers=tuple(LayerGroup(count=1, attention=kind) for kind in mechanisms))
    assert legal_tps(model) == legal
    assert legal_tps(model, 8) == [tp for tp in legal if tp <= 8]
    for tp in range(1, 130):
        if tp in legal:
            check_legal(kvcalc.Deployment(tp), model)
        else:
            with pytest.raises(kvcalc.KvcalcError, match=f"legal are {', '.join(map(str, legal))} "):
                check_legal(kvcalc.Deployment(tp), model)


def test_no_more_stages_than_layers() -> None:
    kvcalc.estimate("gemma-2b", pp=18)
    with pytest.raises(kvcalc.KvcalcError, match="pp: 19 is illegal for this model; legal are 1 to 18"):
        kvcalc.estimate("gemma-2b", pp=19)


@pytest.mark.parametrize("ways", [{"tp": 0}, {"pp": 0}, {"dp": -1}, {"tp": 1_000_001}])
def test_numbers_of_ranks_have_limits(ways: dict[str, Any]) -> None:
    with pytest.raises(kvcalc.KvcalcError, match="must be from 1 to 1,000,000"):
        kvcalc.Deployment(**ways)


def test_kv_heads_must_divide_query_heads() -> None:
    with pytest.raises(ValueError, match="num_kv_heads must divide num_heads"):
        GQA(num_heads=32, num_kv_heads=5, head_dim=1)


def test_the_keys_that_a_file_may_give() -> None:
    blocks = ("index_head_dim?", "index_n_heads?", "index_block_size?", "index_topk_blocks?")
    pooled = ("index_kpool?", "index_topk?")
    assert GQA.keys() == ("num_heads", "num_kv_heads", "head_dim", "v_head_dim?", "k_equals_v?", *blocks, *pooled)
    assert MQA.keys() == ("num_heads", "head_dim", "v_head_dim?", "k_equals_v?")
    assert NoAttention.keys() == ()


def test_no_more_than_10_000_layers() -> None:
    half = LayerGroup(count=5000, attention=MQA(num_heads=1, head_dim=1))
    most = kvcalc.Model(name="m", layers=(half, half))

    assert kvcalc.estimate(most, context=1).cache.bytes == 10_000 * 2 * 2
    with pytest.raises(ValueError, match="10,001 layers are beyond the limit of 10,000"):
        kvcalc.Model(name="m", layers=(half, half, LayerGroup(count=1, attention=NoAttention())))
