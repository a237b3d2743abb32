"""What TensorRT-LLM calls its settings, as it prints them and on its command line."""

from __future__ import annotations

from types import MappingProxyType

SETTINGS = MappingProxyType(
    {
        "model": "MODEL",
        "tensor_parallel_size": "--tp",
        "tp_size": "--tp",
        "pipeline_parallel_size": "--pp",
        "pp_size": "--pp",
        "moe_expert_parallel_size": "--ep",
        "ep_size": "--ep",
        "max_seq_len": "--context",
        "kv_cache_dtype": "--cache-dtype",
        "kv_cache_free_gpu_memory_fraction": "free-gpu-memory-fraction",
        "free_gpu_memory_fraction": "free-gpu-memory-fraction",
        "tokens_per_block": "tokens-per-block",
        "max_num_requests": "max requests",
    }
)
"""tensorrt_llm/commands/serve.py; tensorrt_llm/llmapi/llm_args.py."""
