"""What is meant where a config.json leaves a key out: defaults of the classes that read them.

Only what decides the cache is listed. Source of each: transformers 5.24.0, models/<name>/configuration_<name>.py.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from kvcalc.importers.config_json.expert_defaults import EXPERT_DEFAULTS

if TYPE_CHECKING:
    from collections.abc import Mapping

_DEFAULTS: Mapping[str, Mapping[str, Any]] = MappingProxyType(
    {
        "gpt2": {"tie_word_embeddings": True},
        "opt": {"tie_word_embeddings": True},
        "bloom": {"tie_word_embeddings": True},
        "stablelm": {"num_key_value_heads": 32},
        "gemma": {"num_key_value_heads": 16, "head_dim": 256, "tie_word_embeddings": True},
        "internlm3": {"num_key_value_heads": 2, "head_dim": 128},
        "minimax_m2": {"num_key_value_heads": 8, "head_dim": 128},
        "cohere": {"tie_word_embeddings": True},
        "seed_oss": {"num_key_value_heads": 8, "head_dim": 128},
        "helium": {"num_key_value_heads": 20, "head_dim": 128},
        "exaone": {"num_key_value_heads": 8},
        "glm": {"num_key_value_heads": 2, "head_dim": 128},
        "glm4": {"num_key_value_heads": 2, "head_dim": 128},
        "glm4_moe": {"num_key_value_heads": 8},
        "ernie4_5": {"num_key_value_heads": 2, "head_dim": 128, "tie_word_embeddings": True},
        "ernie4_5_moe": {"num_key_value_heads": 4, "tie_word_embeddings": True},
        "solar_open": {"num_key_value_heads": 8, "head_dim": 128},
        "hy_v3": {"num_key_value_heads": 8, "head_dim": 128},
        "qwen3_vl_text": {"num_key_value_heads": 32, "head_dim": 128},
        "qwen3_vl_moe_text": {"num_key_value_heads": 16, "tie_word_embeddings": True},
        "mistral": {"num_key_value_heads": 8, "sliding_window": 4096},
        "mixtral": {"num_key_value_heads": 8},
        "ministral": {"num_key_value_heads": 8, "sliding_window": 4096},
        "ministral3": {"num_key_value_heads": 8, "head_dim": 128},
        "phimoe": {"num_key_value_heads": 8},
        "starcoder2": {"num_key_value_heads": 2, "tie_word_embeddings": True},
        "qwen2": {"num_key_value_heads": 32, "sliding_window": 4096},
        "qwen2_moe": {"num_key_value_heads": 16, "sliding_window": 4096},
        "qwen2_vl_text": {"num_key_value_heads": 8, "sliding_window": 4096},
        "qwen2_5_vl_text": {"num_key_value_heads": 8, "sliding_window": 4096},
        "qwen3": {"num_key_value_heads": 32, "head_dim": 128, "sliding_window": 4096},
        "qwen3_moe": {"num_key_value_heads": 4, "sliding_window": 4096},
        "smollm3": {"num_key_value_heads": 4, "tie_word_embeddings": True, "no_rope_layer_interval": 4},
        "dots1": {"num_key_value_heads": 32, "sliding_window": 4096},
        "falcon": {"parallel_attn": True, "tie_word_embeddings": True, "multi_query": True},
        "gpt_bigcode": {"tie_word_embeddings": True, "multi_query": True},
        "mpt": {"tie_word_embeddings": True},
        "gemma2": {"num_key_value_heads": 4, "head_dim": 256, "sliding_window": 4096, "tie_word_embeddings": True},
        "gpt_oss": {"num_key_value_heads": 8, "head_dim": 64, "sliding_window": 128},
        "vaultgemma": {"num_key_value_heads": 4, "head_dim": 256, "sliding_window": 4096, "tie_word_embeddings": True},
        "olmo3": {"sliding_window": 4096},
        "exaone4": {"num_key_value_heads": 32, "sliding_window": 4096, "sliding_window_pattern": 4},
        "exaone_moe": {
            "num_key_value_heads": 32,
            "sliding_window": 4096,
            "sliding_window_pattern": 4,
        },
        "cohere2": {"sliding_window": 4096, "tie_word_embeddings": True, "sliding_window_pattern": 4},
        "afmoe": {"head_dim": 128, "sliding_window": 1024, "global_attn_every_n_layers": 4},
        "muse_glimmer_text": {"num_key_value_heads": 2, "head_dim": 128, "sliding_window": 2048},
        "gemma3_text": {
            "num_attention_heads": 8,
            "num_key_value_heads": 4,
            "head_dim": 256,
            "sliding_window": 4096,
            "tie_word_embeddings": True,
            "sliding_window_pattern": 6,
            "vocab_size": 262_208,
            "max_position_embeddings": 131_072,
        },
        "deepseek_v2": {
            "v_head_dim": 128,
            "kv_lora_rank": 512,
            "q_lora_rank": 1536,
            "qk_nope_head_dim": 128,
            "qk_rope_head_dim": 64,
        },
        "deepseek_v3": {
            "v_head_dim": 128,
            "kv_lora_rank": 512,
            "q_lora_rank": 1536,
            "qk_nope_head_dim": 128,
            "qk_rope_head_dim": 64,
        },
        "glm4_moe_lite": {"q_lora_rank": 768},
        "mistral4": {"q_lora_rank": 1024},
        "youtu": {"tie_word_embeddings": True, "q_lora_rank": 1536},
        "axk1": {"q_lora_rank": 1536},
        "longcat_flash": {"q_lora_rank": 1536},
        "deepseek_v32": {
            "v_head_dim": 128,
            "kv_lora_rank": 512,
            "q_lora_rank": 1536,
            "qk_nope_head_dim": 128,
            "qk_rope_head_dim": 64,
            "index_head_dim": 128,
            "index_n_heads": 64,
            "index_topk": 2048,
        },
        "glm_moe_dsa": {
            "kv_lora_rank": 512,
            "q_lora_rank": 2048,
            "qk_rope_head_dim": 64,
            "index_head_dim": 128,
            "index_n_heads": 32,
        },
        "qwen3_next": {"num_key_value_heads": 2, "head_dim": 256, "full_attention_interval": 4},
        "qwen3_5_text": {"num_key_value_heads": 4, "head_dim": 256, "full_attention_interval": 4},
        "qwen3_5_moe_text": {"num_key_value_heads": 2, "head_dim": 256, "full_attention_interval": 4},
        "bailing_hybrid": {
            "num_key_value_heads": 32,
            "head_dim": 128,
        },
        "minimax": {"num_key_value_heads": 8},
        "lfm2": {"num_key_value_heads": 8, "tie_word_embeddings": True, "conv_L_cache": 3},
        "lfm2_moe": {"num_key_value_heads": 8, "tie_word_embeddings": True, "conv_L_cache": 3},
        "mamba": {"tie_word_embeddings": True},
        "falcon_mamba": {"tie_word_embeddings": True},
        "mamba2": {"head_dim": 64},
        "jamba": {"num_key_value_heads": 8},
        "bamba": {"num_key_value_heads": 8},
        "falcon_h1": {"num_key_value_heads": 8},
        "nemotron_h": {"num_key_value_heads": 8, "head_dim": 128},
        **{name: {"head_dim": 128} for name in ("step3p5", "step3p7_text")},
        "gemma3n_text": {
            "num_key_value_heads": 2,
            "head_dim": 256,
            "sliding_window": 512,
            "tie_word_embeddings": True,
            "num_kv_shared_layers": 15,
            "hidden_size_per_layer_input": 256,
            "vocab_size_per_layer_input": 262_144,
            "altup_num_inputs": 4,
            "laurel_rank": 64,
        },
        "gemma4_text": {
            "num_key_value_heads": 4,
            "head_dim": 256,
            "sliding_window": 512,
            "tie_word_embeddings": True,
            "global_head_dim": 512,
            "hidden_size_per_layer_input": 256,
            "vocab_size_per_layer_input": 262_144,
        },
        "llama4_text": {
            "num_key_value_heads": 8,
            "head_dim": 128,
            "no_rope_layer_interval": 4,
            "attention_chunk_size": 8192,
        },
        "mimo_v2_flash": {"num_key_value_heads": 4, "head_dim": 192, "sliding_window": 129},
        "laguna": {"num_key_value_heads": 8, "head_dim": 128, "sliding_window": 512, "gating": True},
        "mllama_text_model": {"num_key_value_heads": 8},
        "qwen2_vl": {"num_key_value_heads": 8, "sliding_window": 4096},
        "qwen2_5_vl": {"num_key_value_heads": 8, "sliding_window": 4096},
    }
)

_READ_AS = {"kimi_k2": "deepseek_v3"}
"""Types without a class, and those whose class engines read them with (vLLM, vllm/transformers_utils/config.py)."""

SIZES = (
    "hidden_size",
    "intermediate_size",
    "num_hidden_layers",
    "num_attention_heads",
    "vocab_size",
    "max_position_embeddings",
)
NESTED: Mapping[str, tuple[int, ...]] = MappingProxyType(
    {
        "llama": (4096, 11008, 32, 32, 32_000, 2048),
        "mistral": (4096, 14336, 32, 32, 32_000, 131_072),
        "qwen2": (4096, 22016, 32, 32, 151_936, 32_768),
        "qwen3": (4096, 22016, 32, 32, 151_936, 32_768),
        "gemma": (3072, 24576, 28, 16, 256_000, 8192),
        "gemma2": (2304, 9216, 26, 8, 256_000, 8192),
        "gemma3_text": (2304, 9216, 26, 8, 262_208, 131_072),
        "phi3": (3072, 8192, 32, 32, 32_064, 4096),
    }
)
"""Sizes that a text_config leaves out where they are the class's own, as transformers writes one; a file that is not
nested has them all. LLaVA's text_config has little more than its model_type."""


def class_defaults(model_type: str, *, nested: bool = False) -> Mapping[str, Any]:
    """Those of the class that reads this model_type. Output heads are not tied unless it is listed.

    Args:
        model_type: of the text model.
        nested: whether it is in a text_config.
    """
    sizes = dict(zip(SIZES, NESTED[model_type], strict=True)) if nested and model_type in NESTED else {}
    own = _DEFAULTS.get(_READ_AS.get(model_type, model_type), {})
    return {"tie_word_embeddings": False, **sizes, **own, **EXPERT_DEFAULTS.get(model_type, {})}
