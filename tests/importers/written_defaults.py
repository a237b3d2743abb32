"""What transformers' classes fill in where a config.json leaves a key out, as kvcalc keeps it.

    python tests/importers/written_defaults.py --write

renews kvcalc/importers/config_json/class_defaults.json from the transformers that is installed; a test compares them.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from kvcalc.importers.config_json import defaults
from kvcalc.importers.config_json.families import FAMILIES
from kvcalc.importers.config_json.spellings import SPELLINGS

PATH = Path(defaults.__file__).with_name("class_defaults.json")
CLASSES = {"qwen2_vl": "qwen2_vl_text", "qwen2_5_vl": "qwen2_5_vl_text"}
"""Flat files of these are read by another class."""

_KEYS = """
attention_head_dim attention_hidden_size attention_k_eq_v attn_layer_offset attn_layer_period conv_kernel
conv_kernel_size conv_L_cache decoder_sparse_step expand first_k_dense_replace global_head_dim H_cycles
hc_count hc_lowrank hc_mult head_dim heads_per_ngram hidden_size hidden_size_per_layer_input index_block_size
index_head_dim index_kpool index_n_heads index_topk index_topk_blocks indexer_budget indexer_compress_ratio
indexer_head_dim indexer_kv_heads indexer_n_heads intermediate_size kv_channels kv_lora_rank L_cycles
linear_conv_kernel_dim linear_head_dim linear_key_head_dim linear_num_heads linear_num_key_heads
linear_num_value_heads linear_value_head_dim local_attention loop_layer_index_end loop_layer_index_start
loop_num_passes make_ngram_vocab_size_divisible_by mamba_d_conv mamba_d_head mamba_d_ssm mamba_d_state
mamba_expand mamba_head_dim mamba_n_groups mamba_n_heads mamba_ngroups mamba_num_heads
max_encoder_position_embeddings max_position_embeddings max_source_positions moe_intermediate_size moe_k
moe_num_experts moe_num_shared_experts moe_topk multi_query n_groups n_input_layers n_mamba_heads
n_output_layers n_recurrent_loops n_routed_experts n_shared_experts ngram_size ngram_vocab_size_base
num_attention_heads num_experts num_experts_per_tok num_hidden_layers num_key_value_heads num_kv_shared_layers
num_local_experts num_shared_experts o_groups o_lora_rank ple_conv_kernel_size
prefix_dense_sliding_window_pattern q_lora_rank qk_nope_head_dim qk_rope_head_dim qkv_bias
recurrent_kv_cache_mode shared_expert_intermediate_size shared_intermediate_size sliding_window
sliding_window_pattern sliding_window_size ssm_state_size state_size swa_head_dim swa_num_attention_heads
swa_num_key_value_heads tie_word_embeddings use_sliding_window v_head_dim vocab_size
vocab_size_per_layer_input
"""
"""Whose absence means something to a reader."""

_OF_TOWERS = """
conv_kernel_size d_model depth downsample_hidden_size embed_dim encoder_ffn_dim encoder_layers image_size in_channels
mlp_ratio norm_type num_channels num_heads num_mel_bins num_patches num_position_embeddings
out_hidden_size output_dim output_proj_dims patch_size pos_emb_height pos_emb_width position_embedding_size
projection_dim projector_input_dim projector_output_dim spatial_merge_size temporal_patch_size
use_absolute_position_embeddings use_mean_pooling vision_output_dim vision_use_head
head_dim hidden_size intermediate_size max_source_positions num_attention_heads num_hidden_layers num_key_value_heads
"""
"""Of encoders for images and sound."""

TOWERS = """
clip_vision_model exaone4_5_vision gemma4_audio gemma4_vision glm4v_vision idefics3_vision internvl_vision
kimi_k25_vision llama4_vision_model pixtral qwen2_5_vl_vision qwen2_audio_encoder
qwen2_vl_vision qwen3_5_vision qwen3_asr_encoder qwen3_vl_vision siglip2_vision_model siglip_vision_model
voxtral_encoder
"""


def of_class(config: Any, model_type: str) -> dict[str, Any]:
    """Those of a class, before it works out some from others."""
    spelled = {*(_OF_TOWERS if model_type in TOWERS.split() else _KEYS).split(), *SPELLINGS.get(model_type, {})}
    found = {key: getattr(config, key, None) for key in sorted(spelled)}
    return {key: value for key, value in found.items() if type(value) in (int, str, bool) and value is not False}


def written() -> dict[str, dict[str, Any]]:
    """Of every family that has a class."""
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING

    names = {each: CLASSES.get(each, each) for each in (*FAMILIES, *TOWERS.split())}
    return {
        each: of_class(CONFIG_MAPPING[name], each) for each, name in sorted(names.items()) if name in CONFIG_MAPPING
    }


def text(values: dict[str, dict[str, Any]]) -> str:
    """As the file has it: a family a line."""
    lines = (f"{json.dumps(name)}: {json.dumps(found)}" for name, found in values.items())
    return "{\n" + ",\n".join(lines) + "\n}\n"


if __name__ == "__main__":
    if "--write" in sys.argv:
        PATH.write_text(text(written()), encoding="utf-8")
    sys.exit(0 if json.loads(PATH.read_text(encoding="utf-8")) == written() else 1)
