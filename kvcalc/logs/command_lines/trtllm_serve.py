"""Options of `trtllm-serve` (tensorrt_llm/commands/serve.py): as 1.1 names them, and as later versions do."""

from __future__ import annotations

from types import MappingProxyType

from kvcalc.logs.command_lines.base import NOTHING, ONE, CommandLine

TRTLLM_SERVE = CommandLine(
    "tensorrt-llm",
    settings=MappingProxyType(
        {
            "model": "MODEL",
            "tensor_parallel_size": "--tp",
            "tp_size": "--tp",
            "pipeline_parallel_size": "--pp",
            "pp_size": "--pp",
            "moe_expert_parallel_size": "--ep",
            "ep_size": "--ep",
            "max_batch_size": "--batch",
            "max_seq_len": "--context",
            "kv_cache_dtype": "--cache-dtype",
            "free_gpu_memory_fraction": "free-gpu-memory-fraction",
            "kv_cache_free_gpu_memory_fraction": "free-gpu-memory-fraction",
        }
    ),
    flags=MappingProxyType({}),
    switches=frozenset({"trust_remote_code", "enable_chunked_prefill", "fail_fast_on_attention_window_too_large"}),
    refused=MappingProxyType(
        {
            "extra_llm_api_options": NOTHING,
            "config": NOTHING,
            "context_parallel_size": ONE,
            "cp_size": ONE,
            "moe_cluster_parallel_size": ONE,
            "cluster_size": ONE,
            "max_beam_width": ONE,
            "backend": (*NOTHING, "pytorch"),
        }
    ),
    joins="_",
    noted=frozenset({"max_num_tokens"}),
)
