"""Tiny models of every kind of layer, as config.json has them, and what transformers' own caches hold of them."""

from __future__ import annotations

import inspect
from math import prod
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

BATCH, PROMPT, MAX_CACHE_LEN = 2, 20, 24
"""A prompt, and one more token; a static cache for a few more."""

USUAL = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "vocab_size": 64,
    "max_position_embeddings": 256,
    "pad_token_id": 0,
    "torch_dtype": "bfloat16",
}
LATENT = {
    **USUAL,
    "num_hidden_layers": 3,
    "num_key_value_heads": 4,
    "kv_lora_rank": 16,
    "q_lora_rank": 24,
    "qk_rope_head_dim": 8,
    "qk_nope_head_dim": 12,
    "v_head_dim": 10,
}
EXPERTS = {
    "n_routed_experts": 4,
    "num_experts_per_tok": 2,
    "moe_intermediate_size": 16,
    "n_shared_experts": 1,
    "first_k_dense_replace": 1,
    "n_group": 1,
    "topk_group": 1,
}
INDEX = {"index_head_dim": 16, "index_n_heads": 2, "index_topk": 4}
MAMBA = {"state_size": 6, "conv_kernel": 4, "hidden_size": 32, "num_hidden_layers": 2, "vocab_size": 64}
MAMBA2 = {"mamba_n_heads": 8, "mamba_d_head": 8, "mamba_n_groups": 2, "mamba_d_state": 6, "mamba_d_conv": 4}
DELTA = {
    "linear_num_key_heads": 2,
    "linear_num_value_heads": 4,
    "linear_key_head_dim": 8,
    "linear_value_head_dim": 6,
    "linear_conv_kernel_dim": 4,
}
SLIDING = {"sliding_window": 9, "layer_types": ["sliding_attention", "full_attention"] * 2}
LINEAR = {"layer_types": ["linear_attention"] * 3 + ["full_attention"]}

MODELS: dict[str, dict[str, Any]] = {
    "llama": USUAL,
    "gpt2": {"n_embd": 32, "n_layer": 2, "n_head": 4, "vocab_size": 64, "n_positions": 256, "torch_dtype": "bfloat16"},
    "falcon": {
        "hidden_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "multi_query": True,
        "vocab_size": 64,
        "torch_dtype": "bfloat16",
    },
    "mistral": {**USUAL, "sliding_window": 9},
    "phi3": {**USUAL, "sliding_window": 9},
    "gemma2": {**USUAL, **SLIDING},
    "gemma3_text": {**USUAL, **SLIDING},
    "gpt_oss": {**USUAL, **SLIDING, "num_local_experts": 4, "num_experts_per_tok": 2},
    "cohere2": {**USUAL, **SLIDING},
    "llama4_text": {
        **USUAL,
        "attention_chunk_size": 8,
        "num_local_experts": 2,
        "intermediate_size_mlp": 48,
        "num_experts_per_tok": 1,
    },
    "gemma3n_text": {
        **USUAL,
        **SLIDING,
        "intermediate_size": [48] * 4,
        "num_kv_shared_layers": 2,
        "hidden_size_per_layer_input": 8,
        "vocab_size_per_layer_input": 64,
        "laurel_rank": 4,
        "altup_num_inputs": 2,
        "activation_sparsity_pattern": [0.0] * 4,
    },
    "gemma4_text": {
        **USUAL,
        **SLIDING,
        "num_kv_shared_layers": 2,
        "hidden_size_per_layer_input": 8,
        "vocab_size_per_layer_input": 64,
        "global_head_dim": 16,
    },
    "deepseek_v2": {**LATENT, **EXPERTS, "topk_method": "greedy"},
    "deepseek_v3": {**LATENT, **EXPERTS},
    "deepseek_v32": {**LATENT, **EXPERTS, **INDEX},
    "glm_moe_dsa": {**LATENT, **EXPERTS, **INDEX},
    "mamba": {**MAMBA, "expand": 2, "torch_dtype": "bfloat16"},
    "falcon_mamba": {**MAMBA, "expand": 2, "torch_dtype": "bfloat16"},
    "mamba2": {**MAMBA, "num_heads": 8, "head_dim": 8, "n_groups": 2, "expand": 2, "torch_dtype": "bfloat16"},
    "jamba": {
        **USUAL,
        "mamba_d_state": 6,
        "mamba_d_conv": 4,
        "mamba_expand": 2,
        "attn_layer_period": 2,
        "attn_layer_offset": 1,
        "num_experts": 2,
        "num_experts_per_tok": 1,
    },
    "bamba": {**USUAL, **MAMBA2, "mamba_expand": 2, "attn_layer_indices": [1]},
    "falcon_h1": {**USUAL, **MAMBA2, "mamba_d_ssm": 64},
    "nemotron_h": {
        **USUAL,
        "hybrid_override_pattern": "M*-M",
        "mamba_num_heads": 8,
        "mamba_head_dim": 8,
        "n_groups": 2,
        "ssm_state_size": 6,
        "conv_kernel": 4,
    },
    "qwen3_next": {
        **USUAL,
        **DELTA,
        **LINEAR,
        "num_experts": 4,
        "num_experts_per_tok": 2,
        "moe_intermediate_size": 16,
        "shared_expert_intermediate_size": 16,
    },
    "qwen3_5_text": {**USUAL, **DELTA, **LINEAR},
    "lfm2": {**USUAL, "conv_L_cache": 3, "layer_types": ["conv", "full_attention", "conv", "conv"]},
    "kimi_linear": {
        **LATENT,
        "num_hidden_layers": 4,
        "num_experts": 4,
        "num_experts_per_token": 2,
        "moe_intermediate_size": 16,
        "num_shared_experts": 1,
        "first_k_dense_replace": 1,
        "linear_attn_config": {
            "full_attn_layers": [4],
            "kda_layers": [1, 2, 3],
            "num_heads": 4,
            "head_dim": 8,
            "short_conv_kernel_size": 4,
        },
    },
    "glm5_next_text": {
        **LATENT,
        **EXPERTS,
        **INDEX,
        "num_hidden_layers": 4,
        "qk_rope_head_dim": 0,
        "index_kpool": 4,
        "mlp_layer_types": ["dense"] + ["sparse"] * 3,
        "linear_num_heads": 4,
        "linear_head_dim": 8,
        "hc_mult": 2,
    },
    "qwen4_exp_text": {
        **USUAL,
        **DELTA,
        "num_experts": 4,
        "num_experts_per_tok": 2,
        "moe_intermediate_size": 16,
        "shared_expert_intermediate_size": 16,
        "layer_types": ["linear_attention", "indexed_attention"] * 2,
        "indexer_n_heads": 2,
        "indexer_kv_heads": 1,
        "indexer_head_dim": 16,
        "indexer_budget": 8,
        "indexer_compress_ratio": 4,
        "hc_count": 2,
        "hc_lowrank": 8,
        "ple_layer_ids": [1],
        "ngram_size": 3,
        "heads_per_ngram": 2,
        "ngram_vocab_size_base": 32,
        "eos_token_id": 1,
    },
    "inkling2_text": {
        **USUAL,
        "num_hidden_layers": 2,
        "swa_num_attention_heads": 4,
        "swa_num_key_value_heads": 1,
        "swa_head_dim": 16,
        "sliding_window_size": 9,
        "layer_types": ["hybrid_sliding", "hybrid"],
        "moe_intermediate_size": 16,
        "n_routed_experts": 4,
        "num_experts_per_tok": 2,
    },
    "minimax": {
        **USUAL,
        "layer_types": ["linear_attention", "full_attention"] * 2,
        "num_local_experts": 2,
        "num_experts_per_tok": 1,
        "block_size": 16,
    },
}

WITHOUT_HEAD = ("glm5_next_text",)
"""Text models whose class with an output head takes pictures too."""


def config_json(name: str) -> dict[str, Any]:
    """The file of a model."""
    return {"model_type": name, **MODELS[name]}


def built(name: str) -> Any:
    """A model with random weights, and its configuration."""
    import torch
    from transformers import AutoModel, AutoModelForCausalLM
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING

    torch.manual_seed(0)
    given = {key: value for key, value in MODELS[name].items() if key != "torch_dtype"}
    config = CONFIG_MAPPING[name](**given)
    kind = AutoModel if name in WITHOUT_HEAD else AutoModelForCausalLM
    return kind.from_config(config, dtype=torch.bfloat16).eval()


def filled_cache(model: Any, *, static: bool) -> Any:
    """Its own cache after a prompt and one more token, or as many as a static one is for.

    What it makes itself where that is no cache of the library's.
    """
    import torch
    from transformers.cache_utils import DynamicCache, StaticCache

    taken = inspect.signature(model.forward).parameters
    name = next(each for each in ("cache", "cache_params", "past_key_values") if each in taken)
    if static:
        cache: Any = StaticCache(config=model.config, max_cache_len=MAX_CACHE_LEN)
    else:
        cache = None if model.config.model_type == "minimax" else DynamicCache(config=model.config)
    with torch.no_grad():
        for tokens in (PROMPT, MAX_CACHE_LEN - PROMPT if static else 1):
            given = {} if cache is None else {name: cache}
            answer = model(torch.ones((BATCH, tokens), dtype=torch.long), use_cache=True, **given)
            cache = answer[name] if cache is None else cache
    return cache


def cache_bytes(cache: Any) -> int:
    """The bytes of all tensors that a cache holds, as their shapes say."""
    held = (
        getattr(layer, name, None)
        for layer in cache.layers
        for name in (
            "keys",
            "values",
            "indexer_keys",
            "indexer_position_ids",
            "conv_states",
            "recurrent_states",
            "_quantized_keys",
            "_quantized_values",
        )
    )
    of_its_own = getattr(cache, "linear_cache", [])
    return sum(prod(tensor.shape) * tensor.element_size() for each in (*held, of_its_own) for tensor in tensors(each))


def tensors(held: Any) -> Iterator[Any]:
    """Those in nested containers."""
    if hasattr(held, "element_size"):
        yield held
    elif isinstance(held, dict):
        yield from tensors(list(held.values()))
    elif isinstance(held, list | tuple):
        for each in held:
            yield from tensors(each)
