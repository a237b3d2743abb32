"""Options of `vllm serve` (vllm/engine/arg_utils.py, EngineArgs.add_cli_args)."""

from __future__ import annotations

from types import MappingProxyType

from kvcalc.logs.command_lines.base import NOTHING, OFF, ONE, CommandLine
from kvcalc.logs.command_lines.vllm_options import (
    HARMLESS_OPTIONS,
    LISTS,
    MAY_MATTER,
    OPTIMIZATION_LEVELS,
    REFUSED_VARIABLES,
    SWITCHES,
    VARIABLES,
)
from kvcalc.logs.vllm.settings import FLAGS, SETTINGS, SUFFIXES

VLLM = CommandLine(
    "vllm",
    settings=MappingProxyType(
        {
            **SETTINGS,
            "device_memory_utilization": "--utilization",
            "use_v1": "use-v1",
            "max_seq_len": "",
            "wsl": "",
            "compiles": "",
            "compiled_before": "",
            "num_gpu_blocks_override": "",
            "speculative_config": "speculative config",
            "spec_method": "draft method",
            "spec_model": "draft",
            "spec_tokens": "num-speculative-tokens",
            "enable_lora": "enable lora",
            "max_lora_rank": "--lora",
            "max_loras": "--max-loras",
            "lora_target_modules": "--lora-modules",
            "kv_offloading_size": "offloading size",
            "kv_offloading_backend": "offloading backend",
        }
    ),
    flags=MappingProxyType(
        {
            **FLAGS,
            "-sc": "speculative_config",
            "-pcp": "prefill_context_parallel_size",
            "-dpl": "data_parallel_size_local",
            "-dpn": "data_parallel_rank",
            "-dpr": "data_parallel_start_rank",
            "-dpa": "data_parallel_address",
            "-dpp": "data_parallel_rpc_port",
            "-dpb": "data_parallel_backend",
            "-dpe": "data_parallel_external_lb",
            "-dph": "data_parallel_hybrid_lb",
            "-dpm": "data_parallel_multi_port_external_lb",
            "-asc": "api_server_count",
            "-O": "optimization_level",
            **{f"-O{level[-1]}": level for level in sorted(OPTIMIZATION_LEVELS)},
            "-dc": "diffusion_config",
            "-n": "nnodes",
            "-r": "node_rank",
            "-cc": "compilation_config",
            "-ac": "attention_config",
        }
    ),
    switches=SWITCHES,
    suffixes=SUFFIXES,
    refused=MappingProxyType(
        {
            "config": NOTHING,
            "cpu_offload_gb": OFF,
            "num_gpu_blocks_override": NOTHING,
            "hf_overrides": (*NOTHING, "{}"),
            "hf_config_path": NOTHING,
            "kv_cache_dtype_skip_layers": NOTHING,
            "kv_sharing_fast_prefill": OFF,
            "prefill_context_parallel_size": ONE,
            "speculative_model": NOTHING,
            "disable_sliding_window": OFF,
            "fully_sharded_loras": OFF,
            "mamba_cache_dtype": NOTHING,
            "mamba_block_size": NOTHING,
            "mamba_cache_mode": NOTHING,
            "offload_group_size": OFF,
            "enable_dbo": OFF,
            "enable_hc_sp": OFF,
            "enable_batch_sharded_sampling": OFF,
            "model_impl": (*NOTHING, "vllm"),  # Transformers keeps latents as keys and values of every head
            "quantization_config": (*NOTHING, "{}"),
            "eplb_config": (*NOTHING, "{}"),
            "num_redundant_experts": OFF,
            "use_replayssm": OFF,
            "lora_dtype": NOTHING,
            "enable_tower_connector_lora": OFF,
            "default_mm_loras": (*NOTHING, "{}"),
            "model_class_overrides": (*NOTHING, "{}"),
            "diffusion_config": NOTHING,
            "engram_config": NOTHING,
            "mm_encoder_only": OFF,
            "task": (*NOTHING, "generate"),
            "convert": NOTHING,
            "device": (*NOTHING, "cuda", "rocm"),
            "ubatch_size": (*OFF, "1"),
            "dcp_q_replicate": OFF,
            "enable_moe_shared_loras": OFF,
            "num_scheduler_steps": ONE,
            "enable_prompt_adapter": OFF,
            **REFUSED_VARIABLES,
        }
    ),
    parts=MappingProxyType(
        {
            "attention_config": frozenset(
                {
                    "indexer_kv_dtype",
                    "use_fp4_indexer_cache",
                    "indexer_sparse_logits",
                    "minimax_m3_indexer_cp",
                    "hisparse_config",
                }
            ),
        }
    ),
    words=MappingProxyType({"kv_transfer_config": frozenset({"HiSparseConnector"})}),  # keeps latents in host memory
    noted=frozenset(
        {
            "attention_backend",
            "compilation_config",
            "cudagraph_capture_sizes",
            "max_cudagraph_capture_size",
            "cuda_graph_sizes",
            "max_seq_len_to_capture",
            "enable_eplb",
            "limit_mm_per_prompt",
            "mm_processor_kwargs",
            "optimization_level",
            "kv_transfer_config",
            "max_logprobs",
            "max_cpu_loras",
            "mm_encoder_tp_mode",
            "mm_ipc_gpu_memory_gb",
            "enable_mamba_shared_prefix_checkpoint",
            "swa_bounded_replay",
            "prefix_cache_retention_interval",
            "enable_sleep_mode",
            "enable_elastic_ep",
            "all2all_backend",
            "kernel_config",
            "enable_prompt_embeds",
            "max_num_active_seqs",
            "max_num_scheduled_tokens",
            "cp_kv_cache_interleave_size",
            "dcp_kv_cache_interleave_size",
            *MAY_MATTER,
            *VARIABLES,
        }
    ),
    harmless=HARMLESS_OPTIONS,
    environment=MappingProxyType(
        {
            "VLLM_USE_V1": "use_v1",
            "VLLM_USE_FLASHINFER_SAMPLER": "use_flashinfer_sampler",
            "VLLM_ATTENTION_BACKEND": "attention_backend",
            "VLLM_DCP_Q_REPLICATE": "dcp_q_replicate",
            **{name: name for name in (*REFUSED_VARIABLES, *VARIABLES)},
        }
    ),
    decide=MappingProxyType({"rope_scaling": "--context"}),
    fitted=(
        "--context",
        frozenset({"-1", "auto"}),
    ),  # human_readable_int_or_auto of vllm/engine/arg_utils.py from 0.14 on
    lists=LISTS,
    opposites=("enable_", "disable_"),
    objects=frozenset({"speculative_config"}),
)
