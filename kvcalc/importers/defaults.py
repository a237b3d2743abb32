"""What is meant where a config.json leaves a key out: defaults of the classes that read them.

Only what decides the cache stands here. Source of each: transformers 5.24.0, models/<name>/configuration_<name>.py.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

_LATENT = {"qk_nope_head_dim": 128, "qk_rope_head_dim": 64, "v_head_dim": 128, "kv_lora_rank": 512}

_DEFAULTS: Mapping[str, Mapping[str, Any]] = MappingProxyType(
    {
        "mistral": {"num_key_value_heads": 8, "sliding_window": 4096},
        "mixtral": {"num_key_value_heads": 8},
        "starcoder2": {"num_key_value_heads": 2, "tie_word_embeddings": True},
        "qwen2": {"num_key_value_heads": 32, "sliding_window": 4096},
        "qwen2_moe": {"num_key_value_heads": 16, "sliding_window": 4096},
        "qwen3": {"num_key_value_heads": 32, "head_dim": 128, "sliding_window": 4096},
        "qwen3_moe": {"num_key_value_heads": 4, "sliding_window": 4096},
        "qwen3_vl_moe_text": {"num_key_value_heads": 16, "head_dim": 128, "tie_word_embeddings": True},
        "qwen3_next": {"num_key_value_heads": 2, "head_dim": 256, "full_attention_interval": 4},
        "qwen3_5_text": {"num_key_value_heads": 4, "head_dim": 256, "full_attention_interval": 4},
        "qwen3_5_moe_text": {"num_key_value_heads": 2, "head_dim": 256, "full_attention_interval": 4},
        "gemma": {"num_key_value_heads": 16, "head_dim": 256, "tie_word_embeddings": True},
        "gemma2": {
            "num_key_value_heads": 4,
            "head_dim": 256,
            "sliding_window": 4096,
            "tie_word_embeddings": True,
        },
        "gemma3_text": {
            "num_attention_heads": 8,
            "num_key_value_heads": 4,
            "head_dim": 256,
            "sliding_window": 4096,
            "sliding_window_pattern": 6,
            "tie_word_embeddings": True,
            "vocab_size": 262_208,
            "max_position_embeddings": 131_072,
        },
        "gemma4_text": {
            "num_key_value_heads": 4,
            "head_dim": 256,
            "global_head_dim": 512,
            "sliding_window": 512,
            "tie_word_embeddings": True,
        },
        "gpt_oss": {"num_key_value_heads": 8, "head_dim": 64, "sliding_window": 128},
        "minimax_m2": {"num_key_value_heads": 8, "head_dim": 128},
        "olmo3": {"sliding_window": 4096},
        "exaone4": {"num_key_value_heads": 32, "sliding_window": 4096, "sliding_window_pattern": 4},
        "cohere": {"tie_word_embeddings": True},
        "cohere2": {"sliding_window": 4096, "sliding_window_pattern": 4, "tie_word_embeddings": True},
        "seed_oss": {"num_key_value_heads": 8, "head_dim": 128},
        "falcon": {"multi_query": True, "tie_word_embeddings": True},
        "gpt_bigcode": {"multi_query": True, "tie_word_embeddings": True},
        "gpt2": {"tie_word_embeddings": True},
        "llama4_text": {"num_key_value_heads": 8, "head_dim": 128, "attention_chunk_size": 8192},
        "deepseek_v2": {**_LATENT},
        "deepseek_v3": {**_LATENT},
        "deepseek_v32": {**_LATENT, "index_head_dim": 128, "index_n_heads": 64, "index_topk": 2048},
        "glm_moe_dsa": {"kv_lora_rank": 512, "qk_rope_head_dim": 64, "index_head_dim": 128, "index_n_heads": 32},
        "nemotron_h": {"num_key_value_heads": 8, "head_dim": 128},
    }
)


def class_defaults(model_type: str) -> Mapping[str, Any]:
    """Those of the class that reads this model_type. Output heads are not tied where nothing else stands here."""
    return {"tie_word_embeddings": False, **_DEFAULTS.get(model_type, {})}
