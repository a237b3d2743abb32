"""An estimate as a whole: what it repeats of the question, its notes, and what it says it leaves out."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import pytest
from conftest import texts
from each import for_each
from fuzzing import some

import kvcalc
from kvcalc.catalogue import model_names
from kvcalc.mechanisms import MHA, NoAttention
from kvcalc.model.ad_hoc import AdHoc
from kvcalc.model.layers import LayerGroup


def the_note(words: str, *args: Any, **options: Any) -> str:
    """The only note that has these words."""
    notes = [note for note in texts(kvcalc.estimate(*args, **options).notes) if words in note]
    assert len(notes) == 1, notes
    return notes[0]


def has_note(words: str, *args: Any, **options: Any) -> bool:
    return any(words in note for note in texts(kvcalc.estimate(*args, **options).notes))


def test_the_question_is_repeated() -> None:
    answer = kvcalc.estimate("gemma-3n-e4b", batch="1Ki", context="1e4", tp=2, pp=3, dp=4)

    assert asdict(answer.model) | {"source": None} == {
        "name": "gemma-3n-e4b",
        "layers": 35,
        "mechanisms": ("gqa", "shared"),
        "source": None,
    }
    assert answer.model.source == kvcalc.load_model("gemma-3n-e4b").source
    assert (answer.workload.batch, answer.workload.context) == (1024, 10_000)
    assert answer.deployment == kvcalc.Deployment(tp=2, pp=3, dp=4)
    sizes = {"tp": 2, "pp": 3, "dp": 4, "ep": 1, "dcp": 1, "dp_attention": False}
    assert answer.to_dict()["deployment"] == {"engine": "exact", "engine_version": None, **sizes}


def test_no_deployment_is_one_rank() -> None:
    answer = kvcalc.estimate("llama-3-70b")

    assert answer.deployment == kvcalc.Deployment()
    assert answer.cache.bytes == answer.cache.bytes_per_rank
    assert answer.memory.total_bytes == answer.memory.per_rank.total_bytes == answer.gpus.unsplit_bytes
    assert (answer.gpus.fits, answer.gpus.tight) == (False, False)
    assert answer.gpus.count == 2


def test_by_memory_is_of_one_rank_whatever_is_asked() -> None:
    alone, split = kvcalc.estimate("llama-3-70b", context=8192), kvcalc.estimate("llama-3-70b", context=8192, tp=8)

    # Weights, cache, temporary and overhead of 1 x 1 x 1.
    total = 141_107_412_992 + 2_684_354_560 + 1_610_612_736 + 858_993_458
    assert alone.gpus.unsplit_bytes == split.gpus.unsplit_bytes == total
    assert alone.gpus.usable_bytes == 85_020_639_232 * 92 // 100
    assert alone.gpus.by_memory == split.gpus.by_memory == 2
    assert (split.gpus.count, split.gpus.deployment, split.gpus.count_tight) == (2, kvcalc.Deployment(tp=2), True)
    assert (split.gpus.fits, split.gpus.tight) == (True, False)


@pytest.mark.parametrize(("max_context", "expected"), [(4096, 4096), (8192, 8192), (131_072, 8192), (None, 8192)])
def test_the_default_context(max_context: int | None, expected: int) -> None:
    model = kvcalc.Model(
        name="m", max_context=max_context, layers=(LayerGroup(count=1, attention=MHA(num_heads=1, head_dim=1)),)
    )

    assert kvcalc.estimate(model).workload.context == expected
    assert the_note("context is not given", model) == f"context is not given: {expected:,} is used (-c sets it)"
    assert not has_note("context is not given", model, context=expected)


def test_the_models_own_limit() -> None:
    assert kvcalc.estimate("qwen3-8b", context="max").workload.context == 40_960
    with pytest.raises(kvcalc.KvcalcError, match="does not say its max_context"):
        kvcalc.estimate(AdHoc(layers=1, heads=1, head_dim=1).model(), context="max")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"context": "128k"}, "128000, or 128Ki for 131072"),
        ({"context": 0}, "--context: must be at least 1"),
        ({"context": 10**12 + 1}, "--context: .* beyond the limit of 1,000,000,000,000"),
        ({"batch": 0}, "--batch: must be at least 1"),
        ({"batch": 10**9 + 1}, "--batch: .* beyond the limit of 1,000,000,000"),
        ({"utilization": 0}, "--utilization: "),
        ({"utilization": 1.01}, "--utilization: "),
        ({"gpu_memory": "80G"}, "80GB .* or 80GiB"),
        ({"gpu_memory": 0}, "--gpu-memory: must be at least 1 byte"),
        ({"tp": 3}, "tp: 3 is illegal for this model; legal are 1, 2, 4, 8, 16, 32, 64 "),
        ({"tp": 128}, "tp: 128 is illegal"),
        ({"pp": 81}, "pp: 81 is illegal for this model; legal are 1 to 80"),
        ({"gpus": 4, "tp": 2}, "--gpus: chooses the deployment; give --gpus, or --tp, not both"),
        ({"engine": "vlm"}, "--engine: unknown engine 'vlm'"),
        ({"engine": "LM Studio"}, "'LM Studio' serves with llama.cpp: give --engine llama-cpp, or mlx"),
        ({"engine": "ollama"}, "'ollama' serves with llama.cpp: give --engine llama-cpp"),
        ({"cache_dtype": "bf61"}, "--cache-dtype: unknown format 'bf61'; did you mean 'bf16'"),
        ({"cache_dtype": "c_kv=fp8"}, "tensor 'c_kv', which this model does not keep; it keeps k, v"),
        ({"cache_dtype": "k=fp8,k=bf16"}, "tensor 'k' is given twice"),
        ({"cache_dtype": "k=fp8,v"}, "'v' is not TENSOR=FORMAT"),
        ({"cache_dtype": "fp8_ds_mla"}, "does not keep"),
        ({"weight_dtype": "fp9"}, "--weight-dtype: unknown format"),
        ({"dtype": "fp9"}, "--dtype: unknown format"),
        (
            {"dtype": "q4_0"},
            "--dtype: models compute in fp32, bf16, fp16; --cache-dtype q4_0 is the format of the cache",
        ),
        ({"dtype": "fp8"}, "--weight-dtype fp8 of the weights"),
        ({"gpu": "h100-smx"}, "did you mean 'h100-sxm'"),
    ],
)
def test_what_cannot_be_is_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(kvcalc.KvcalcError, match=message):
        kvcalc.estimate("llama-3-70b", **options)


# Notes.


def test_a_context_above_the_models_limit_is_computed_and_noted() -> None:
    words = "above the model's max_context of 8,192"

    assert the_note(words, "llama-3-70b", context=8193).startswith("context 8,193 is")
    assert not has_note(words, "llama-3-70b", context=8192)
    assert kvcalc.estimate("llama-3-70b", context=8193).cache.bytes == 8193 * 327_680


def test_windows_are_noted_with_what_they_save() -> None:
    # 62 layers x 8,192 tokens x 16 heads x 256 elements x 2 bytes; over 32 ranks, twice the 16 heads, 2 copies.
    whole = 62 * 8192 * 16 * 256 * 2
    note = the_note("keep only their window", "gemma-3-27b", context=8192)

    assert note.startswith("52 of 62 layers keep only their window: a lower bound")
    assert f"{whole:,} bytes a replica" in note
    two_copies = the_note("keep only their window", "gemma-3-27b", context=8192, batch=3, tp=32)
    assert f"{whole * 2 * 3:,} bytes a replica" in two_copies
    assert has_note("keep only their window", "gemma-3-27b", context=1025)
    assert not has_note("window", "gemma-3-27b", context=1024)
    assert kvcalc.estimate("gemma-3-27b", context=1025).cache.lower_bound
    assert not kvcalc.estimate("gemma-3-27b", context=1024).cache.lower_bound


def test_a_figure_of_nvidia_smi_is_noted() -> None:
    assert the_note("nvidia-smi", "llama-3-8b", gpu="a30").startswith("memory of a30 is")
    assert not has_note("nvidia-smi", "llama-3-8b", gpu="a30", gpu_memory="80GB")
    assert not has_note("nvidia-smi", "llama-3-8b", gpu="a100-80-sxm")


def test_a_missing_dtype_is_noted() -> None:
    assert "phi-3-mini-4k" in the_note("does not say its dtype: bf16 is used", "phi-3-mini-4k")
    assert not has_note("does not say its dtype", "phi-3-mini-4k", dtype="fp16")
    assert not has_note("does not say its dtype", "llama-3-8b")


@pytest.mark.parametrize(("utilization", "noted"), [("0.92", False), ("0.9932", False), ("0.9933", True), ("1", True)])
def test_too_little_left_for_the_context_is_noted(utilization: str, noted: bool) -> None:
    """550 MiB are 0.678 % of an H100."""
    words = "that a process's own context takes"

    assert has_note(words, "llama-3-8b", utilization=utilization) is noted
    assert not has_note(words, "llama-3-8b", utilization=utilization, gpu_memory="80GB")


def test_unknown_weights_leave_the_cache_right() -> None:
    answer = kvcalc.estimate("palm-540b", context=2048, batch=4)

    assert answer.cache.bytes == 118 * 4 * 2048 * 2 * 256 * 2
    for part in (answer.memory, answer.memory.per_rank):
        assert (part.weights_bytes, part.total_bytes) == (None, None)
        assert part.cache_bytes == answer.cache.bytes
        assert part.temporary_bytes == 1_610_612_736
    assert answer.memory.per_rank.headroom_bytes is None
    gpus = answer.gpus
    unknown = (gpus.fits, gpus.tight, gpus.by_memory, gpus.unsplit_bytes, gpus.count, gpus.deployment)
    assert unknown == (None,) * 6
    assert (gpus.count_tight, gpus.per_rank, gpus.most_sequences) == (None, None, ())
    assert "palm-540b.yaml lacks 'parameters'" in the_note("weights are not known", "palm-540b")
    assert not has_note("no legal deployment", "palm-540b")
    for given_size in ({"weights": "1TB"}, {"parameters": 540 * 10**9}):
        known = kvcalc.estimate("palm-540b", context=2048, **given_size)
        assert known.gpus.count is not None
        assert not any("weights are not known" in note for note in texts(known.notes))


@pytest.mark.parametrize(
    ("model", "tp", "noted"),
    [
        ("llama-3-70b", 16, "5,368,709,120 bytes a replica with its copies, 2,684,354,560 bytes without"),
        ("llama-3-70b", 8, None),
        ("deepseek-v3", 8, "4,605,345,792 bytes a replica with its copies, 575,668,224 bytes without"),
        ("falcon-7b", 71, f"{71 * 67_108_864:,} bytes a replica with its copies, 67,108,864 bytes without"),
        ("falcon-7b", 1, None),
    ],
)
def test_replication_is_noted(model: str, tp: int, noted: str | None) -> None:
    if noted is None:
        assert not has_note("cannot divide all of the cache", model, context=8192, tp=tp)
    else:
        note = the_note("cannot divide all of the cache", model, context=8192, tp=tp)
        assert note.startswith(f"tp {tp} cannot divide")
        assert noted in note


def test_how_weights_spread_over_stages_is_noted() -> None:
    words = "weights of a rank"

    assert "embeddings on the first stage, the output head on the last" in the_note(words, "llama-3-8b", pp=2)
    assert "experts are on the layers that have them" in the_note(words, "deepseek-v3", tp=8, pp=2)
    assert "total / (tp x pp)" in the_note(words, "llama-3-8b", pp=2, weights="16GB")
    assert not has_note(words, "llama-3-8b", tp=2)


def test_nothing_legal_is_noted() -> None:
    words = "no legal deployment within nodes of"

    assert the_note(words, "llama-3-8b", temporary="100GB") == f"{words} 8 holds this workload"
    assert the_note(words, "llama-3-8b", temporary="300GB", gpu="gb200") == f"{words} 4 holds this workload"
    assert not has_note(words, "llama-3-8b")


def test_the_best_of_a_few_gpus_is_noted() -> None:
    assert the_note("--gpus 3", "llama-3-70b", gpus=3) == "--gpus 3: 2 in use, as tp 2"
    assert the_note("--gpus", "llama-3.1-405b", gpus=16).endswith("16 in use, as tp 8 x pp 2")


# What is left out.


@pytest.mark.parametrize(
    ("model", "options", "words", "expected"),
    [
        ("deepseek-v3", {}, "multi-token-prediction layers (1 in the checkpoint)", True),
        ("mimo-v2-flash", {}, "multi-token-prediction layers (3 in the checkpoint)", True),
        ("kimi-k2.6", {}, "multi-token-prediction", False),
        ("llama-3-8b", {}, "multi-token-prediction", False),
        ("gemma-3-27b", {}, "vision or audio towers", True),
        ("gemma-3-1b", {}, "vision or audio towers", False),
        ("llama-3-8b", {}, "LoRA", True),
        ("llama-3-8b", {}, "fragmentation", True),
        ("llama-3-8b", {}, "prefix caching", True),
        ("llama-3-8b", {}, "quality", False),
        ("llama-3-8b", {"cache_dtype": "fp16"}, "quality", False),
        ("llama-3-8b", {"cache_dtype": "fp32"}, "quality", False),
        ("llama-3-8b", {"cache_dtype": "fp8"}, "quality loss of a cache kept in fp8", True),
        ("llama-3-8b", {"cache_dtype": "k=bf16,v=q4_0"}, "quality loss of a cache kept in k=bf16,v=q4_0", True),
        ("llama-3-8b", {"weight_dtype": "nvfp4"}, "quality loss of weights in nvfp4", True),
    ],
)
def test_what_is_not_modelled(model: str, options: dict[str, Any], words: str, expected: bool) -> None:
    said = texts(kvcalc.estimate(model, **options).not_modelled)

    assert any(words in line for line in said) is expected


# Models of the catalogue, and from a few numbers.


@for_each("name", some(model_names()))
def test_the_default_estimate_of_every_model(name: str) -> None:
    answer = kvcalc.estimate(name)

    assert answer.cache.bytes > 0
    if kvcalc.load_model(name).parameters is None:
        assert answer.gpus.by_memory is None
    else:
        assert answer.gpus.by_memory is not None
        assert answer.gpus.count is not None
        assert answer.gpus.deployment is not None
        # What is tight holds only with less temporary memory than `by_memory` counts.
        assert 1 <= answer.gpus.by_memory <= answer.gpus.count or answer.gpus.count_tight
        assert answer.gpus.count == answer.gpus.deployment.ranks
        assert answer.gpus.per_rank is not None
        assert answer.gpus.per_rank.cache_bytes <= answer.cache.bytes


@pytest.mark.parametrize(
    ("numbers", "kind", "elements"),
    [
        (AdHoc(layers=3, heads=32, kv_heads=4, head_dim=64), "gqa", 512),
        (AdHoc(layers=3, heads=32, head_dim=64), "mha", 4096),
        (AdHoc(layers=3, heads=32, kv_heads=32, head_dim=64), "mha", 4096),
        (AdHoc(layers=3, heads=32, kv_heads=1, head_dim=64, v_head_dim=32), "mqa", 96),
        (AdHoc(layers=3, heads=1, kv_heads=1, head_dim=64), "mha", 128),
        (AdHoc(layers=3, heads=128, kv_lora_rank=512, qk_rope_head_dim=64), "mla", 576),
        (AdHoc(layers=3, heads=32, head_dim=64, window=5), "mha", 4096),
    ],
)
def test_a_model_from_a_few_numbers(numbers: AdHoc, kind: str, elements: int) -> None:
    answer = kvcalc.estimate(numbers.model(), context=20, cache_dtype="fp8")

    assert answer.model.mechanisms == (kind,)
    assert answer.cache.bytes == 3 * elements * (numbers.window or 20)


@pytest.mark.parametrize("layers", [1, 7])
def test_a_model_that_keeps_nothing(layers: int) -> None:
    groups = (LayerGroup(count=layers, attention=NoAttention()),)
    model = kvcalc.Model(name="empty", parameters=10, layers=groups)
    answer = kvcalc.estimate(model, batch=10**9, context=10**12)

    assert answer.cache.bytes == answer.cache.one_copy_bytes == answer.cache.bytes_per_token == 0
    assert answer.cache.terms == ()
    assert answer.gpus.count == 1


def test_the_largest_workload_stays_exact() -> None:
    # 2 x 80 layers x 8 heads x 128 x 2 bytes a token.
    assert kvcalc.estimate("llama-3-70b", batch=10**9, context=10**12).cache.bytes == 327_680 * 10**21


def test_a_shared_prefix_without_effect_is_noted() -> None:
    unused = "--shared-prefix: nothing of those tokens is kept once for all sequences here"
    for verb in (kvcalc.estimate, kvcalc.capacity, kvcalc.plan):
        assert unused in texts(verb("mamba-2.8b", shared_prefix=100).notes)
        assert unused not in texts(verb("llama-3-8b", shared_prefix=100).notes)
    assert unused in texts(kvcalc.estimate("llama-3-8b", shared_prefix=15, engine="vllm").notes)  # less than a block
    assert unused not in texts(kvcalc.estimate("llama-3-8b", shared_prefix=16, engine="vllm").notes)


def test_what_one_card_holds_of_a_model_is_told_as_capacity_tells_it() -> None:
    asked: dict[str, Any] = {"engine": "llama-cpp", "weight_dtype": "q4_k", "gpu": "rtx3060-12gb", "context": 8192}
    told = [note for note in kvcalc.estimate("qwen3-30b-a3b", **asked).notes if note.code == "part-on-gpu"]
    assert told == [note for note in kvcalc.capacity("qwen3-30b-a3b", **asked).notes if note.code == "part-on-gpu"]
    assert len(told) == 1
    chosen = kvcalc.estimate("qwen3-30b-a3b", engine_option={"n-cpu-moe": "1"}, **asked)
    assert "part-on-gpu" not in {note.code for note in chosen.notes}
