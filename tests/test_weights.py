"""Weights: of a checkpoint, of a replica and of a rank, by hand."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import kvcalc
from kvcalc.mechanisms import GQA, MHA
from kvcalc.memory import rank_memories
from kvcalc.model import LayerGroup, WeightPart

TWO_HEADS = MHA(num_heads=2, head_dim=1)


def weights_of_stages(model: kvcalc.Model | str, **options: Any) -> list[int]:
    """Weights of one rank of each pipeline stage."""
    scenario = kvcalc.make_scenario(model, context=1, **options)
    stages = rank_memories(scenario, scenario.deployment or kvcalc.Deployment())
    return [memory.weights.bytes for memory in stages if memory.weights is not None]


def weights(model: kvcalc.Model | str, **options: Any) -> tuple[int | None, int | None]:
    """Of one replica, and of its fullest rank."""
    memory = kvcalc.estimate(model, context=1, **options).memory
    return memory.weights_bytes, memory.per_rank.weights_bytes


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        ("llama-3-8b", 8_030_261_248 * 2),
        ("gemma-2b", 2_506_172_416 * 2),
        ("gpt-oss-120b", 65_248_815_744),
        # fp8 experts and layers, bf16 embedding, head, routers and norms, fp32 scales.
        ("deepseek-v3", 653_908_770_816 + 15_156_838_400 + 2 * 1_960_795_136 + 4 * 39_911_424 + 4 * 926_808),
        ("deepseek-v3.1", 673_150_552_416),
        ("gemma-3n-e4b", 13_670_471_136 + 2_029_485_248),
        # int4 experts with a bf16 scale per 32, a text model and a tower in bf16.
        ("kimi-k2.6", 1_014_686_023_680 // 32 * 18 + 2 * 11_722_185_728 + 2 * 471_143_920),
        ("palm-540b", None),
    ],
)
def test_bytes_of_a_checkpoint(model: str, expected: int | None) -> None:
    assert weights(model) == (expected, expected)


@pytest.mark.parametrize(
    ("model", "weight_dtype", "expected"),
    [
        ("llama-3-8b", "fp8", 8_030_261_248),
        ("llama-3-8b", "fp32", 8_030_261_248 * 4),
        ("llama-3-8b", "q4_0", 8_030_261_248 // 32 * 18),
        ("gpt-oss-120b", "bf16", 116_829_156_672 * 2),
        ("deepseek-v3", "bf16", 671_026_404_352 * 2),  # without the scales of fp8
        ("deepseek-v3", "fp8", 671_026_404_352),
        ("mimo-v2-flash", "bf16", 308_778_768_832 * 2),
        ("gemma-3n-e4b", "int8", 7_849_978_192),
    ],
)
def test_another_format_for_all_weights(model: str, weight_dtype: str, expected: int) -> None:
    answer = kvcalc.estimate(model, context=1, weight_dtype=weight_dtype)

    assert answer.memory.weights_bytes == expected
    assert answer.cache == kvcalc.estimate(model, context=1).cache
    assert any(weight_dtype in line and "weights" in line for line in answer.not_modelled)


@pytest.mark.parametrize(("parameters", "expected"), [(1, 17), (32, 17), (33, 34), (64, 34), (320_001, 170_017)])
def test_a_last_block_that_is_not_full_counts_whole(parameters: int, expected: int) -> None:
    model = kvcalc.Model(
        name="m", parameters=parameters, weight_dtype="mxfp4", layers=(LayerGroup(count=1, attention=TWO_HEADS),)
    )

    assert weights(model) == (expected, expected)


def test_the_weights_default_to_the_models_dtype() -> None:
    for dtype, expected in (("fp32", 40), ("fp8", 10), (None, 20)):
        model = kvcalc.Model(name="m", parameters=10, dtype=dtype, layers=(LayerGroup(count=1, attention=TWO_HEADS),))
        assert weights(model) == (expected, expected)


def test_a_format_with_a_scale_per_head_is_not_for_weights() -> None:
    with pytest.raises(kvcalc.KvcalcError, match="for caches, not for weights"):
        kvcalc.estimate("llama-3-8b", weight_dtype="int8_per_token_head")


def test_a_model_without_parameters_can_be_given_them() -> None:
    assert weights("palm-540b", parameters=540 * 10**9) == (1_080 * 10**9, 1_080 * 10**9)
    with pytest.raises(kvcalc.KvcalcError, match="--weights SIZE replaces them"):
        kvcalc.estimate("deepseek-v3", parameters=10)


# Ranks.


@pytest.mark.parametrize(
    ("model", "options", "replica", "rank"),
    [
        ("llama-3-8b", {"tp": 2}, 16_060_522_496, 8_030_261_248),
        ("gpt-oss-120b", {"tp": 8}, 65_248_815_744, 8_156_101_968),
        ("deepseek-v3", {"tp": 8}, 673_150_552_416, 84_143_819_052),
        # The towers are whole on every rank.
        ("gemma-3n-e4b", {"tp": 2}, 13_670_471_136 + 2 * 2_029_485_248, 6_835_235_568 + 2_029_485_248),
        ("gemma-3n-e4b", {"tp": 4}, 13_670_471_136 + 4 * 2_029_485_248, 3_417_617_784 + 2_029_485_248),
        ("gemma-3n-e4b", {"tp": 4, "weights": 10**10}, 10**10, 2_500_000_000),
        ("llama-3-8b", {"tp": 8, "weights": 10**9 + 1}, 10**9 + 1, 125_000_001),
        ("llama-3-8b", {"tp": 2, "pp": 4, "weights": 10**9 + 1}, 10**9 + 1, 125_000_001),
        ("llama-3-8b", {"tp": 2, "dp": 4, "weights": 10**9}, 10**9, 500_000_000),
        ("llama-3-8b", {"weights": "0B"}, 0, 0),
        ("palm-540b", {"tp": 8, "weights": "1TB"}, 10**12, 125_000_000_000),
    ],
)
def test_weights_over_ranks(model: str, options: dict[str, Any], replica: int, rank: int) -> None:
    assert weights(model, **options) == (replica, rank)


@pytest.mark.parametrize(
    ("model", "options", "expected"),
    [
        # Untied: (8,030,261,248 - 2 x 525,336,576) x 2 bytes / 32 layers = 436,224,256; a table is 1,050,673,152.
        ("llama-3-8b", {"pp": 2}, [16 * 436_224_256 + 1_050_673_152] * 2),
        ("llama-3-8b", {"pp": 2, "tp": 2}, [8 * 436_224_256 + 525_336_576] * 2),
        (
            "llama-3-8b",
            {"pp": 3},
            [11 * 436_224_256 + 1_050_673_152, 11 * 436_224_256, 10 * 436_224_256 + 1_050_673_152],
        ),
        ("llama-3-8b", {"pp": 2, "weight_dtype": "fp8"}, [16 * 218_112_128 + 525_336_576] * 2),
        # Tied: the table is on the first stage and, copied, on the last. 18 layers of 220,209,379 5/9 bytes.
        ("gemma-2b", {"pp": 2}, [1_981_884_416 + 1_048_576_000] * 2),
        ("gemma-2b", {"pp": 3}, [1_321_256_278 + 1_048_576_000, 1_321_256_278, 1_321_256_278 + 1_048_576_000]),
    ],
)
def test_a_checkpoint_of_one_format_over_stages(model: str, options: dict[str, Any], expected: list[int]) -> None:
    assert weights_of_stages(model, **options) == expected


def test_parts_over_stages_experts_over_the_layers_that_have_them() -> None:
    """DeepSeek-V3: 61 layers, the first 3 of them dense; stages of 31 and 30 layers."""
    of_61 = [15_156_838_400, 2 * 1_960_795_136, 4 * 926_808]
    of_58 = [653_908_770_816, 4 * 39_911_424]
    expected = [
        sum(-(-part * layers // (61 * 8)) for part in of_61) + sum(-(-part * moe // (58 * 8)) for part in of_58)
        for layers, moe in ((31, 28), (30, 30))
    ]

    assert weights_of_stages("deepseek-v3", tp=8, pp=2) == expected
    assert kvcalc.estimate("deepseek-v3", tp=8, pp=2, context=1).memory.per_rank.weights_bytes == expected[0]


def test_stages_of_dense_layers_have_no_experts() -> None:
    model = kvcalc.Model(
        name="m",
        first_k_dense=2,
        layers=(LayerGroup(count=4, attention=TWO_HEADS),),
        weights=(
            WeightPart(part="experts", parameters=1000, format="fp8", split="ep"),
            WeightPart(part="rest", parameters=400, format="fp8"),
            WeightPart(part="tower", parameters=7, format="bf16", split="all"),
        ),
    )

    assert weights_of_stages(model, pp=2) == [200 + 14, 200 + 1000 + 14]
    assert weights_of_stages(model, pp=4) == [114, 114, 614, 614]
    assert weights_of_stages(model, pp=4, tp=2) == [64, 64, 314, 314]
    assert weights_of_stages(model, tp=2) == [500 + 200 + 14]
    assert weights(model, pp=4, tp=2)[0] == 1400 + 8 * 14
    for all_have_experts in (None, 0):
        assert weights_of_stages(replace(model, first_k_dense=all_have_experts), pp=4) == [250 + 100 + 14] * 4


@pytest.mark.parametrize("missing", ["hidden_size", "vocab_size", "tie_word_embeddings"])
def test_without_the_dims_weights_are_even_over_stages(missing: str) -> None:
    dims: dict[str, Any] = {"hidden_size": 10, "vocab_size": 20, "tie_word_embeddings": False}
    layers = (LayerGroup(count=3, attention=TWO_HEADS),)

    complete = kvcalc.Model(name="m", parameters=1001, layers=layers, **dims)
    lacking = kvcalc.Model(name="m", parameters=1001, layers=layers, **{**dims, missing: None})
    # 601 parameters in layers, 200 in each table.
    assert weights_of_stages(complete, pp=3) == [401 + 400, 401, 401 + 400]
    assert weights_of_stages(lacking, pp=3) == [668, 668, 668]
    assert weights_of_stages(lacking, pp=3, tp=2) == [334, 334, 334]


def test_tables_larger_than_the_model_are_not_believed() -> None:
    model = kvcalc.Model(
        name="m",
        parameters=400,
        hidden_size=10,
        vocab_size=20,
        tie_word_embeddings=False,
        layers=(LayerGroup(count=2, attention=TWO_HEADS),),
    )

    assert weights_of_stages(model, pp=2) == [400, 400]


@st.composite
def deployed(draw: st.DrawFn) -> tuple[kvcalc.Model, int, int]:
    tp, pp = draw(st.sampled_from([1, 2, 3, 6, 12])), draw(st.integers(1, 9))
    hidden, vocab, tied = draw(st.integers(1, 500)), draw(st.integers(1, 500)), draw(st.sampled_from([False, None]))
    splits = st.sampled_from(["tp", "ep"])
    part = st.builds(
        WeightPart,
        part=st.text("abc", min_size=1),
        parameters=st.integers(1, 10**12),
        format=st.sampled_from(["bf16", "fp8", "mxfp4", "fp32"]),
        split=splits,
        scales=st.booleans(),
    )
    parts = draw(st.lists(part, max_size=4))
    model = kvcalc.Model(
        name="m",
        parameters=2 * hidden * vocab + draw(st.integers(1, 10**12)),
        hidden_size=hidden,
        vocab_size=vocab,
        tie_word_embeddings=tied,
        first_k_dense=draw(st.none() | st.integers(0, 12)),
        weight_dtype=draw(st.sampled_from([None, "fp8", "q8_0"])),
        weights=tuple(parts),
        layers=(LayerGroup(count=9, attention=GQA(num_heads=12, num_kv_heads=12, head_dim=1)),),
    )
    return model, tp, pp


@settings(max_examples=100, deadline=None)
@given(deployed())
def test_ranks_together_hold_the_checkpoint_and_less_than_a_few_bytes_a_rank_more(
    case: tuple[kvcalc.Model, int, int],
) -> None:
    model, tp, pp = case
    whole, _ = weights(model)
    assert whole is not None
    ranks = tp * sum(weights_of_stages(model, tp=tp, pp=pp))
    # Each rank rounds up each of its terms (at most 4), and tables of block formats round up theirs.
    assert whole <= ranks < whole + tp * pp * 4 + 3 * 34


@pytest.mark.parametrize("pp", [2, 3, 18])
def test_a_replica_counts_the_copied_table_of_tied_embeddings(pp: int) -> None:
    """What a replica is said to hold is what its ranks hold: the last stage has a table of its own."""
    replica, _ = weights("gemma-2b", pp=pp)
    assert replica is not None

    assert replica <= sum(weights_of_stages("gemma-2b", pp=pp)) < replica + pp * 4
