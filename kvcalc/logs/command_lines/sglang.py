"""Options of `python -m sglang.launch_server` (sglang/srt/server_args.py, ServerArgs)."""

from __future__ import annotations

from types import MappingProxyType

from kvcalc.logs.command_lines.base import NOTHING, OFF, ONE, CommandLine
from kvcalc.logs.sglang.settings import SETTINGS, SINCE

_MOVES_MEMORY = (
    *("enable_unified_memory", "enable_paged_experts", "enable_kv_cache_sharding"),
    *("enable_dsa_cache_layer_split", "enable_int8_mamba_checkpoint", "enable_linear_replayssm", "is_embedding"),
    *("enable_deepseek_v4_fp4_indexer", "enable_multi_layer_eagle", "prefill_only_disable_kv_cache", "encoder_only"),
    *("language_only", "enable_shared_experts_attn_tp", "enable_dense_mlp_attn_tp", "ple_offload_embedding"),
    *(
        "enable_encoder_swa_bounded_replay",
        "enable_linear_replayssm_spec",
        "speculative_adaptive",
        "quantize_and_serve",
    ),
    *("enable_pdmux", "mm_enable_dp_encoder"),
)
"""Switches that divide weights or the cache otherwise, or leave some of them out."""

_DECIDE_SHARE = (
    *("cuda_graph_bs", "cuda_graph_bs_decode", "cuda_graph_bs_prefill", "cuda_graph_max_bs_prefill"),
    *("cuda_graph_config", "cuda_graph_backend_decode", "cuda_graph_backend_prefill", "disable_decode_cuda_graph"),
    *("enable_piecewise_cuda_graph", "piecewise_cuda_graph_tokens", "piecewise_cuda_graph_max_tokens"),
    *("moe_a2a_backend", "language_model_only", "enable_multimodal", "enable_two_batch_overlap"),
)
"""What graphs, buffers of experts and towers are reserved for (sglang/srt/arg_groups/memory_hook.py)."""

SGLANG = CommandLine(
    "sglang",
    settings=MappingProxyType(
        {name: option for name, option in SETTINGS.items() if name not in {*SINCE, "kv_dtype"}}
        | {
            "disable_hybrid_swa_memory": "disable-hybrid-swa-memory",
            "speculative_algorithm": "draft method",
            "speculative_draft_model_path": "draft",
            "speculative_draft_model": "draft",
            "speculative_num_steps": "draft steps",
            "speculative_eagle_topk": "draft width",
            "speculative_num_draft_tokens": "draft tokens",
            "enable_lora": "enable lora",
            "max_lora_rank": "--lora",
            "max_loras_per_batch": "--max-loras",
            "lora_target_modules": "--lora-modules",
        }
    ),
    flags=MappingProxyType({}),
    switches=frozenset(
        {
            "enable_dp_attention",
            "enable_ep_moe",
            "disable_radix_cache",
            "disable_cuda_graph",
            "disable_prefill_cuda_graph",
            "disable_piecewise_cuda_graph",
            "disable_overlap_schedule",
            "disable_hybrid_swa_memory",
            "enable_hisparse",
            "trust_remote_code",
            "enable_metrics",
            "enable_lora",
            "skip_server_warmup",
            "enable_torch_compile",
            "enable_mixed_chunk",
            "enable_dp_lm_head",
            "language_model_only",
            "enable_multimodal",
            "disable_decode_cuda_graph",
            "enable_piecewise_cuda_graph",
            "enable_eplb",
            "enable_memory_saver",
            "enable_two_batch_overlap",
            "enable_symm_mem",
            *_MOVES_MEMORY,
        }
    ),
    refused=MappingProxyType(
        {
            "config": NOTHING,
            "cpu_offload_gb": OFF,
            "json_model_override_args": (*NOTHING, "{}"),
            "lora_paths": NOTHING,
            "dcp_size": ONE,
            "decode_context_parallel_size": ONE,
            "attn_cp_size": ONE,
            "attention_context_parallel_size": ONE,
            "moe_dp_size": ONE,
            "moe_data_parallel_size": ONE,
            "moe_dense_tp_size": NOTHING,
            "shared_experts_tp_size": NOTHING,
            "dwdp_size": ONE,
            "kt_method": NOTHING,
            "kt_weight_path": NOTHING,
            "kt_num_gpu_experts": NOTHING,
            "dllm_algorithm": NOTHING,
            "modelopt_quant": NOTHING,
            "qsa_indexer_dtype": NOTHING,
            "dsv4_attn_backend": NOTHING,
            "dsv4_kv_layout": ("", "v4"),
            "dsv4_compressed_kv_layout": NOTHING,
            "dsv4_compress_state_dtype": ("", "float32"),
            "dsv41_engram_host_table": OFF,
            "online_compress": OFF,
            "post_capture_kv_sizing": OFF,
            "swa_prefix_tails": NOTHING,
            "offload_group_size": ("-1", *OFF),
            **dict.fromkeys(_MOVES_MEMORY, OFF),
            "disaggregation_mode": (*NOTHING, "null"),
        }
    ),
    environment=MappingProxyType(
        {
            "SGLANG_DSV4_KV_LAYOUT": "dsv4_kv_layout",
            "SGLANG_DSV4_COMPRESSED_KV_LAYOUT": "dsv4_compressed_kv_layout",
            "SGLANG_DSV4_COMPRESS_STATE_DTYPE": "dsv4_compress_state_dtype",
            "SGLANG_ENABLE_DSV41_ENGRAM_HOST_TABLE": "dsv41_engram_host_table",
            "SGLANG_OPT_USE_ONLINE_COMPRESS": "online_compress",
            "SGLANG_ENABLE_POST_CAPTURE_KV_SIZING": "post_capture_kv_sizing",
        }
    ),
    lists=frozenset(
        {
            *("lora_paths", "lora_target_modules", "cuda_graph_bs", "cuda_graph_bs_decode", "cuda_graph_bs_prefill"),
            "piecewise_cuda_graph_tokens",
        }
    ),
    decide=MappingProxyType(dict.fromkeys(_DECIDE_SHARE, "mem-fraction-static")),
    noted=frozenset(
        {
            *_DECIDE_SHARE,
            "max_loaded_loras",
            "attention_backend",
            "dsa_prefill_backend",
            "dsa_decode_backend",
            "nsa_prefill_backend",
            "nsa_decode_backend",
            "enable_torch_compile",
            "enable_dp_lm_head",
            "max_prefill_tokens",
            "enable_mixed_chunk",
            "ep_num_redundant_experts",
            "enable_eplb",
            "enable_memory_saver",
            "enable_symm_mem",
            "mamba_max_states_per_path",
        }
    ),
)
