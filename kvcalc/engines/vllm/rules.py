"""vLLM's rules in words, for people; the code that follows them stands in the files beside this one."""

from __future__ import annotations

from kvcalc.engines.base import Rule

INTERFACE = "vllm/v1/kv_cache_interface.py"
PLANNING = "vllm/v1/core/kv_cache_planning.py (before 0.32 kv_cache_utils.py)"
PRINTING = "vllm/v1/core/kv_cache_utils.py"

RULES = (
    Rule(
        "blocks of a request, layers that keep every token",
        "ceil(ceil(max-model-len / dcp) / block-size)",
        f"{INTERFACE}, FullAttentionSpec and MLAAttentionSpec.max_memory_usage_bytes",
    ),
    Rule(
        "blocks of a request, sliding windows",
        "ceil(min(window - 1 + tokens in flight, max-model-len) / block-size) + 1",
        f"{INTERFACE}, SlidingWindowSpec.max_memory_usage_bytes",
    ),
    Rule(
        "blocks of a request, chunks",
        "ceil(min(chunk + tokens in flight, max-model-len) / block-size)",
        f"{INTERFACE}, ChunkedLocalAttentionSpec.max_memory_usage_bytes",
    ),
    Rule(
        "blocks of a request, states",
        "1; 2 where prefix caching keeps the state of the last whole block; more for drafted tokens",
        f"{INTERFACE}, MambaSpec.max_memory_usage_bytes",
    ),
    Rule(
        "blocks of a request, cross attention",
        "ceil(max-num-batched-tokens / block-size)",
        f"{INTERFACE}, CrossAttentionSpec; vllm/config/scheduler.py, max_num_encoder_input_tokens",
    ),
    Rule(
        "layers of a group",
        "as many as the kind with the fewest has, or the most where that is less than 1.5 times as many",
        f"{PLANNING}, get_kv_cache_groups",
    ),
    Rule(
        "bytes of a block",
        "the most that the layers of one group need, whichever group takes it",
        f"{PLANNING}, get_kv_cache_config_from_groups",
    ),
    Rule(
        "tokens of a block beside states",
        "alignment x ceil(bytes of a state / (alignment x bytes of a token and layer))",
        "vllm/platforms/interface.py, _align_hybrid_block_size",
    ),
    Rule("blocks held back", "1 null block on every rank", "vllm/v1/core/block_pool.py, BlockPool"),
    Rule("blocks of a rank", "as many as the rank with the fewest has", f"{PLANNING}, get_kv_cache_configs"),
    Rule(
        "layers of a pipeline stage",
        "layers // pp; what is left goes to the stages before the last, one each, backwards",
        "vllm/distributed/utils.py, get_pp_indices",
    ),
    Rule(
        "concurrency, as printed",
        "blocks / blocks of a request",
        f"{PRINTING}, get_max_concurrency_for_kv_cache_config",
    ),
    Rule(
        "GPU KV cache size, as printed",
        "int(concurrency x max-model-len); before 0.20.1 blocks // groups x block-size x dcp",
        f"{PRINTING}, get_kv_cache_capacity",
    ),
)
"""The cache's, in the order in which they are applied."""
