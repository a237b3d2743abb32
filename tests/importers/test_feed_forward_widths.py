"""Widths of feed-forward blocks that a class works out of other keys, beside what the Hub's totals leave for them."""

from __future__ import annotations

from typing import Any

import pytest
from config_files import CONFIGS, LLAMA, imported

from kvcalc import load_model
from kvcalc.mechanisms import GQA, MHA

SHARED = {"num_hidden_layers": 2, "num_experts": 8, "num_experts_per_tok": 2, "moe_intermediate_size": 256}


@pytest.mark.parametrize(
    ("name", "width", "shared"),
    [
        ("Qwen/Qwen3-Next-80B-A3B-Instruct", 512, 1),
        ("nvidia/NVIDIA-Nemotron-3-Ultra-550B-A55B-BF16", 5120, 2),  # n_shared_experts 1, and 10,240 wide
        ("deepseek-ai/DeepSeek-V2-Lite", 1408, 2),
        ("MiniMaxAI/MiniMax-M3", 3072, 1),
    ],
)
def test_shared_experts_are_told_in_widths_of_a_routed_one(name: str, width: int, shared: int) -> None:
    assert load_model(name).num_shared_experts == shared
    found = imported(CONFIGS[name]).model
    assert found.num_shared_experts == shared
    assert found.moe_intermediate_size in {width, None}  # Nemotron's layers differ, so that a file tells none


@pytest.mark.parametrize(
    ("keys", "shared"),
    [
        ({"shared_expert_intermediate_size": 1024}, 4),
        ({"shared_expert_intermediate_size": 0}, 0),
        ({"shared_expert_intermediate_size": 300}, None),
        ({"n_shared_experts": 3}, 3),
        ({"n_shared_experts": 1, "shared_expert_intermediate_size": 512}, 2),
        ({"n_shared_experts": 2, "shared_experts_intermediate_size": 512}, 4),  # each of them (Dots3NoteTextMoE)
        ({"n_shared_experts": 0, "shared_expert_intermediate_size": 512}, 0),
        ({}, None),
    ],
)
def test_a_width_of_their_own_decides_over_a_number(keys: dict[str, Any], shared: int | None) -> None:
    assert imported({**LLAMA, "model_type": "qwen3_moe", **SHARED, **keys}).model.num_shared_experts == shared


@pytest.mark.parametrize("name", ["qwen1.5-moe-a2.7b", "qwen2-57b-a14b", "laguna-xs.2"])
def test_shared_experts_of_the_catalogue_are_what_the_count_leaves(name: str) -> None:
    """Of all parameters, but for the embedding, the head and the experts, attention and norms are the smaller part."""
    model = load_model(name)
    hidden, width, shared = model.hidden_size or 0, model.moe_intermediate_size or 0, model.num_shared_experts or 0
    dense = model.first_k_dense or 0
    with_experts = model.num_layers - dense
    left = (model.parameters or 0) - 2 * (model.vocab_size or 0) * hidden - dense * 3 * hidden * 8_192
    left -= with_experts * (model.num_experts or 0) * (3 * hidden * width + hidden)
    for layer in model.layout.layers:
        attention = layer[0].attention
        assert isinstance(attention, GQA | MHA)
        kv = attention.num_kv_heads if isinstance(attention, GQA) else attention.num_heads
        left -= 2 * hidden * (attention.num_heads + kv) * attention.head_dim
    assert shared == round(left / (with_experts * 3 * hidden * width)) > 0


LFM2 = {"model_type": "lfm2", "conv_L_cache": 3, "full_attn_idxs": [1]}


@pytest.mark.parametrize(
    ("keys", "width"),
    [
        ({"intermediate_size": 12_288}, 8_192),  # LFM2-1.2B
        ({"block_ff_dim": 6_656, "intermediate_size": 6_656}, 4_608),  # LFM2-350M: the width of its Hub's total
        ({"block_ff_dim": 10_240}, 6_912),  # LFM2-700M, likewise
        ({"intermediate_size": 10_752, "block_auto_adjust_ff_dim": False}, 10_752),  # LFM2-2.6B
        ({"intermediate_size": 12_288, "block_ffn_dim_multiplier": 1.5, "block_multiple_of": 100}, 12_300),
    ],
)
def test_lfm2_adjusts_its_width(keys: dict[str, Any], width: int) -> None:
    assert imported({**LLAMA, **LFM2, **keys}).model.intermediate_size == width


def test_the_catalogues_lfm2_has_the_width_that_its_file_gives() -> None:
    found = imported(CONFIGS["LiquidAI/LFM2-1.2B"]).model.intermediate_size
    assert found == load_model("lfm2-1.2b").intermediate_size == 8_192


@pytest.mark.parametrize(
    ("model_type", "told", "width"),
    [("qwen", 22_016, 11_008), ("molmo", 37_888, 18_944)],  # Qwen-7B; Molmo-7B-D, whose layers are Qwen2-7B's
)
def test_a_key_that_counts_two_matrices_is_halved(model_type: str, told: int, width: int) -> None:
    values = {**LLAMA, "model_type": model_type, "intermediate_size": told}
    assert imported(values).model.intermediate_size == width


@pytest.mark.torch
def test_the_class_of_lfm2_has_that_width() -> None:
    from transformers.models.lfm2.configuration_lfm2 import Lfm2Config
    from transformers.models.lfm2.modeling_lfm2 import Lfm2MLP

    for width in (96, 128, 1_000, 6_656):
        config = Lfm2Config(hidden_size=8, intermediate_size=width, block_multiple_of=64, block_ffn_dim_multiplier=1.3)
        values = {**LLAMA, **LFM2, "block_ff_dim": width, "block_multiple_of": 64, "block_ffn_dim_multiplier": 1.3}
        built = Lfm2MLP(config).w1.out_features
        assert imported(values).model.intermediate_size == built
