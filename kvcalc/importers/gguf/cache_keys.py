"""Keys of GGUF files that decide the cache in some architecture, without the architecture's name."""

from __future__ import annotations

CACHE_KEYS = frozenset(
    {
        "attention.head_count_kv",
        "attention.indexer.head_count",
        "attention.indexer.key_length",
        "attention.indexer.top_k",
        "attention.key_length",
        "attention.indexer.kpool",
        "attention.key_length_mla",
        "attention.key_length_mla_swa",
        "attention.kv_lora_rank_swa",
        "attention.value_length_mla_swa",
        "attention.compress_ratios",
        "num_loops",
        "attention.key_length_swa",
        "attention.kv_lora_rank",
        "attention.recurrent_layers",
        "attention.shared_kv_layers",
        "attention.sliding_window",
        "attention.sliding_window_pattern",
        "attention.value_length",
        "attention.value_length_mla",
        "attention.value_length_swa",
        "decoder_block_count",
        "full_attention_interval",
        "kda.head_dim",
        "shortconv.l_cache",
        "ssm.conv_kernel",
        "ssm.group_count",
        "ssm.inner_size",
        "ssm.state_size",
        "wkv.head_size",
    }
)
"""A file with one of these that its architecture's reader does not read is refused: llama.cpp has changed since."""
