"""Checkpoints of a class that are quantised otherwise than by linear layers: as their published files say."""

from __future__ import annotations

import pytest

import kvcalc
from kvcalc.formats.weights import find_weight_format
from kvcalc.model.quantised import parts_in
from kvcalc.note import Note

DRAFTS = 11_608_195_072 + 2 * 129_280 * 7_168
"""The layer of DeepSeek-V3 that predicts a further token, in bf16, with its copies of embedding and head."""


DRAFTS_OF_V4 = 3 * 256 * 4096 * 2048 * 17 // 32 + 5_410_652_160 // 43 + 4096 * (1024 + 512 + 2 * 4096 + 256)
"""Most of the layer of DeepSeek-V4-Flash that drafts: experts in mxfp4 with scales, shared expert and attention's heads
as another layer has them, projections to latents, two of hidden states, a router."""


@pytest.mark.parametrize("name", ["qwen3.6-27b", "qwen3.6-35b-a3b", "gemma-4-26b-a4b", "gemma-4-31b", "kimi-k2.6"])
def test_a_recipe_gives_the_published_checkpoint(name: str) -> None:
    """Those lists are of the tensors that the published config.json names, layer by layer."""
    published = kvcalc.load_model(f"{name}-nvfp4")
    parts = parts_in(kvcalc.load_model(name), find_weight_format("nvfp4", "weights"))
    assert parts is not None
    assert sum(part.size for part in parts) == sum(part.size for part in published.weights)


@pytest.mark.parametrize(
    ("name", "asked", "total", "group", "beside"),
    # Totals of nvidia's and AMD's repositories of these names by the Hub (llmfit 1.1.17, PyPI), which counts stored
    # elements: two parameters of fp4 in one, a scale for each group where it counts scales, a drafting layer in bf16.
    [
        ("minimax-m2.5", "nvfp4", 116_349_510_656, None, 0),  # and MiniMax-M2.7-NVFP4
        ("minimax-m2", "mxfp4", 116_349_510_656, None, 0),  # MiniMax-M2.1-MXFP4
        ("glm-5", "nvfp4", 381_523_333_632, None, 0),  # GLM-5.1-NVFP4
        ("glm-4.6", "nvfp4", 183_482_937_344, None, 0),  # GLM-4.7-NVFP4, without the layer that drafts
        ("deepseek-v3", "nvfp4", 396_767_013_632, 16, DRAFTS),
        ("deepseek-v3.1", "nvfp4", 393_632_819_968, 16, DRAFTS),
        ("deepseek-v3.2", "nvfp4", 394_498_304_256, 16, DRAFTS),
        ("deepseek-v4-flash", "nvfp4", 166_726_476_754, 16, DRAFTS_OF_V4),
        ("qwen3.5-122b-a10b", "nvfp4", 64_580_759_280, None, 0),
        ("qwen3.5-35b-a3b", "mxfp4", 20_852_328_304, 32, 844_640_768),
    ],
)
def test_what_is_stored_is_the_total_of_the_hub(
    name: str, asked: str, total: int, group: int | None, beside: int
) -> None:
    parts = parts_in(kvcalc.load_model(name), find_weight_format(asked, "weights")) or ()
    in_fp4 = sum(part.parameters for part in parts if part.format == asked)
    stored = sum(part.parameters for part in parts) - in_fp4 + in_fp4 // 2 + (in_fp4 // group if group else 0)
    assert stored + beside == pytest.approx(total, rel=5e-5)


def test_attention_and_the_states_that_feed_it_stay() -> None:
    """Nemotron 3 Nano Technical Report, section 4: six attention layers, and the Mamba layer before each."""
    model = kvcalc.load_model("nvidia-nemotron-3-nano-30b-a3b-bf16")
    parts = {part.part: part for part in parts_in(model, find_weight_format("nvfp4", "weights")) or ()}
    attention, states = parts["attention"], parts["states that feed attention"]
    assert (attention.format, attention.parameters) == ("bf16", 6 * 2688 * (2 * 32 + 2 * 2) * 128)
    assert (states.format, states.parameters) == ("bf16", 6 * 2688 * (2 * 4096 + 2 * 8 * 128 + 64 + 4096))


def test_experts_alone_are_quantised() -> None:
    """Qwen3.5-122B-A10B on two L40S with vLLM 0.16.1rc1, which leads to 0.17: stored file 51840052075."""
    held = kvcalc.capacity(
        "qwen3.5-122b-a10b", gpu="l40s", engine="vllm@0.17.0", weight_dtype="w4a16_g32", tp=2, context=131_072
    )
    (weights, *_) = held.at_limit.parts
    assert weights.bytes / 2**30 == pytest.approx(36.73, rel=0.001)


@pytest.mark.parametrize(
    ("model", "gpu", "version", "printed"),
    [
        ("qwen3.6-27b", "rtx-a6000", "0.27.1", 19.75),  # noonghunna/club-3090#1047
        ("qwen3.6-27b", "gb10", "0.23.0", 19.78),  # file 61544841280
        ("nvidia-nemotron-3-nano-30b-a3b-bf16", "h100-nvl", "0.19.0", 18.03),  # file 59839511370, Nemotron-Cascade-2
        ("nvidia-nemotron-3-nano-30b-a3b-bf16", "rtx5090", "0.20.1", 18.54),  # file 51923877316, with its padding
    ],
)
def test_what_servers_print_of_them(model: str, gpu: str, version: str, printed: float) -> None:
    held = kvcalc.capacity(model, gpu=gpu, engine=f"vllm@{version}", weight_dtype="nvfp4", tp=1, context=8192)
    (weights, *_) = held.at_limit.parts
    assert weights.bytes / 2**30 == pytest.approx(printed, rel=0.003)


def test_the_note_tells_other_formats_and_what_experts_alone_would_leave() -> None:
    """btbtyler09/Qwen3.5-122B-A10B-GPTQ-4bit has its experts alone in int4."""
    mixed = _told("qwen3.6-27b", "nvfp4")
    assert "attention and states are in fp8" in mixed.text
    experts = _told("qwen3.5-122b-a10b", "int4")
    (more,) = [value for name, value in experts.data.items() if name == "beside_experts_bytes"]
    layers = 4_567_597_056
    assert more == 2 * layers - -(-layers // 256) * 133


def _told(model: str, weight_dtype: str) -> Note:
    notes = kvcalc.estimate(model, context=1, weight_dtype=weight_dtype).notes
    return next(each for each in notes if each.code == "weights-left-in-dtype")


def test_the_note_names_whose_checkpoint_it_is() -> None:
    assert "as nvidia/DeepSeek-V3.1-NVFP4 has them; " in _told("deepseek-v3.1", "nvfp4").text
    assert "as quantised checkpoints have them; " in _told("llama-3.1-8b", "nvfp4").text


def test_one_model_has_a_recipe_of_its_own() -> None:
    """Published hf_quant_config.json: attention in fp8 in Qwen3.6-35B-A3B, bf16 in Qwen3.5, mxfp8 in MiniMax-M3."""
    formats = {
        name: {part.format for part in parts_in(kvcalc.load_model(name), find_weight_format("nvfp4", "weights")) or ()}
        for name in ("qwen3.6-35b-a3b", "qwen3.5-397b-a17b", "minimax-m3")
    }
    assert formats == {
        "qwen3.6-35b-a3b": {"bf16", "fp8", "nvfp4"},
        "qwen3.5-397b-a17b": {"bf16", "nvfp4"},
        "minimax-m3": {"bf16", "mxfp8", "nvfp4"},
    }


def test_matrices_beside_experts_keep_the_format_of_the_file() -> None:
    """NVIDIA's checkpoints of DeepSeek-V4 have the routed experts in nvfp4, and all else as DeepSeek published it."""
    model = kvcalc.load_model("deepseek-v4-flash")
    parts = parts_in(model, find_weight_format("nvfp4", "weights")) or ()
    assert [part.format for part in parts] == ["nvfp4", *(part.format for part in model.weights[1:])]
