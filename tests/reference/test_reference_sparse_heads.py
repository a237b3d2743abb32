"""What transformers' MiniMax-M3 really keeps of a small model, against what kvcalc reads of its config.json."""

from __future__ import annotations

import json
from typing import Any

import pytest
import torch

import kvcalc
from kvcalc.importers import import_config

DIMS: dict[str, Any] = {
    "hidden_size": 32,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 16,
    "rotary_dim": 8,
    "vocab_size": 64,
    "dense_intermediate_size": 32,
    "intermediate_size": 16,
    "shared_intermediate_size": 16,
    "num_local_experts": 4,
    "num_experts_per_tok": 2,
    "moe_layer_freq": [0, 1, 1],
    "sparse_attention_config": {
        "sparse_attention_freq": [0, 1, 1],
        "sparse_num_index_heads": 2,
        "sparse_index_dim": 16,
        "sparse_block_size": 4,
        "sparse_topk_blocks": 2,
        "sparse_local_block": 1,
    },
}


def elements(layer: Any) -> int:
    kept = [layer.keys, layer.values, getattr(layer, "idx_keys", None)]
    return sum(each.numel() for each in kept if each is not None)


@pytest.mark.torch
def test_its_cache_has_the_elements_that_are_counted() -> None:
    from transformers import DynamicCache
    from transformers.models.minimax_m3_vl import configuration_minimax_m3_vl as settings
    from transformers.models.minimax_m3_vl import modeling_minimax_m3_vl as theirs

    tokens = 21
    config: Any = settings.MiniMaxM3VLTextConfig(**DIMS)
    cache: Any = DynamicCache(config=config)
    model: Any = theirs.MiniMaxM3VLTextModel(config)
    with torch.no_grad():
        model.eval()(torch.arange(tokens).unsqueeze(0), cache=cache)
    kept = [elements(layer) for layer in cache.layers]
    text = json.dumps({**DIMS, "model_type": "minimax_m3_vl_text", "torch_dtype": "bfloat16"})
    found = kvcalc.estimate(import_config(text, "config.json", "small").model, context=tokens, cache_dtype="bf16").cache
    assert found.bytes == 2 * sum(kept)
    assert kept == [tokens * 64, *[tokens * (64 + 16)] * 2]
