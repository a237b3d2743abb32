"""The bound of decoding: bytes read, operations and seconds by hand, and what people read of it."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from conftest import Kvcalc, texts
from decode_samples import BF16, FP8, H100, H200, accelerator, bound, small, with_experts
from each import for_each
from fuzzing import some

import kvcalc
from kvcalc.catalogue import model_names
from kvcalc.mechanisms import GQA, MHA, MLA, NoAttention, Shared
from kvcalc.model.layers import LayerGroup
from kvcalc.model.model import WeightPart

# By hand. Of an untied model a step reads all but the embedding, of which it looks up rows.


def test_llama_3_70b_on_four_gpus() -> None:
    """70,553,706,496 parameters without a table of 128,256 x 8,192; 32 x 8,192 tokens; 64 query heads of 128."""
    read = 70_553_706_496 - 128_256 * 8_192
    weights = 2 * read // 4
    cache = 2 * 80 * 32 * 8_192 * 2 * 128 * 2
    operations = 2 * 32 * read // 4 + 2 * 80 * 32 * 8_192 * 64 * 2 * 128 // 4
    found = bound("llama-3-70b", tp=4, batch=32, context=8192)

    assert (weights, cache) == (34_751_516_672, 21_474_836_480)
    assert (found.weights_read_bytes, found.cache_read_bytes) == (weights, cache)
    assert found.read_bytes == 56_226_353_152
    assert found.operations == operations
    assert found.memory_seconds == found.seconds_per_token == 56_226_353_152 / H100
    assert found.compute_seconds == operations / BF16
    assert found.tokens_per_second_per_sequence == H100 / 56_226_353_152
    assert found.tokens_per_second == 32 * H100 / 56_226_353_152
    assert (found.deployment, found.limited_by, found.spill) == (kvcalc.Deployment(tp=4), "memory", None)


def test_deepseek_v3_reads_8_of_256_experts() -> None:
    experts = 653_908_770_816 * 8 // 256
    others = 14_233_370_624 + 2 * 926_679_040
    scales = 4 * 39_911_424 * 8 // 256 + 4 * 868_736
    copies = 923_467_776 + 2 * 107_437_056 + 4 * 58_072  # on every rank
    found = bound("deepseek-v3", tp=8, context=8192, gpu="h200")

    assert found.weights_read_bytes == (experts + others + scales) // 8 + copies
    assert found.cache_read_bytes == 575_668_224
    assert found.memory_seconds == ((experts + others + scales) // 8 + copies + 575_668_224) / H200
    # 64 sequences may use as few experts as one does, and read as much of them.
    many = bound("deepseek-v3", tp=8, context=8192, gpu="h200", batch=64)
    assert many.weights_read_bytes == found.weights_read_bytes
    assert many.cache_read_bytes == 64 * 575_668_224


@pytest.mark.parametrize("options", [{"tp": 8, "ep": 8}, {"tp": 8, "ep": 2}])
def test_where_experts_are_does_not_change_the_bound(options: dict[str, Any]) -> None:
    found = bound("deepseek-v3", context=8192, **options)
    assert found.deployment == kvcalc.Deployment(**options)
    assert replace(found, deployment=kvcalc.Deployment(tp=8)) == bound("deepseek-v3", context=8192, tp=8)


def test_a_mixture_of_experts_of_one_format() -> None:
    """Qwen3-235B-A22B uses 8 of 128 experts, so what it uses is its active parameters without the embedding."""
    read = 22_190_763_520 - 151_936 * 4_096

    assert bound("qwen3-235b-a22b", context=1, tp=1).weights_read_bytes == 2 * read
    norms = 94 * (2 * 4_096 + 2 * 128) + 4_096
    left = 151_936 * 4_096 + 94 * 128 * 4_096 + norms  # the output head, the routers and the norms, in bf16
    assert bound("qwen3-235b-a22b", context=1, tp=1, weight_dtype="fp8").weights_read_bytes == read + left


@pytest.mark.parametrize(
    ("model", "read"),
    [
        ("gemma-2b", 2 * 2_506_172_416),  # tied: the table is read once, as the output head
        ("llama-3-8b", 2 * (8_030_261_248 - 128_256 * 4_096)),
        # Neither the per-layer embeddings nor the towers; the tied table is.
        ("gemma-3n-e4b", 2 * (537_395_200 + 3_949_030_128)),
        ("gpt-oss-120b", 114_661_785_600 // 32 * 17 * 4 // 128 + 2 * (579_133_440 + 1_009_104_192)),
        ("kimi-k2.6", 1_014_686_023_680 // 32 * 18 * 8 // 384 + 2 * (1_174_405_120 + 9_373_375_488)),
    ],
)
def test_what_a_step_reads_of_the_weights(model: str, read: int) -> None:
    assert bound(model, context=1, tp=1).weights_read_bytes == read


def test_another_format_for_all_weights_is_read_without_scales() -> None:
    read = 653_908_770_816 * 8 // 256 + 15_156_838_400 + 926_679_040 + 107_437_056
    found = bound("deepseek-v3", context=1, tp=1, weight_dtype="bf16")

    assert found.weights_read_bytes == 2 * read
    assert found.operations == 2 * read + 2 * 61 * 128 * (2 * 512 + 64)


def test_only_formats_with_a_known_rate_are_computed() -> None:
    """The experts of gpt-oss are mxfp4, of which no rate is known; the rest and attention are bf16."""
    attention = 2 * (18 * 8192 + 18 * 128) * 64 * 2 * 64
    rest = 2 * (579_133_440 + 1_009_104_192)
    found = bound("gpt-oss-120b", context=8192, tp=1)

    assert found.operations == rest + attention
    assert found.compute_seconds == (rest + attention) / BF16
    assert bound("gpt-oss-120b", context=8192, tp=1, cache_dtype="int8").operations == rest
    assert bound("gpt-oss-120b", context=8192, tp=1, cache_dtype="k=fp8,v=bf16").operations == rest
    fp8 = bound("gpt-oss-120b", context=8192, tp=1, cache_dtype="fp8")
    assert fp8.operations == rest + attention
    assert fp8.compute_seconds == pytest.approx(rest / BF16 + attention / FP8, rel=1e-14)
    assert bound("gpt-oss-120b", context=8192, tp=1, gpu="a100-80gb", cache_dtype="fp8").operations == rest


def test_a_group_with_a_format_of_its_own_computes_in_it() -> None:
    attention = MHA(num_heads=2, head_dim=16)
    model = kvcalc.Model(
        name="m",
        weights=(WeightPart(part="table", parameters=8, format="mxfp4", place="embedding"),),
        layers=(
            LayerGroup(count=3, attention=attention, cache_dtype="fp8"),
            LayerGroup(count=1, attention=attention, cache_dtype="mxfp8"),
            LayerGroup(count=5, attention=attention),
            LayerGroup(count=7, attention=Shared()),
        ),
    )
    found = bound(model, context=10, batch=2)

    assert found.operations == 2 * 2 * 10 * (3 + 5) * 2 * 32
    assert found.compute_seconds == pytest.approx(2 * 2 * 10 * 64 * (3 / FP8 + 5 / BF16), rel=1e-14)
    assert (found.weights_read_bytes, found.cache_read_bytes) == (0, 20 * (3 * 64 + 66 + 5 * 128))


@pytest.mark.parametrize(
    ("attention", "multiply_adds"),
    [
        (MHA(num_heads=6, head_dim=10), 6 * 20),
        (MHA(num_heads=6, head_dim=10, v_head_dim=7), 6 * 17),
        (GQA(num_heads=6, num_kv_heads=2, head_dim=10), 6 * 20),
        (GQA(num_heads=6, num_kv_heads=2, head_dim=10, v_head_dim=7), 6 * 17),
        # Every head scores the latent and the rotary key, and sums the latent.
        (MLA(num_heads=6, kv_lora_rank=20, qk_rope_head_dim=3, qk_nope_head_dim=5, v_head_dim=7), 6 * (20 + 3 + 20)),
    ],
)
def test_operations_of_attention(attention: Any, multiply_adds: int) -> None:
    model = replace(small(), layers=(LayerGroup(count=4, attention=attention),))

    assert bound(model, context=50, batch=3).operations == 2 * 3 * 1000 + 2 * 4 * 3 * 50 * multiply_adds
    assert bound(model, context=50, batch=3, tp=2).operations == 3 * 1000 + 4 * 3 * 50 * multiply_adds


@pytest.mark.parametrize("attention", [NoAttention(), Shared()])
def test_layers_without_a_cache_of_their_own_read_and_compute_their_weights(attention: Any) -> None:
    found = bound(replace(small(), layers=(LayerGroup(count=4, attention=attention),)), context=50, batch=3)

    assert (found.read_bytes, found.cache_read_bytes, found.operations) == (1000, 0, 2 * 3 * 1000)


# No bound.

APART = (
    "what a step reads of the weights is not known: the model's file does not tell embedding, experts and towers apart"
)
GIVEN = "--weights gives a size, and not what a step reads of it: the embedding and the experts are not told apart"


def of_dims(**dims: Any) -> kvcalc.Model:
    complete: dict[str, Any] = {
        "parameters": 10**6,
        "hidden_size": 10,
        "vocab_size": 20,
        "tie_word_embeddings": False,
        "num_experts": 8,
        "num_experts_per_tok": 2,
        "moe_intermediate_size": 5,
    }
    return kvcalc.Model(
        name="m",
        layers=(LayerGroup(count=4, attention=MHA(num_heads=2, head_dim=8)),),
        **{**complete, **dims},
    )


@pytest.mark.parametrize(
    ("model", "options", "missing"),
    [
        ("llama-3-8b", {"gpu": accelerator(memory_bandwidth_gb_per_s=None)}, "no memory bandwidth is known for slow"),
        ("llama-3-8b", {"weights": "16GB"}, GIVEN),
        ("gemma-2b", {"weights": "5GB"}, GIVEN),
        ("deepseek-v3", {"weights": "700GB"}, GIVEN),
        (of_dims(hidden_size=None), {}, APART),
        (of_dims(vocab_size=None), {}, APART),
        (of_dims(tie_word_embeddings=None), {}, APART),
        (of_dims(moe_intermediate_size=None), {}, APART),
        (of_dims(num_experts_per_tok=None), {}, APART),
        (of_dims(active_parameters=999), {}, APART),
        (with_experts(num_experts_per_tok=None), {}, APART),
        (with_experts(num_experts=None), {}, APART),
        (small(num_experts=8, num_experts_per_tok=2), {}, APART),  # experts, but no part that they are
        (
            replace(small(), weights=(WeightPart(part="all", parameters=1000, format="bf16"),)),
            {},
            APART,
        ),
        (
            replace(small(), weights=small().weights[:1], layers=(LayerGroup(count=1, attention=NoAttention()),)),
            {},
            "a step reads nothing",
        ),
    ],
)
def test_where_there_is_no_bound_that_is_said(model: kvcalc.Model | str, options: dict[str, Any], missing: str) -> None:
    answer = kvcalc.estimate(model, context=1, **options)

    assert answer.decode is None
    assert [note for note in texts(answer.notes) if "bound" in note] == [f"no bound of decoding: {missing}"]


def test_what_does_not_hold_the_workload_has_no_bound() -> None:
    """32 x 8,192 tokens need 4 GPUs; a deployment that is tight holds them."""
    options: dict[str, Any] = {"batch": 32, "context": 8192, "tp": 2}
    answer = kvcalc.estimate("llama-3-70b", **options)
    tight = kvcalc.estimate("llama-3-70b", context=8192, tp=2)

    assert answer.decode is None
    (note,) = [note for note in texts(answer.notes) if "bound" in note]
    assert note.startswith("no bound of decoding: tp 2 does not hold the workload (--spill ")
    assert kvcalc.estimate("llama-3-70b", spill=True, **options).decode is not None
    assert (tight.gpus.tight, tight.decode is not None) == (True, True)


def test_unknown_weights_are_said_to_be_unknown_once() -> None:
    answer = kvcalc.estimate("palm-540b", context=1)

    assert answer.decode is None
    assert not any("bound of decoding" in note for note in texts(answer.notes))


@for_each("model", some(name for name in model_names() if kvcalc.load_model(name).parameters))
def test_every_model_of_the_catalogue_has_a_bound(model: str) -> None:
    answer = kvcalc.estimate(model, context=500, tp=1, gpu_memory="100TB")  # layers that choose take 512 at least
    if model == "longcat-flash":  # of its 12 chosen experts some have no weights, how many differs
        assert answer.decode is None
        assert any("no bound of decoding" in note for note in texts(answer.notes))
        return
    assert answer.decode is not None
    assert answer.memory.weights_bytes is not None

    assert 0 < answer.decode.weights_read_bytes <= answer.memory.weights_bytes
    assert answer.decode.cache_read_bytes == answer.cache.bytes


@pytest.mark.parametrize(("context", "positions"), [(100, 100), (2048, 2048), (2049, 2048), (131_072, 2048)])
def test_a_sparse_layer_reads_the_positions_that_are_chosen_and_every_index(context: int, positions: int) -> None:
    answer = kvcalc.estimate("deepseek-v3.2", context=context, batch=3, tp=8, gpu="h200", gpu_memory="10TB")
    assert answer.decode is not None
    assert answer.decode.cache_read_bytes == 3 * 61 * (positions * 1152 + context * 132)
    assert answer.cache.bytes_per_rank == 3 * 61 * context * 1284
    attention = [term for term in answer.decode.terms.parts[2].parts if term.path.startswith("attention of")]  # type: ignore[union-attr]  # a sum
    assert [term.bytes for term in attention] == [-(-2 * 61 * 3 * positions * 128 * (1024 + 64) // 8)]


def test_what_a_state_computes_is_counted_whatever_the_context() -> None:
    short, long = (kvcalc.estimate("qwen3-next-80b-a3b", context=each, tp=4).decode for each in (1000, 2000))
    assert short is not None
    assert long is not None
    grown = 2 * 12 * 1000 * 16 * 512 // 4
    assert long.operations - short.operations == grown
    states = [term.bytes for term in long.terms.parts[2].parts if "gated_deltanet" in term.path]  # type: ignore[union-attr]  # a sum
    assert states == [2 * 36 * 3 * 32 * 128 * 128 // 4]


# On the command line.


@pytest.mark.parametrize(
    ("words", "figures", "why"),
    [
        (
            "llama-3-70b --tp 4 -b 32 -c 8192",
            "at least 16.8 ms a token, at most 59.6 tokens/s each, 1,907 in all",
            "memory bandwidth",
        ),
        (
            "llama-3-70b --tp 4 --pp 2 -c 8192",
            "at least 10.6 ms a token, at most 94.6 tokens/s each, 94.6 in all",
            "memory bandwidth, in the slowest of 2 stages",
        ),
        (
            "deepseek-v3 --dp 8 --dp-attention --ep 8 -b 1024 -c 8192 --gpu h200 --gpu-memory 1TB",
            "at least 22.9 ms a token, at most 43.7 tokens/s each, 44,763 in all",
            "compute",
        ),
        (
            "llama-3-70b --tp 2 -b 32 -c 8192 --spill",
            "at least 597 ms a token, at most 1.68 tokens/s each, 53.6 in all",
            "the host link",
        ),
    ],
)
def test_the_line_that_people_read(kvcalc: Kvcalc, words: str, figures: str, why: str) -> None:
    run = kvcalc("estimate", *words.split())
    lines = [line for line in run.stdout.splitlines() if line.startswith("decoding")]

    assert lines == [f"decoding: {figures} (a bound, by {why})"]


def test_json_holds_the_bound(kvcalc: Kvcalc) -> None:
    words = "estimate llama-3-70b --tp 4 --batch 32 --context 8192 --json"
    printed = json.loads(kvcalc(*words.split()).stdout)["decode"]

    assert printed["read_bytes"] == 56_226_353_152
    assert printed["seconds_per_token"] == 56_226_353_152 / H100
    assert printed["limited_by"] == "memory"
    assert printed["spill"] is None


def test_json_without_a_bound_is_null(kvcalc: Kvcalc) -> None:
    words = ("estimate", "llama-3-8b", "--weights", "16GB")
    printed = json.loads(kvcalc(*words, "--json").stdout)

    assert printed["decode"] is None
    assert f"no bound of decoding: {GIVEN}" in texts(printed["notes"])
    table = kvcalc(*words)
    assert f"note: no bound of decoding: {GIVEN}\n" in table.stderr
    assert "decoding" not in table.stdout


def test_json_holds_what_is_spilled(kvcalc: Kvcalc) -> None:
    words = "estimate llama-3-70b --tp 2 --batch 32 --context 8192 --spill --json"
    spill = json.loads(kvcalc(*words.split()).stdout)["decode"]["spill"]

    assert set(spill) == {"room_bytes", "spilled_bytes_per_rank", "spilled_bytes", "link_seconds"}
    assert spill["room_bytes"] + spill["spilled_bytes_per_rank"] == 40 * 2**30


def test_the_bound_is_explained(kvcalc: Kvcalc) -> None:
    text = kvcalc("estimate", "llama-3-70b", "--tp", "4", "--batch", "32", "-c", "8192", "--explain").stdout

    assert "34,751,516,672" in text
    assert "21,474,836,480" in text
    assert "memory seconds" in text
    assert "0.0168" in text
