"""Weights: of a checkpoint, of a replica and of a rank, by hand."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from conftest import texts
from weight_sums import TWO_HEADS, listed, weights, weights_of_stages

import kvcalc
from kvcalc.mechanisms import GQA, MHA
from kvcalc.model.layers import LayerGroup
from kvcalc.model.model import WeightPart


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
        ("llama-3-8b", "fp32", 8_030_261_248 * 4),
        ("llama-3-8b", "q4_0", 7_504_924_672 // 32 * 18 + 525_336_576 // 256 * 210),  # its head in q6_k
        ("gpt-oss-120b", "bf16", 116_829_156_672 * 2),
        ("deepseek-v3", "bf16", 671_026_404_352 * 2),  # without the scales of fp8
        ("mimo-v2-flash", "bf16", 308_778_768_832 * 2),
    ],
)
def test_another_format_for_all_weights(model: str, weight_dtype: str, expected: int) -> None:
    answer = kvcalc.estimate(model, context=1, weight_dtype=weight_dtype)

    assert answer.memory.weights_bytes == expected
    assert answer.cache == kvcalc.estimate(model, context=1).cache
    assert any(weight_dtype in line and "weights" in line for line in texts(answer.not_modelled))


TABLES_OF_LLAMA = 2 * 128_256 * 4_096
NORMS_OF_LLAMA = (2 * 32 + 1) * 4_096
LEFT_OF_LLAMA = TABLES_OF_LLAMA + NORMS_OF_LLAMA


@pytest.mark.parametrize(
    ("model", "weight_dtype", "expected"),
    [
        ("llama-3-8b", "fp8", 8_030_261_248 + LEFT_OF_LLAMA),
        ("llama-3-8b", "nvfp4", (8_030_261_248 - LEFT_OF_LLAMA) // 16 * 9 + 2 * LEFT_OF_LLAMA),
        ("gemma-2b", "fp8", 2_506_172_416 + 256_000 * 2_048 + (2 * 18 + 1) * 2_048),  # one table, norms
        # Experts and the rest of the layers; tables, a router in each of 94 layers, and norms.
        (
            "qwen3-235b-a22b",
            "fp8",
            235_093_634_560 + (2 * 151_936 + 94 * 128 + 94 * 2 + 1) * 4_096 + 94 * 2 * 128,
        ),
        # A list of a quantised checkpoint says what stays: tables, routers and norms; scales are no longer needed.
        ("deepseek-v3", "fp8", 671_026_404_352 + 1_960_795_136),
        ("gpt-oss-120b", "nvfp4", 114_661_785_600 // 16 * 9 + 2 * (116_829_156_672 - 114_661_785_600)),
        ("mimo-v2-flash", "fp8", 308_778_768_832 + 1_610_612_736 + 2 * 624_951_296 + 49_680_384 + 2_496),
        # One that is not: all but what divides of layers.
        (
            "gemma-3n-e4b",
            "int8",
            3_912_329_968 + 31_461_120 + 2 * (36_700_160 + 537_395_200 + 2_348_810_240 + 983_281_504),
        ),
    ],
)
def test_a_quantised_format_leaves_what_checkpoints_leave(model: str, weight_dtype: str, expected: int) -> None:
    answer = kvcalc.estimate(model, context=1, weight_dtype=weight_dtype)
    (told,) = [each for each in answer.notes if each.code == "weights-left-in-dtype"]

    assert answer.memory.weights_bytes == expected
    assert answer.cache == kvcalc.estimate(model, context=1).cache
    assert f"weights in {weight_dtype}: " in told.text
    assert "--weights SIZE" in told.text


QWEN_7B = kvcalc.Model(
    name="Qwen2.5-7B",
    hidden_size=3584,
    vocab_size=152_064,
    tie_word_embeddings=False,
    parameters=7_615_616_512,
    layers=(LayerGroup(count=28, attention=GQA(num_heads=28, num_kv_heads=4, head_dim=128)),),
)


@pytest.mark.parametrize(
    ("model", "weight_dtype", "printed"),
    [
        # vLLM 0.10.2, Qwen3-8B-FP8: public file found by exact-string search, stored file id 34681159919.
        ("qwen3-8b", "fp8", 8.80),
        # vLLM 0.19.0 on H100, llm-d-incubation/llm-d-planner refs/pull/205/head, results_raw.csv at 56dc5b7:
        # RedHatAI/Qwen2.5-7B-Instruct-fp8-dynamic; and Llama-3.1-8B, of Llama-3-8B's size, with --quantization fp8.
        (QWEN_7B, "fp8", 8.14),
        ("llama-3-8b", "fp8", 8.49),
        # vLLM 0.6.5, Phi-4 in GPTQ: stored file 58603845735.
        ("phi-4", "gptq", 8.51),
        # vLLM 0.7, in AWQ: vllm-project/vllm#13882.
        (QWEN_7B, "awq", 5.2032),
    ],
)
def test_what_servers_print_of_quantised_checkpoints(
    model: str | kvcalc.Model, weight_dtype: str, printed: float
) -> None:
    """In GiB, within 0.6 %: tables that kernels need and the allocator's rounding are not the checkpoint's."""
    _, rank = weights(model, weight_dtype=weight_dtype)
    assert rank is not None

    assert printed * 0.994 < rank / 2**30 < printed * 1.001


def test_a_model_that_does_not_tell_its_tables_is_counted_whole() -> None:
    layers = (LayerGroup(count=1, attention=TWO_HEADS),)
    answer = kvcalc.estimate(kvcalc.Model(name="m", parameters=1000, layers=layers), context=1, weight_dtype="fp8")
    (told,) = [each for each in answer.notes if each.code == "weights-left-in-dtype"]

    assert answer.memory.weights_bytes == 1000
    assert told.data["left"] == ()
    assert "weights in fp8: all of them" in told.text


@pytest.mark.parametrize("weight_dtype", ["bf16", "fp32", "q4_k", "q8_0", "iq4_nl"])
def test_formats_for_all_weights_leave_nothing(weight_dtype: str) -> None:
    notes = kvcalc.estimate("llama-3-8b", context=1, weight_dtype=weight_dtype).notes
    assert [each for each in notes if each.code == "weights-left-in-dtype"] == []


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


DEEPSEEK_COPIES = 923_467_776 + 2 * 107_437_056 + 4 * 58_072
"""Latent down-projections in fp8, routers and norms in bf16, and scales: bytes of DeepSeek-V3 that every rank holds."""


@pytest.mark.parametrize(
    ("model", "options", "replica", "rank"),
    [
        ("llama-3-8b", {"tp": 2}, 16_060_522_496, 8_030_261_248),
        # Routers, norms and the bias of outputs are whole on every rank: 13,589,568 parameters in bf16.
        ("gpt-oss-120b", {"tp": 8}, 65_248_815_744 + 7 * 27_179_136, (65_248_815_744 - 27_179_136) // 8 + 27_179_136),
        (
            "deepseek-v3",
            {"tp": 8},
            673_150_552_416 + 7 * DEEPSEEK_COPIES,
            (673_150_552_416 - DEEPSEEK_COPIES) // 8 + DEEPSEEK_COPIES,
        ),
        # The towers are whole on every rank, and so are 35 layers' gates and projections, 2 x 2,048 x 256 in bf16.
        (
            "gemma-3n-e4b",
            {"tp": 2},
            13_733_393_376 + 73_400_320 + 2 * 1_966_563_008,
            (13_733_393_376 - 73_400_320) // 2 + 73_400_320 + 1_966_563_008,
        ),
        # 2 KV heads on 4 ranks: 20 layers of 2 x 2,048 x 512 are there twice, so that a rank has half of them.
        (
            "gemma-3n-e4b",
            {"tp": 4},
            13_733_393_376 + 3 * 73_400_320 + 83_886_080 + 4 * 1_966_563_008,
            (13_733_393_376 - 73_400_320) // 4 + 73_400_320 + 83_886_080 // 4 + 1_966_563_008,
        ),
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
        ("llama-3-8b", {"pp": 2, "weight_dtype": "fp8"}, [16 * 218_112_128 + 1_050_673_152 + NORMS_OF_LLAMA // 2] * 2),
        # Tied: the table is on the first stage and, copied, on the last. 18 layers of 220,209,379 5/9 bytes.
        ("gemma-2b", {"pp": 2}, [1_981_884_416 + 1_048_576_000] * 2),
        ("gemma-2b", {"pp": 3}, [1_321_256_278 + 1_048_576_000, 1_321_256_278, 1_321_256_278 + 1_048_576_000]),
    ],
)
def test_a_checkpoint_of_one_format_over_stages(model: str, options: dict[str, Any], expected: list[int]) -> None:
    assert weights_of_stages(model, **options) == expected


def test_parts_over_stages_experts_over_the_layers_that_have_them() -> None:
    """DeepSeek-V3: 61 layers, the first 3 of them dense; stages of 31 and 30 layers, a table at either end."""
    of_61 = [14_233_370_624, 4 * 868_736]
    whole = [923_467_776, 2 * 107_437_056, 4 * 58_072]
    of_58 = [653_908_770_816, 4 * 39_911_424]
    table = 2 * 129_280 * 7_168 // 8
    expected = [
        table
        + sum(-(-part * layers // (61 * 8)) for part in of_61)
        + sum(-(-part * layers // 61) for part in whole)
        + sum(-(-part * moe // (58 * 8)) for part in of_58)
        for layers, moe in ((31, 28), (30, 30))
    ]

    assert weights_of_stages("deepseek-v3", tp=8, pp=2) == expected
    assert kvcalc.estimate("deepseek-v3", tp=8, pp=2, context=1).memory.per_rank.weights_bytes == expected[0]


@pytest.mark.parametrize("options", [{}, {"tp": 4}, {"tp": 4, "ep": 4}])
def test_a_mixture_of_experts_of_one_format_over_stages(options: dict[str, Any]) -> None:
    """Qwen3-235B-A22B: 94 layers, all with 128 experts of 3 x 4,096 x 1,536; untied tables of 151,936 x 4,096."""
    tp = options.get("tp", 1)
    experts = 94 * 128 * 3 * 4096 * 1536
    table = 151_936 * 4096
    routers = 94 * 128 * 4096 if tp > 1 else 0  # whole on every rank; the 4 KV heads divide
    rest = 235_093_634_560 - experts - 2 * table - routers
    expected = [
        2 * table * at_end // tp
        + -(-2 * experts * layers // (94 * tp))
        + -(-2 * rest * layers // (94 * tp))
        + -(-2 * routers * layers // 94)
        for layers, at_end in ((32, 1), (31, 0), (31, 1))
    ]

    assert weights_of_stages("qwen3-235b-a22b", pp=3, **options) == expected


def test_experts_of_one_format_are_on_the_layers_that_have_them() -> None:
    """4 layers, of which the last 2 have 8 experts of 3 x 10 x 5: 2,400 parameters; a table of 200, 1,000 others."""
    model = kvcalc.Model(
        name="m",
        parameters=2400 + 200 + 1000,
        hidden_size=10,
        vocab_size=20,
        tie_word_embeddings=True,
        num_experts=8,
        moe_intermediate_size=5,
        first_k_dense=2,
        weight_dtype="fp8",
        layers=(LayerGroup(count=4, attention=TWO_HEADS),),
    )

    assert weights_of_stages(model, pp=2) == [200 + 500, 500 + 2400 + 200]
    assert weights_of_stages(model, pp=3) == [200 + 500, 250 + 1200, 250 + 1200 + 200]
    # Two ranks copy the routers, 2 x 8 x 10, and divide 840.
    assert weights_of_stages(model, pp=4, tp=2) == [100 + 145, 145, 145 + 600, 145 + 600 + 100]
    assert weights_of_stages(model, pp=2, tp=2, dp=2, ep=4, dp_attention=True) == [100 + 290, 290 + 600 + 100]
    # 8 experts over 3 groups: the fullest has 3.
    assert weights_of_stages(model, pp=2, dp=3, ep=3, dp_attention=True) == [200 + 500, 500 + 900 + 200]


def test_experts_that_ranks_do_not_divide_are_told_apart_on_one_stage_too() -> None:
    """10 experts of 3 x 10 x 5 in each of 2 layers, over 4 ranks: the fullest has 3 of them. Routers are 200."""
    model = kvcalc.Model(
        name="m",
        parameters=3000 + 200 + 1000,
        hidden_size=10,
        vocab_size=20,
        tie_word_embeddings=True,
        num_experts=10,
        moe_intermediate_size=5,
        weight_dtype="fp8",
        layers=(LayerGroup(count=2, attention=MHA(num_heads=4, head_dim=1)),),
    )

    assert weights_of_stages(model, tp=4, ep=4) == [900 + 50 + 800 // 4 + 200]
    assert weights_of_stages(model, tp=4, ep=2) == [4000 // 4 + 200]
    assert weights_of_stages(model, tp=4) == [4000 // 4 + 200]
    words = "experts are on the layers that have them"
    assert any(words in note for note in texts(kvcalc.estimate(model, context=1, tp=4, ep=4).notes))
    assert not any(words in note for note in texts(kvcalc.estimate(model, context=1, tp=4, ep=2).notes))


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({"active_parameters": 3600 - 6 * 300}, [200 + 500, 500 + 2400 + 200]),  # 2 of 8 experts are used
        # What the dims and the active parameters tell of the experts does not agree, so neither is believed.
        ({"active_parameters": 3600 - 6 * 300 + 1}, [1800, 1800]),
        ({"moe_intermediate_size": None}, [1800, 1800]),
        ({"hidden_size": None}, [1800, 1800]),
    ],
)
def test_dims_that_do_not_tell_the_experts_are_not_believed(changed: dict[str, Any], expected: list[int]) -> None:
    dims: dict[str, Any] = {
        "parameters": 3600,
        "hidden_size": 10,
        "vocab_size": 20,
        "tie_word_embeddings": True,
        "num_experts": 8,
        "num_experts_per_tok": 2,
        "moe_intermediate_size": 5,
        "first_k_dense": 2,
    }
    layers = (LayerGroup(count=4, attention=TWO_HEADS),)
    model = kvcalc.Model(name="m", weight_dtype="fp8", layers=layers, **{**dims, **changed})

    assert weights_of_stages(model, pp=2) == expected


def test_a_listed_table_that_is_tied_is_copied_to_the_last_stage() -> None:
    """Gemma-3n-E4B: 35 layers; the embedding is the output head too, the per-layer embeddings are not."""
    table, per_layer, towers = 262_400 * 2048, 2_348_810_240, 983_281_504
    rest = 3_912_329_968, 31_461_120, 36_700_160
    whole = rest[-1]  # of a layer's gates and projections, which no quantised checkpoint known has quantised
    first = 2 * (table + per_layer + towers) + sum(-(-2 * part * 18 // 35) for part in rest)
    last = 2 * (table + towers) + sum(-(-2 * part * 17 // 35) for part in rest)

    assert weights_of_stages("gemma-3n-e4b", pp=2) == [first, last]
    assert weights("gemma-3n-e4b", pp=2)[0] == 2 * (2 * table + per_layer + sum(rest) + 2 * towers)
    assert weights_of_stages("gemma-3n-e4b") == [2 * (table + per_layer + sum(rest) + towers)]
    assert weights_of_stages("gemma-3n-e4b", pp=2, weight_dtype="int8") == [
        2 * (table + per_layer + towers) + sum(-(-part * 18 // 35) for part in (*rest, whole)),
        2 * (table + towers) + sum(-(-part * 17 // 35) for part in (*rest, whole)),
    ]


def test_a_list_without_places_goes_by_layers() -> None:
    """All of it evenly over the layers, a head that is tied too: nothing says where it is."""
    model = listed(
        WeightPart(part="all", parameters=300, format="bf16"),
        WeightPart(part="scales", parameters=3, format="fp32", scales=True),
        tie_word_embeddings=True,
        vocab_size=10,
        hidden_size=2,
    )

    assert weights_of_stages(model, pp=2) == [408, 204]
    assert weights_of_stages(model, pp=2, tp=2) == [204, 102]
    assert weights(model, pp=2)[0] == 612
    (note,) = [
        note for note in texts(kvcalc.estimate(model, context=1, pp=2).notes) if note.startswith("weights of a rank")
    ]
    assert note == "weights of a rank: each part evenly over the layers, experts over those that have them"


def test_a_list_with_places() -> None:
    """Two tables at the front, of which the first is tied; a head at the end; the rest over 3 layers."""
    parts = (
        WeightPart(part="table", parameters=50, format="bf16", place="embedding"),
        WeightPart(part="positions", parameters=7, format="bf16", place="embedding"),
        WeightPart(part="layers", parameters=300, format="fp8"),
    )
    head = WeightPart(part="head", parameters=40, format="fp32", place="head")

    assert weights_of_stages(listed(*parts, head, tie_word_embeddings=False), pp=3) == [214, 100, 260]
    assert weights_of_stages(listed(*parts, head, tie_word_embeddings=False), pp=3, tp=2) == [107, 50, 130]
    assert weights_of_stages(listed(*parts, tie_word_embeddings=True), pp=3) == [214, 100, 200]
    assert weights_of_stages(listed(*parts, tie_word_embeddings=True)) == [414]
    assert weights_of_stages(listed(*parts, tie_word_embeddings=None), pp=3) == [214, 100, 100]


@pytest.mark.parametrize("place", ["embedding", "head"])
@pytest.mark.parametrize("split", ["ep", "all"])
def test_only_layers_are_split_otherwise(place: Any, split: Any) -> None:
    with pytest.raises(ValueError, match=f"place: {place} goes with split tp, not {split}"):
        WeightPart(part="x", parameters=1, format="bf16", place=place, split=split)


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


@pytest.mark.parametrize("parameters", [300, 399, 400])
def test_tables_larger_than_the_model_are_not_believed(parameters: int) -> None:
    model = kvcalc.Model(
        name="m",
        parameters=parameters,
        hidden_size=10,
        vocab_size=20,
        tie_word_embeddings=False,
        layers=(LayerGroup(count=3, attention=TWO_HEADS),),
    )

    assert weights_of_stages(model, pp=3) == [-(-2 * parameters // 3)] * 3
    assert kvcalc.estimate(model, context=1).decode is None
