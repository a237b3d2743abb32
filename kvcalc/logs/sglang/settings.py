"""What SGLang calls its settings, as it prints them and on its command line."""

from __future__ import annotations

from types import MappingProxyType

SINCE = MappingProxyType(
    {
        "enable_dp_lm_head": "0.4.6.post5",
        "sleep_on_idle": "0.4.8",
        "disable_hybrid_swa_memory": "0.4.9.post6",
        "enable_cudagraph_gc": "0.5.1",
        "enable_lmcache": "0.5.2",
        "enable_fp32_lm_head": "0.5.3",
        "grpc_mode": "0.5.4.post3",
        "enable_fused_qk_norm_rope": "0.5.6.post2",
        "enable_dynamic_chunking": "0.5.7",
        "enable_prefill_delayer": "0.5.8",
        "attn_cp_size": "0.5.9",
        "enable_mfu_metrics": "0.5.10.post1",
        "enable_http2": "0.5.11",
        "enable_strict_thinking": "0.5.12.post1",
        "enable_deepseek_v4_fp4_indexer": "0.5.13",
        "disable_decode_cuda_graph": "0.5.14",
        "enable_unified_memory": "0.5.15.post1",
        "enable_waterfill": "0.5.16",
        "enable_linear_replayssm_spec": "0.5.17",
        "language_model_only": "0.5.18",
        "enable_layernorm_sp": "0.5.19",
        "enable_response_store": "0.5.20",
        "enable_pd_role_switch": "0.5.21",
        "enable_watermark": "0.5.22",
        "enable_paged_experts": "0.5.23",
    }
)
"""A setting that ServerArgs prints, always with a value, and the first version read that has it."""

SETTINGS = MappingProxyType(
    {
        "model_path": "MODEL",
        "model": "MODEL",
        "dtype": "--dtype",
        "quantization": "--weight-dtype",
        "kv_cache_dtype": "--cache-dtype",
        "kv_dtype": "kept as",
        "context_length": "--context",
        "tp_size": "--tp",
        "tp": "--tp",
        "tensor_parallel_size": "--tp",
        "pp_size": "--pp",
        "pipeline_parallel_size": "--pp",
        "dp_size": "--dp",
        "dp": "--dp",
        "data_parallel_size": "--dp",
        "ep_size": "--ep",
        "ep": "--ep",
        "expert_parallel_size": "--ep",
        "enable_dp_attention": "--dp-attention",
        "attn_dp_size": "--attn-dp",
        "attention_data_parallel_size": "--attn-dp",
        "mem_fraction_static": "mem-fraction-static",
        "page_size": "page-size",
        "swa_full_tokens_ratio": "swa-full-tokens-ratio",
        "mamba_full_memory_ratio": "mamba-full-memory-ratio",
        "chunked_prefill_size": "chunked-prefill-size",
        "cuda_graph_max_bs": "cuda-graph-max-bs",
        "cuda_graph_max_bs_decode": "cuda-graph-max-bs",
        "max_running_requests": "max-running-requests",
        "max_total_tokens": "max-total-tokens",
        "max_mamba_cache_size": "max-mamba-cache-size",
        "disable_radix_cache": "disable-radix-cache",
        "disable_cuda_graph": "disable-cuda-graph",
        "disable_prefill_cuda_graph": "disable-prefill-cuda-graph",
        "disable_piecewise_cuda_graph": "disable-prefill-cuda-graph",
        "disable_overlap_schedule": "disable-overlap-schedule",
        "mamba_radix_cache_strategy": "mamba-radix-cache-strategy",
        "mamba_scheduler_strategy": "mamba-radix-cache-strategy",
        "enable_hisparse": "enable-hisparse",
        "hisparse_config": "hisparse-config",
        "mamba_ssm_dtype": "--state-dtype",
        "speculative_algorithm": "speculative algorithm",
    }
    | {name: f"since {version}" for name, version in SINCE.items()}
)
"""sglang/srt/server_args.py, ServerArgs, and the names of its options on a command line."""
