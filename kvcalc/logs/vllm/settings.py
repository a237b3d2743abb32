"""What vLLM calls its settings, as it prints them and on its command line."""

from __future__ import annotations

from types import MappingProxyType

SETTINGS = MappingProxyType(
    {
        "model": "MODEL",
        "model_tag": "MODEL",
        "dtype": "--dtype",
        "quantization": "--weight-dtype",
        "kv_cache_dtype": "--cache-dtype",
        "max_model_len": "--context",
        "max_seq_len": "--context",
        "gpu_memory_utilization": "--utilization",
        "tensor_parallel_size": "--tp",
        "pipeline_parallel_size": "--pp",
        "data_parallel_size": "--dp",
        "decode_context_parallel_size": "--dcp",
        "enable_expert_parallel": "--ep",
        "max_num_seqs": "max-num-seqs",
        "max_num_batched_tokens": "max-num-batched-tokens",
        "block_size": "block-size",
        "enable_prefix_caching": "enable-prefix-caching",
        "disable_hybrid_kv_cache_manager": "disable-hybrid-kv-cache-manager",
        "enable_chunked_prefill": "enable-chunked-prefill",
        "async_scheduling": "async-scheduling",
        "enforce_eager": "enforce-eager",
        "kv_cache_memory_bytes": "kv-cache-memory-bytes",
        "kv_cache_memory": "kv-cache-memory-bytes",
        "mamba_ssm_cache_dtype": "--state-dtype",
        "performance_mode": "performance-mode",
        "use_flashinfer_sampler": "use-flashinfer-sampler",
        "moe_backend": "moe-backend",
        "gdn_prefill_backend": "gdn-prefill-backend",
        "runner": "runner",
        "language_model_only": "language-model-only",
        "skip_mm_profiling": "skip-mm-profiling",
        "num_gpu_blocks_override": "num-gpu-blocks-override",
        "wsl": "WSL",
        "compiles": "compiles",
        "compiled_before": "compiled-before",
        "num_speculative_tokens": "num-speculative-tokens",
        "num_spec_tokens": "num-speculative-tokens",
    }
)
"""engine/arg_utils.py, EngineArgs, and VllmConfig.__str__ of config/vllm.py, whose names differ in a few."""

FLAGS = MappingProxyType(
    {
        "-tp": "tensor_parallel_size",
        "-pp": "pipeline_parallel_size",
        "-dp": "data_parallel_size",
        "-dcp": "decode_context_parallel_size",
        "-ep": "enable_expert_parallel",
        "-q": "quantization",
    }
)

SUFFIXES = MappingProxyType(
    {"k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12, "K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}
)
"""utils/argparse_utils.py, human_readable_int: how numbers may be written on the command line."""
