"""Parameters of families without a class in transformers, and of text models by themselves: published totals."""

from __future__ import annotations

import csv
import json
from typing import Any

import pytest
from config_files import CONFIGS
from conftest import DATA

from kvcalc.errors import KvcalcError
from kvcalc.importers import import_config
from kvcalc.importers.config_json.parameters.anatomies import ANATOMIES
from kvcalc.model.apart import expert_parameters
from kvcalc.model.model import Model

TEXT_ALONE = {
    row["hub_id"]: int(row["parameters"]) - int(row["tower_parameters"] or 0)
    for row in csv.DictReader((DATA / "model_facts.csv").read_text(encoding="utf-8").splitlines())
    if row["parameters"]
}
WRAPPED = {
    hub_id: {"tie_word_embeddings": values.get("tie_word_embeddings"), **values["text_config"]}
    for hub_id, values in CONFIGS.items()
    if values.get("text_config", {}).get("model_type") in ANATOMIES and hub_id in TEXT_ALONE
}
OF_SHARED_CACHES = {
    "google/gemma-3n-E4B-it": 15 * (2 * 2048 * 2 * 256 + 256),
    "google/gemma-4-E4B-it": 15 * (2 * 2560 * 2 * 256 + 256) + 3 * (2 * 2560 * 2 * 512 + 512),
}
"""Keys and values of layers that read another's cache: the checkpoint has them, the class of 5.24.0 leaves them out."""

DEEPSEEK_MOE_16B: dict[str, Any] = {
    "model_type": "deepseek",
    "vocab_size": 102_400,
    "hidden_size": 2048,
    "intermediate_size": 10_944,
    "moe_intermediate_size": 1408,
    "num_hidden_layers": 28,
    "num_attention_heads": 16,
    "num_key_value_heads": 16,
    "n_routed_experts": 64,
    "n_shared_experts": 2,
    "num_experts_per_tok": 6,
    "first_k_dense_replace": 1,
    "moe_layer_freq": 1,
    "attention_bias": False,
}
LING_1T: dict[str, Any] = {
    **CONFIGS["inclusionAI/Ling-1T"],
    "intermediate_size": 18_432,
    "moe_intermediate_size": 2048,
    "moe_shared_expert_intermediate_size": 2048,
    "num_shared_experts": 1,
    "first_k_dense_replace": 4,
    "use_qk_norm": True,
    "use_rmsnorm": True,
    "use_qkv_bias": False,
    "use_bias": False,
}
MIMO_7B: dict[str, Any] = {
    "model_type": "mimo",
    "vocab_size": 151_680,
    "hidden_size": 4096,
    "intermediate_size": 11_008,
    "num_hidden_layers": 36,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "head_dim": 128,
    "num_nextn_predict_layers": 1,
}
NEMOTRON_SUPER_49B: dict[str, Any] = {
    "model_type": "nemotron-nas",
    "vocab_size": 128_256,
    "hidden_size": 8192,
    "num_hidden_layers": 80,
    "num_attention_heads": 64,
    "attention_bias": False,
    "mlp_bias": False,
    "block_configs": [
        {
            "attention": {"n_heads_in_group": group, "no_op": group is None, "replace_with_linear": False},
            "ffn": {"ffn_mult": factor, "no_op": False, "replace_with_linear": False},
        }
        for group, factor, count in (
            *((8, 2.625, 1), (8, 5.25, 5), (None, 2.625, 2), (8, 5.25, 3), (None, 3.28125, 1), (8, 5.25, 30)),
            *((None, 1.3125, 1), (None, 2.625, 2), (None, 1.3125, 1), (None, 5.25, 1), (None, 1.3125, 1)),
            *((None, 2.625, 1), (None, 1.3125, 3), (8, 5.25, 1), (None, 1.3125, 1), (None, 1.0, 2)),
            *((None, 1.3125, 1), (None, 1.0, 3), (None, 1.3125, 2), (None, 0.5, 2), (None, 1.0, 2)),
            *((None, 0.5, 2), (None, 1.0, 1), (None, 0.5, 2), (8, 5.25, 9)),
        )
        for _ in range(count)
    ],
}
INTERNLM_7B: dict[str, Any] = {
    "model_type": "internlm",
    "vocab_size": 103_168,
    "hidden_size": 4096,
    "intermediate_size": 11_008,
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
    "bias": True,
    "tie_word_embeddings": False,
}
QWEN_72B: dict[str, Any] = {
    "model_type": "qwen",
    "vocab_size": 152_064,
    "hidden_size": 8192,
    "intermediate_size": 49_152,
    "num_hidden_layers": 80,
    "num_attention_heads": 64,
    "kv_channels": 128,
    "no_bias": True,
    "tie_word_embeddings": False,
}
MTP_LAYER = 3 * 4096 * 11_008 + 2 * 4096 * (4096 + 1024) + 4096 + 2 * 1024 + 2 * 4096  # a layer as the others
MTP_LAYER += 2 * 4096 * 4096 + 3 * 4096  # and what joins it to them

PUBLISHED: dict[str, tuple[dict[str, Any], int]] = {
    "deepseek-ai/deepseek-moe-16b-base": (DEEPSEEK_MOE_16B, 16_375_728_128),
    "inclusionAI/Ling-1T": (LING_1T, 999_705_328_640 - 76 * 256),  # without routing biases, which are buffers
    "XiaomiMiMo/MiMo-7B-Base": (MIMO_7B, 7_833_409_536 - MTP_LAYER),
    "internlm/internlm-chat-7b": (INTERNLM_7B, (14_643_904_512 - 32 * 64 * 4) // 2),  # without frequencies, buffers
    "Qwen/Qwen-72B-Chat": (QWEN_72B, 72_287_920_128),
    "nvidia/Llama-3_3-Nemotron-Super-49B-v1": (NEMOTRON_SUPER_49B, 49_867_145_216),
}
"""Shapes as their config.json have them, and the Hub's totals."""


def imported(values: dict[str, Any]) -> Model:
    return import_config(json.dumps(values), "config.json", "some-model").model


@pytest.mark.parametrize("hub_id", PUBLISHED)
def test_a_total_is_the_hub_s(hub_id: str) -> None:
    values, total = PUBLISHED[hub_id]
    assert imported(values).parameters == total


@pytest.mark.parametrize(("hub_id", "rows"), [("facebook/opt-13b", 2050), ("bigcode/starcoder", 8192)])
def test_learned_positions_are_told(hub_id: str, rows: int) -> None:
    """OPT's table has two rows more (transformers, OPTLearnedPositionalEmbedding)."""
    values = CONFIGS[hub_id]
    hidden = values.get("hidden_size") or values["n_embd"]
    assert imported(values).position_parameters == rows * hidden


@pytest.mark.parametrize("hub_id", WRAPPED)
def test_a_text_model_by_itself_is_the_whole_without_towers(hub_id: str) -> None:
    assert imported(WRAPPED[hub_id]).parameters == TEXT_ALONE[hub_id] - OF_SHARED_CACHES.get(hub_id, 0)


def test_gemma_4_without_embeddings_of_each_layer_says_zero_or_null() -> None:
    values = WRAPPED["google/gemma-4-31B-it"]
    assert values["hidden_size_per_layer_input"] == 0
    assert imported({**values, "hidden_size_per_layer_input": None}).parameters == imported(values).parameters


def test_deepseek_v4_1_is_counted_with_its_tables_of_n_grams() -> None:
    """Of each layer and matrix as inference/model.py has it; a token passes through no table but the embedding."""
    hidden, latent, width, heads, inner = 5120, 1280, 512, 64, 2304
    attention = hidden * (latent + width) + latent * heads * width + 1024 * heads * width + 8 * 1024 * hidden
    mixing = 2 * (24 * 4 * hidden + 24 + 3)
    layer = attention + latent + width + heads + 385 * 3 * hidden * inner + 384 * hidden + 384 + 2 * hidden + mixing
    entries = (3 * 2 + 1) * hidden * width + 4 * (width + width * 128 + 128)
    choosing = 8 * (latent * 32 * 128 + hidden * 32)
    tables = (384_006_168 + 384_016_682) * 256
    joining = 2 * (24 * 256 * 5 * hidden + 2 * 4 * hidden)
    total = 40 * layer + entries + choosing + tables + joining + 2 * 129_280 * hidden + hidden
    model = imported(CONFIGS["deepseek-ai/DeepSeek-V4.1-Flash"]["text_config"] | {"tie_word_embeddings": False})
    assert model.parameters == total == 748_494_669_424
    assert model.active_parameters == total - tables - 40 * 378 * 3 * hidden * inner
    assert (model.ngram_parameters, expert_parameters(model)) == (tables, 40 * 384 * 3 * hidden * inner)


def test_places_of_n_grams_that_lack_a_table_are_refused() -> None:
    text = CONFIGS["deepseek-ai/DeepSeek-V4.1-Flash"]["text_config"]
    with pytest.raises(KvcalcError, match="engram_layer_ids has 1 layers, and engram_num_embeddings 2 tables"):
        imported(text | {"engram_layer_ids": [1]})


def test_experts_in_a_narrower_space_are_active_as_published() -> None:
    values = CONFIGS["nvidia/NVIDIA-Nemotron-3-Ultra-550B-A55B-BF16"]
    assert imported(values).active_parameters == 56_058_818_560
    assert imported({**values, "moe_shared_expert_intermediate_size": None}).parameters is None


def test_llama_4_lists_its_layers_with_experts_or_has_every_so_many() -> None:
    values = WRAPPED["meta-llama/Llama-4-Maverick-17B-128E-Instruct"]
    every_other = {**values, "moe_layers": None, "interleave_moe_layer_step": 2}
    listed = {**values, "moe_layers": list(range(1, 48, 2)), "interleave_moe_layer_step": 1}
    assert imported(every_other).parameters == imported(listed).parameters == imported(values).parameters
    experts, dense = 128 * 3 * 5120 * 8192 + 128 * 5120 + 3 * 5120 * 8192, 3 * 5120 * 16_384
    fewer = imported({**values, "moe_layers": [1], "interleave_moe_layer_step": 1}).parameters
    assert fewer == (imported(values).parameters or 0) - 23 * (experts - dense)


@pytest.mark.parametrize("change", [{"replace_with_linear": True}, {"ffn_mult": None}])
def test_a_block_of_another_shape_is_not_counted(change: dict[str, Any]) -> None:
    blocks = NEMOTRON_SUPER_49B["block_configs"]
    other = [{**blocks[0], "ffn": {**blocks[0]["ffn"], **change}}, *blocks[1:]]
    assert imported({**NEMOTRON_SUPER_49B, "block_configs": other}).parameters is None
    lacking = [{"attention": blocks[0]["attention"]}, *blocks[1:]]
    assert imported({**NEMOTRON_SUPER_49B, "block_configs": lacking}).parameters is None
    without = [{**blocks[0], "ffn": {"no_op": True}}, *blocks[1:]]
    width = 14_336  # two thirds of 2.625 x 8192
    fewer = imported({**NEMOTRON_SUPER_49B, "block_configs": without}).parameters
    assert fewer == 49_867_145_216 - 3 * 8192 * width - 8192
