"""config.json of models whose indexer pools its keys: sizes that public code checks their published files against."""

from __future__ import annotations

from typing import Any

_INDEXED = range(3, 45, 4)

GLM: dict[str, Any] = {
    "model_type": "glm5_next_text",
    "vocab_size": 154_880,
    "hidden_size": 4096,
    "intermediate_size": 12_288,
    "moe_intermediate_size": 2048,
    "num_hidden_layers": 45,
    "num_attention_heads": 64,
    "num_key_value_heads": 64,
    "n_routed_experts": 288,
    "n_shared_experts": 1,
    "num_experts_per_tok": 8,
    "n_group": 1,
    "topk_group": 1,
    "kv_lora_rank": 512,
    "q_lora_rank": 1536,
    "qk_nope_head_dim": 256,
    "qk_rope_head_dim": 0,
    "v_head_dim": 256,
    "mla_use_nope": True,
    "index_head_dim": 128,
    "index_n_heads": 32,
    "index_topk": 2048,
    "index_kpool": 4,
    "index_kpool_compress": True,
    "index_kpool_always_select_tail": True,
    "indexer_rope_interleave": True,
    "indexer_types": ["full"] * 45,
    "layer_types": ["deepseek_sparse_attention" if each in _INDEXED else "linear_attention" for each in range(45)],
    "linear_attn_config": {
        "num_heads": 64,
        "head_dim": 128,
        "short_conv_kernel_size": 4,
        "gate_lower_bound": -5.0,
        "full_attn_layers": [*_INDEXED],
        "kda_layers": [each for each in range(45) if each not in _INDEXED],
    },
    "mlp_layer_types": ["dense"] * 3 + ["sparse"] * 42,
    "first_k_dense_replace": 3,
    "hc_mult": 4,
    "mhc": True,
    "max_position_embeddings": 1_048_576,
    "num_nextn_predict_layers": 1,
    "tie_word_embeddings": False,
}
"""GLM-5.3-Flash's text model, as NVIDIA's tests of TensorRT-LLM have it (VariantInventory) and NeMo AutoModel's page of
the model; Glm5NextTextConfig of transformers 5.24.0 has the same sizes, but pools of 16."""


def glm(**changes: Any) -> dict[str, Any]:
    """GLM-5.3-Flash, with some keys of its text model changed."""
    return {
        "architectures": ["Glm5NextForConditionalGeneration"],
        "model_type": "glm5_next",
        "dtype": "bfloat16",
        "text_config": {**GLM, **changes},
        "vision_config": {"model_type": "glm5_next_vision"},
    }
