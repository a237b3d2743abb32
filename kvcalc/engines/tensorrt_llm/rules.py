"""TensorRT-LLM's rules in words, for people; the code that follows them stands in the files beside this one."""

from __future__ import annotations

from kvcalc.engines.option import Rule

MANAGER = "tensorrt_llm/_torch/pyexecutor/resource_manager.py"
UTIL = "tensorrt_llm/_torch/pyexecutor/_util.py"

DRAFTS = "tensorrt_llm/_torch/speculative/utils.py, get_num_spec_layers: num_nextn_predict_layers of the request"
"""As 1.1 has it."""
RULES = (
    Rule(
        "memory of the cache",
        "(memory of the card - peak of a profiling run, weights and all) x free-gpu-memory-fraction: a share of "
        "what is free, not of the card. Where the CPU has the same memory (GB10, Jetson) files that were just read "
        "count as used: kvcalc refuses such a card unless --gpu-memory says what is left",
        f"{UTIL}, _cal_max_memory",
    ),
    Rule(
        "bytes of a token",
        "2 x key-value heads of a rank x head_dim x bytes of an element, over the layers of a rank; of latents "
        "kv_lora_rank + qk_rope_head_dim, whole on every rank",
        f"{MANAGER}, get_cache_bytes_per_token",
    ),
    Rule("heads of a rank", "ceil(num_key_value_heads / tp)", f"{MANAGER}, KVCacheManager"),
    Rule(
        "nvfp4",
        "half a byte an element, and an fp8 scale for each 16; on sm100 and sm103",
        f"{MANAGER}, get_cache_bytes_per_token; docs/source/features/quantization.md",
    ),
    Rule("fp8", "on cards from Ada (sm89) on", "docs/source/features/quantization.md, Hardware Support Matrix"),
    Rule(
        "blocks",
        "ceil(floor(min over ranks of memory / bytes of a token) / tokens-per-block), so that the last may not be paid "
        "for; a sequence takes whole blocks",
        f"{MANAGER}, calculate_max_num_blocks; a log of 1.1 has 86,720 tokens for the 86,711 that its memory holds",
    ),
    Rule(
        "KVCacheManagerV2 (kv_cache_config.use_kv_cache_manager_v2)",
        "not followed; it is off where nobody asks for it",
        "tensorrt_llm/llmapi/llm_args.py, KvCacheConfig, of 1.2",
    ),
    Rule(
        "what drafts (--draft, --mtp)",
        "its rows lie in blocks beside the model's; layers of the model's own have a cache for each token they draft",
        DRAFTS,
    ),
    Rule("windows", "every token is kept, unless max_attention_window is given", f"{MANAGER}, KVCacheManager"),
    Rule(
        "pipeline stages",
        "the first (layers mod pp) stages are one layer longer",
        "tensorrt_llm/mapping.py, pp_layers",
    ),
    Rule(
        "prefixes that are equal",
        "whole blocks of them are kept once",
        "tensorrt_llm/llmapi/llm_args.py, KvCacheConfig",
    ),
)
