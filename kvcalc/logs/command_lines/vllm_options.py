"""Names of options of `vllm serve` that set nothing kvcalc counts: how they are given, and whether they may matter.

Those of 0.6 to 0.33, from each version's own parser (vllm/engine/arg_utils.py and entrypoints/*/cli_args.py).
"""

from __future__ import annotations

from types import MappingProxyType

from kvcalc.logs.command_lines.base import NOTHING, OFF


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


OPTIMIZATION_LEVELS = _names("optimization_level_0 optimization_level_1 optimization_level_2 optimization_level_3")
"""-O0 to -O3, a flag and its value in one word."""

SWITCHES = OPTIMIZATION_LEVELS | _names(
    """
    aggregate_engine_logging allow_credentials allow_deprecated_quantization async_scheduling calculate_kv_scales
    cohere_is_reasoning_model cudagraph_metrics data_parallel_external_lb data_parallel_hybrid_lb
    data_parallel_multi_port_external_lb dcp_q_replicate disable_async_output_proc disable_cascade_attn
    disable_chunked_mm_input disable_custom_all_reduce disable_fastapi_docs disable_frontend_multiprocessing
    disable_hybrid_kv_cache_manager disable_log_requests disable_log_stats disable_mm_preprocessor_cache
    disable_nccl_for_dp_synchronization disable_sliding_window disable_uvicorn_access_log enable_auto_tool_choice
    enable_batch_sharded_sampling enable_bf16x3_router_gemm enable_chunked_prefill enable_cumem_allocator enable_dbo
    enable_elastic_ep enable_ep_weight_filter enable_eplb enable_expert_parallel enable_fault_tolerance
    enable_flash_late_interaction enable_flashinfer_autotune enable_force_include_usage enable_hc_sp
    enable_layerwise_nvtx_tracing enable_log_deltas enable_log_outputs enable_log_requests
    enable_logging_iteration_details enable_lora enable_lora_bias enable_mamba_cache_stochastic_rounding
    enable_mamba_shared_prefix_checkpoint enable_mfu_metrics enable_mixed_moe_lora_format enable_mm_embeds
    enable_moe_shared_loras enable_multimodal_encoder_data_parallel enable_nccl_comm_suspend enable_offline_docs
    enable_per_request_metrics enable_prefix_caching enable_prompt_adapter enable_prompt_embeds
    enable_prompt_tokens_details enable_reasoning enable_request_id_headers enable_return_routed_experts
    enable_scale_out enable_server_load_tracking enable_shm_tensor_arena enable_sleep_mode enable_ssl_refresh
    enable_tokenizer_info_endpoint enable_tower_connector_lora enable_trace_replay enforce_eager eplb_log_balancedness
    exclude_tools_when_tool_choice_none expand_tools_even_if_tool_choice_none fail_on_environ_validation full_cuda_graph
    fully_sharded_loras grpc headless interleave_mm_strings jit_monitor_verbose kv_cache_metrics kv_sharing_fast_prefill
    language_model_only log_error_stack long_prefill_token_threshold_adaptive mm_device_do_normalize mm_encoder_only
    monokernel multi_step_stream_outputs numa_bind ray_workers_use_nsight return_sampling_mask
    return_tokens_as_token_ids scheduler_reserve_full_isl skip_mm_profiling skip_tokenizer_init
    sleep_mode_offload_cudagraph specialize_active_lora swa_bounded_replay tokens_only trust_remote_code
    trust_request_chat_template trust_request_mm_kwargs use_fp64_gumbel use_replayssm use_tqdm_on_load
    use_v2_block_manager worker_use_ray
    """
)
"""Without a value."""

LISTS = _names(
    """
    allowed_media_domains api_key collect_detailed_traces cpu_offload_params cudagraph_capture_sizes ignore_patterns
    kv_cache_dtype_skip_layers logits_processors lora_modules lora_target_modules numa_bind_cpus numa_bind_nodes
    offload_params served_model_name sleep_preserve_parameter_names
    """
)
"""With several."""

REFUSED_VARIABLES = MappingProxyType(
    {
        "VLLM_MLA_DISABLE": OFF,  # latents are kept as keys and values of every head
        "VLLM_PP_LAYER_PARTITION": NOTHING,  # layers of each pipeline stage
        "VLLM_USE_V2_MODEL_RUNNER": NOTHING,
        "VLLM_ALLOW_CHUNKED_LOCAL_ATTN_WITH_HYBRID_KV_CACHE": OFF,
        "VLLM_REPLICATE_EMBED": OFF,
        "VLLM_MEMORY_PROFILER_ESTIMATE_CUDAGRAPHS": NOTHING,
    }
)
"""Variables of the environment (vllm/envs.py) that change memory, and the values that leave it as it is."""

VARIABLES = _names(
    """
    VLLM_ALLREDUCE_USE_SYMM_MEM VLLM_DEEPEP_BUFFER_SIZE_MB VLLM_FLASHINFER_WORKSPACE_BUFFER_SIZE
    VLLM_KIMI_K3_SHARD_SP_SHARED_EXPERT VLLM_KV_CACHE_LAYOUT VLLM_MXFP4_EMULATION_DEQUANT_AT_LOAD
    VLLM_MXFP8_EMULATION_DEQUANT_AT_LOAD VLLM_ROCM_FP8_PADDING VLLM_ROCM_MOE_PADDING VLLM_ROCM_SHUFFLE_KV_CACHE_LAYOUT
    VLLM_SPARSE_INDEXER_MAX_LOGITS_MB VLLM_STEP5_SHARD_SP_SHARED_EXPERT VLLM_USE_NCCL_SYMM_MEM
    """
)
"""Those that may change memory beside the cache."""

MAY_MATTER = OPTIMIZATION_LEVELS | _names(
    """
    additional_config aux_output_config disable_cascade_attn disable_chunked_mm_input ec_manager_config
    ec_transfer_config elastic_ep_max_dp_size enable_bf16x3_router_gemm enable_cumem_allocator
    enable_flashinfer_autotune enable_lora_bias enable_mixed_moe_lora_format enable_mm_embeds
    enable_multimodal_encoder_data_parallel enable_return_routed_experts enable_trace_replay full_cuda_graph
    ir_op_priority kda_decode_backend kda_prefill_backend linear_backend logits_processors long_lora_scaling_factors
    lora_extra_vocab_size mamba_backend max_lora_cls_labels media_io_kwargs mm_device_do_normalize
    mm_encoder_attn_backend mm_encoder_attn_dtype mm_processor_device mm_tensor_ipc monokernel num_lookahead_slots
    override_attention_dtype qlora_adapter_name_or_path quantization_param_path
    return_sampling_mask rope_scaling sparse_indexer_topk_backend specialize_active_lora
    speculative_disable_by_batch_size speculative_draft_tensor_parallel_size speculative_max_model_len
    speculative_model_quantization use_fp64_gumbel video_pruning_rate watermark worker_cls worker_extension_cls
    """
)
"""Options that may change memory beside the cache, or how much of it is used."""

HARMLESS_OPTIONS = _names(
    """
    allow_credentials allow_deprecated_quantization anthropic_disabled_thinking_effort calculate_kv_scales cohere_format
    cohere_is_reasoning_model collect_detailed_traces config_format cpu_offload_params custom_histogram_buckets
    data_parallel_external_lb data_parallel_hybrid_lb data_parallel_multi_port_external_lb data_parallel_supervisor_port
    dbo_decode_token_threshold dbo_prefill_token_threshold dcp_comm_backend default_chat_template_kwargs device_ids
    disable_async_output_proc disable_fastapi_docs disable_frontend_multiprocessing disable_mm_preprocessor_cache
    disable_nccl_for_dp_synchronization dp_supervisor_probe_failure_threshold dp_supervisor_probe_interval_s
    dp_sync_interval enable_ep_weight_filter enable_fault_tolerance enable_flash_late_interaction
    enable_force_include_usage enable_layerwise_nvtx_tracing enable_mamba_cache_stochastic_rounding
    enable_nccl_comm_suspend enable_offline_docs enable_prompt_tokens_details enable_reasoning enable_request_id_headers
    enable_scale_out enable_server_load_tracking enable_shm_tensor_arena enable_ssl_refresh
    enable_tokenizer_info_endpoint eplb_step_interval eplb_window_size expert_placement_strategy
    fail_on_environ_validation fault_tolerance_config fingerprint_mode fingerprint_value grpc grpc_port
    h11_max_header_count h11_max_incomplete_event_size interleave_mm_strings io_processor_plugin jit_monitor_mode
    jit_monitor_verbose long_prefill_token_threshold long_prefill_token_threshold_adaptive mamba_cache_philox_rounds
    mamba_ssu_algorithm max_long_partial_prefills max_num_partial_prefills max_num_queued_reqs max_num_queued_tokens
    max_parallel_loading_workers max_prompt_adapter_token max_prompt_adapters mm_encoder_fp8_scale_path
    mm_encoder_fp8_scale_save_margin mm_encoder_fp8_scale_save_path mm_hasher_algorithm mm_processor_cache_gb
    mm_processor_cache_type mm_shm_cache_max_object_size_mb model_loader_extra_config multi_step_stream_outputs
    ngram_prompt_lookup_max ngram_prompt_lookup_min numa_bind numa_bind_cpus numa_bind_nodes offload_backend
    offload_num_in_group offload_params offload_prefetch_step otlp_traces_endpoint override_neuron_config
    override_pooler_config pooler_config preemption_mode prefill_schedule_interval prefix_caching_hash_algo
    prefix_match_unit profiler_config prompt_adapters pt_load_map_location ray_workers_use_nsight renderer_num_workers
    replayssm_buffer_len return_tokens_as_token_ids skip_tokenizer_init sleep_mode_backend sleep_mode_offload_cudagraph
    sleep_preserve_parameter_names spec_decoding_acceptance_method speculative_disable_mqa_scorer
    sse_keep_alive_interval tokens_only trust_request_chat_template trust_request_mm_kwargs
    typical_acceptance_sampler_posterior_alpha typical_acceptance_sampler_posterior_threshold uds use_tqdm_on_load
    use_v2_block_manager video_pruning_method watermark_config weight_transfer_config worker_use_ray
    """
)
"""Options of vLLM's alone that change no memory of a card, beside those that all engines have."""
