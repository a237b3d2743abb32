"""Keys that a config.json leaves out mean what the model's class takes."""

from __future__ import annotations

from typing import Any

import pytest

from kvcalc.importers.config_json.defaults import class_defaults
from kvcalc.importers.config_json.families import FAMILIES

_ABSENT = [
    "num_key_value_heads",
    "head_dim",
    "sliding_window",
    "tie_word_embeddings",
    "q_lora_rank",
    "num_kv_shared_layers",
    "multi_query",
    "first_k_dense_replace",
    "n_shared_experts",
    "num_shared_experts",
]
"""Keys whose absence means something to a family, so that the class's default must be known."""

_UNUSED = {
    "deepseek_v3",
    "deepseek_v32",
    "glm_moe_dsa",
    "glm4_moe_lite",
    "mistral4",
    "youtu",
    "axk1",
    "longcat_flash",
    "kimi_linear",
    "step3p5",
}
"""Families to which head_dim and num_key_value_heads say nothing, or which ask for them."""


_CLASSES = {"qwen2_vl": "qwen2_vl_text", "qwen2_5_vl": "qwen2_5_vl_text"}
"""Flat files of these are read by another class."""

_NO_CLASS = {
    "baichuan",
    "bailing_moe",
    "chatglm",
    "deepseek",
    "hunyuan",
    "internlm2",
    "kimi_k2",
    "mimo",
    "minimax_m1",
    "minimax_text_01",
    "nemotron-nas",
    "openelm",
    "phi-msft",
    "step3_text",
    "step3p7_text",
}
"""Families whose code is published beside their checkpoints, not in transformers 5.24.0."""


@pytest.mark.parametrize("model_type", [each for each in FAMILIES if each not in _NO_CLASS])
@pytest.mark.torch
def test_what_an_absent_key_means_is_what_the_class_says(model_type: str) -> None:
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING  # noqa: PLC0415  # slow, and for this only

    config: Any = CONFIG_MAPPING[_CLASSES.get(model_type, model_type)]
    ours = class_defaults(model_type)
    for key in _ABSENT:
        theirs = getattr(config, key, None)
        if key == "first_k_dense_replace" and theirs is None and ours.get(key):
            theirs = config(num_hidden_layers=8).mlp_layer_types.index("sparse")
        if isinstance(theirs, property) or (model_type in _UNUSED and key in {"head_dim", "num_key_value_heads"}):
            continue
        assert (ours.get(key) or None) == (theirs or None), key
