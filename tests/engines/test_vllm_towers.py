"""What towers hold while vLLM profiles memory, against what servers print, and against sums made by hand."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

import kvcalc
from kvcalc.memory import Rank, ranks_of
from kvcalc.term import leaves
from kvcalc.units import GIB

PATCHES = 4 * 16_384
"""Of the largest image."""


def rank(model: str | kvcalc.Model, version: str, gpu: str = "a100-80-sxm", **options: Any) -> Rank:
    given = {"tp": 1, "context": 8192, **options}
    scenario = kvcalc.make_scenario(model, engine=f"vllm@{version}", gpu=gpu, **given)
    assert scenario.deployment is not None
    return ranks_of(scenario, scenario.deployment)[0]


def parts(found: Rank) -> dict[str, int]:
    return {leaf.path: leaf.bytes for leaf in leaves(found.temporary.term)}


@pytest.mark.parametrize(
    ("model", "version", "gpu", "options", "printed"),
    [
        ("qwen3.6-27b", "0.28.0", "gb10", {}, 1.84),  # stored file 61222544093
        ("qwen3.5-0.8b", "0.28.0", "a100-80-sxm", {"engine_option": {"max-num-seqs": "32"}}, 1.27),  # 69080973712
    ],
)
def test_what_a_tower_holds_as_logs_print_it(
    model: str, version: str, gpu: str, options: dict[str, Any], printed: float
) -> None:
    """Of the second log 1.36 GiB less its CUDA graphs' 0.09, of which an estimate that it does not print is larger."""
    assert rank(model, version, gpu, **options).temporary.term.bytes / GIB == pytest.approx(printed, rel=0.05)


@pytest.mark.parametrize(
    ("model", "hidden", "head"),
    [
        ("qwen3.5-0.8b", 768, 64),
        ("qwen3.5-2b", 1024, 64),
        ("qwen3-vl-4b", 1024, 64),
        ("qwen3-vl-8b", 1152, 72),
    ],
)
def test_attention_of_a_tower_by_hand(model: str, hidden: int, head: int) -> None:
    """Queries, keys and values 3, made contiguous 2, rotated 2, and what attention gives 1: divided over ranks."""
    for tp in (1, 2):
        found = parts(rank(model, "0.19.0", tp=tp, engine_option={"max-num-seqs": "8"}))
        assert found["a layer of the tower"] == PATCHES * (4 * hidden + 8 * hidden // tp + head) * 2
        assert found["images"] == PATCHES * 1536 * 2


@pytest.mark.parametrize(
    ("version", "context", "pairs", "elements"),
    [
        ("0.10.2", 131_072, 1, 2 * 1280 + 11 * 1280 + 80),  # no longer than a step; rotated in fp32, one by one
        ("0.11.0", 131_072, 7, 2 * 1280 + 18 * 1280 + 80),  # queries and keys at once
        ("0.13.0", 131_072, 7, 3 * 1280 + 3 * 3420 + 80),  # the gated block
        ("0.13.0", 40_000, 2, 3 * 1280 + 3 * 3420 + 80),
        ("0.23.0", 131_072, 7, 5 * 1280 + 3 * 3420 + 80),  # its norm anew
    ],
)
def test_the_video_of_qwen2_5_vl_by_hand(version: str, context: int, pairs: int, elements: int) -> None:
    """14 frames, two at a time, each as large as the largest image."""
    found = parts(rank("qwen2.5-vl-7b", version, context=context, engine_option={"max-num-seqs": "1"}))
    assert found["a layer of the tower"] == pairs * PATCHES * elements * 2
    assert found["images"] == pairs * PATCHES * 1176 * 2


def test_a_step_that_holds_more_than_the_tower_keeps_the_images() -> None:
    """Four images of 65,536 tokens, and their embeddings of 5,120."""
    found = parts(rank("qwen3.6-27b", "0.23.0", engine_option={"max-num-batched-tokens": "65536"}))
    assert found["embeddings of images"] == 65_536 * 5120 * 2
    assert found["images"] == 4 * PATCHES * 1536 * 2
    assert "a layer of the tower" not in found


def test_images_of_a_video_that_is_thought_longer_in_0_11_0() -> None:
    """A budget of 153,600 tokens, as a log of four RTX 3090 prints it (stored file 42514581982)."""
    found = parts(rank("qwen3-vl-30b-a3b", "0.11.0", "rtx3090", tp=4))
    assert found["embeddings of images"] == 153_600 * 4 * 2048 * 2


def test_features_of_images_are_weights_of_qwen3_vl() -> None:
    """deepstack_input_embeds: 16.78 GiB printed with 8,192 tokens a step (stored file 56336202239)."""
    options: dict[str, Any] = {"engine_option": {"max-num-batched-tokens": "8192", "max-num-seqs": "5"}}
    found = rank("qwen3-vl-8b", "0.19.0", **options).weights
    assert found is not None
    (buffer,) = [each for each in found.parts if each.path == "features of images for a step"]
    assert buffer.bytes == 3 * 8192 * 4096 * 2
    assert found.bytes / GIB == pytest.approx(16.78, abs=0.015)


def test_embeddings_for_every_layer_are_a_buffer_of_gemmas_weights() -> None:
    """9.81 GiB are printed of a checkpoint in groups of 32 (stored file 69199302682), and 9.73 counted."""
    options: dict[str, Any] = {"engine_option": {"max-num-batched-tokens": "8192"}, "weights": None}
    found = rank("gemma-4-e4b", "0.28.0", weight_dtype="w4a16_g32", **options).weights
    assert found is not None
    (buffer,) = [each for each in found.parts if each.path == "embeddings of a step for every layer"]
    assert buffer.bytes == 8192 * 42 * 256 * 2
    without = rank("gemma-4-31b", "0.28.0", **options).weights
    assert without is not None
    assert "embeddings of a step for every layer" not in {each.path for each in without.parts}


@pytest.mark.parametrize(
    ("model", "version", "gpu", "printed"),
    [
        ("google/gemma-4-E2B-it-qat-w4a16-ct", "0.30.0", "l4", 8.01),
        ("google/gemma-4-E4B-it-qat-w4a16-ct", "0.30.0", "l4", 11.04),
        ("google/gemma-4-E4B-it-qat-w4a16-ct", "0.28.0", "l4", 9.81),
    ],
)
def test_a_head_that_a_checkpoint_repeats_is_kept_beside_two_tables(
    model: str, version: str, gpu: str, printed: float
) -> None:
    """As printed in xbill9/sagemaker-gemma; of 0.28 see below."""
    found = rank(model, version, gpu, weights=None).weights
    assert found is not None
    assert found.bytes / GIB == pytest.approx(printed, rel=0.01)
    heads = {each.path: each.bytes for each in found.parts if each.path == "output head that repeats the embedding"}
    hidden = 1536 if "E2B" in model else 2560
    assert heads == ({} if version < "0.29" else {"output head that repeats the embedding": 262_144 * hidden * 2})


@pytest.mark.parametrize(
    ("model", "options"),
    [
        ("gemma-4-e2b", {}),
        ("gemma-4-e2b", {"weight_dtype": "fp8"}),
        ("google/gemma-4-E2B-it-qat-w4a16-ct", {"weights": "8GiB"}),
        ("gemma-4-12b", {"weight_dtype": "w4a16_g32"}),
    ],
)
def test_no_other_head_is_counted_twice(model: str, options: dict[str, Any]) -> None:
    found = rank(model, "0.30.0", **options).weights
    assert found is not None
    assert "output head that repeats the embedding" not in {each.path for each in found.parts}


def test_a_repeated_head_that_a_folder_lists_is_counted_once() -> None:
    model = kvcalc.load_model("google/gemma-4-E2B-it-qat-w4a16-ct")
    head = replace(model.weights[0], part="output head", place="head")
    parameters = (model.parameters or 0) + head.parameters
    listed = replace(model, weights=(*model.weights, head), parameters=parameters)
    found, again = (rank(each, "0.30.0", "l4").weights for each in (model, listed))
    assert found is not None
    assert again is not None
    assert found.bytes == again.bytes


def test_what_indexers_choose_is_a_buffer_of_the_weights() -> None:
    found = rank("glm-5", "0.19.0", "h200", tp=8, weight_dtype="fp8").weights
    assert found is not None
    (buffer,) = [each for each in found.parts if each.path == "tokens that indexers choose for a step"]
    assert buffer.bytes == 8192 * 2048 * 4


def test_a_tower_of_unknown_size_is_taken_for_the_largest() -> None:
    """Rather too little memory for the cache than too much."""
    known = kvcalc.load_model("qwen3-vl-4b")
    unknown = replace(known, tower_parameters=None)
    scenario = kvcalc.make_scenario(
        unknown, engine="vllm@0.19.0", gpu="a100-80-sxm", tp=1, context=8192, engine_option={"max-num-seqs": "8"}
    )
    assert scenario.deployment is not None
    found = parts(ranks_of(scenario, scenario.deployment)[0])
    assert found["a layer of the tower"] == PATCHES * (4 * 1152 + 8 * 1152 + 72) * 2


def test_a_tower_that_is_not_profiled_has_nothing_set_aside_and_its_weights_stay() -> None:
    """Qwen3.8-27B on a Radeon 8060S of 80 GiB: 2.4 GiB with 1.55 of graphs (0.28; stored file 60894101463)."""
    options = {"skip-mm-profiling": "true", "max-num-batched-tokens": "2048", "max-num-seqs": "256"}
    text = rank("qwen3.8-27b", "0.28.0", engine_option=options)
    whole = rank("qwen3.8-27b", "0.28.0", engine_option={**options, "skip-mm-profiling": "false"})
    assert text.weights is not None
    assert text.weights == whole.weights
    assert abs(text.temporary.term.bytes - 0.85 * GIB) < 0.02 * GIB
    assert whole.temporary.term.bytes > 1.8 * GIB
    assert text.temporary.low == text.temporary.high
