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


QWEN: dict[str, Any] = {
    "model_type": "qwen4_exp_text",
    "vocab_size": 248_320,
    "hidden_size": 2560,
    "num_hidden_layers": 48,
    "num_attention_heads": 24,
    "num_key_value_heads": 2,
    "head_dim": 256,
    "layer_types": [*["linear_attention"] * 3, "full_attention"] * 12,
    "full_attention_interval": 4,
    "linear_num_key_heads": 16,
    "linear_num_value_heads": 48,
    "linear_key_head_dim": 128,
    "linear_value_head_dim": 128,
    "linear_conv_kernel_dim": 4,
    "mamba_ssm_dtype": "float32",
    "num_experts": 512,
    "num_experts_per_tok": 10,
    "moe_intermediate_size": 640,
    "shared_expert_intermediate_size": 640,
    "indexer_budget": 2048,
    "indexer_compress_ratio": 4,
    "indexer_head_dim": 128,
    "indexer_kv_heads": 1,
    "indexer_n_heads": 4,
    "hc_count": 4,
    "hc_lowrank": 320,
    "ngram_size": 3,
    "heads_per_ngram": 8,
    "ngram_vocab_size_base": 20_000_000,
    "make_ngram_vocab_size_divisible_by": 128,
    "split_ngram_parts": 128,
    "ple_layer_ids": [2],
    "ple_embed_dim": 2560,
    "ple_conv_kernel_size": 4,
    "mtp_num_hidden_layers": 1,
    "mtp_use_dedicated_embeddings": False,
    "eos_token_id": 248_044,
    "rms_norm_eps": 1e-6,
    "hidden_act": "silu",
    "output_gate_type": "sigmoid",
    "attention_bias": False,
    "tie_word_embeddings": False,
    "max_position_embeddings": 262_144,
    "rope_parameters": {
        "rope_type": "default",
        "rope_theta": 10_000_000,
        "partial_rotary_factor": 0.25,
        "mrope_section": [11, 11, 10],
        "mrope_interleaved": True,
    },
}
"""Qwen3.8-Flash-Next's text model, as several readers of its file check it (MTPLX, mlx-vlm, llama.cpp's converter)."""


def qwen(**changes: Any) -> dict[str, Any]:
    """Qwen3.8-Flash-Next, with some keys of its text model changed."""
    return {
        "architectures": ["Qwen4ExpForConditionalGeneration"],
        "model_type": "qwen4_exp",
        "dtype": "bfloat16",
        "text_config": {**QWEN, **changes},
        "vision_config": {"model_type": "qwen4_exp_vision"},
    }
