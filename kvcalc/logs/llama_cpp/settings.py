"""What llama.cpp calls its settings and the keys of a model's file, as it prints them and on its command line."""

from __future__ import annotations

from types import MappingProxyType

SETTINGS = MappingProxyType(
    {
        "model": "MODEL",
        "n_ctx_seq": "n_ctx_seq",
        "n_ctx_per_seq": "n_ctx_seq",
        "n_seq_max": "n_seq_max",
        "streams": "streams",
        "parallel": "n_seq_max",
        "ctx_size": "n_ctx",
        "n_ubatch": "ubatch-size",
        "ubatch_size": "ubatch-size",
        "flash_attn": "flash-attn",
        "kv_unified": "kv-unified",
        "swa_full": "swa-full",
        "type_k": "type_k",
        "type_v": "type_v",
        "cache_type_k": "type_k",
        "cache_type_v": "type_v",
        "n_rs_seq": "draft-n",
        "n_outputs_max": "n-outputs-max",
        "n_gpu_layers": "n-gpu-layers",
        "gpu_layers": "n-gpu-layers",
        "n_cpu_moe": "n-cpu-moe",
        "no_kv_offload": "no-kv-offload",
        "tensor_split": "tensor-split",
        "ollama_new_engine": "ollama-new-engine",
        "served": "served",
    }
)
"""What llama.cpp calls them: its own options, or what kvcalc's batch and context are made of."""

FLAGS = MappingProxyType(
    {
        "-m": "model",
        "-c": "ctx_size",
        "-np": "parallel",
        "-ub": "ubatch_size",
        "-fa": "flash_attn",
        "-ctk": "cache_type_k",
        "-ctv": "cache_type_v",
        "-ngl": "n_gpu_layers",
        "-ncmoe": "n_cpu_moe",
        "-nkvo": "no_kv_offload",
        "-ts": "tensor_split",
        "-kvu": "kv_unified",
    }
)
"""common/arg.cpp."""

METADATA = MappingProxyType(
    {
        "arch": "general.architecture",
        "n_ctx_train": "context_length",
        "n_embd": "embedding_length",
        "n_layer": "block_count",
        "n_head": "attention.head_count",
        "n_head_kv": "attention.head_count_kv",
        "n_rot": "rope.dimension_count",
        "n_swa": "attention.sliding_window",
        "n_embd_head_k": "attention.key_length",
        "n_embd_head_v": "attention.value_length",
        "n_embd_head_k_mla": "attention.key_length_mla",
        "n_embd_head_v_mla": "attention.value_length_mla",
        "n_ff": "feed_forward_length",
        "n_expert": "expert_count",
        "n_expert_used": "expert_used_count",
        "n_ff_exp": "expert_feed_forward_length",
        "n_layer_dense_lead": "leading_dense_block_count",
        "n_lora_q": "attention.q_lora_rank",
        "n_lora_kv": "attention.kv_lora_rank",
        "ssm_d_conv": "ssm.conv_kernel",
        "ssm_d_inner": "ssm.inner_size",
        "ssm_d_state": "ssm.state_size",
        "ssm_dt_rank": "ssm.time_step_rank",
        "ssm_n_group": "ssm.group_count",
        "n_vocab": "vocab_size",
        "general.name": "general.name",
    }
)
"""Keys of GGUF, without the architecture, by what print_info calls them (src/llama-model.cpp)."""
