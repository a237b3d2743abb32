"""Keys of a config.json that nothing reads and that are not refused.

What asks for a format of the cache, and what nobody knows, are told in notes.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from kvcalc.errors import MAX_NAME, one_line
from kvcalc.importers.config import shown_value
from kvcalc.importers.config_json.cache_keys import CACHE_KEYS, HARMLESS, NOT_OF_THE_CACHE, cache_keys
from kvcalc.importers.config_json.named_kinds import kinds_of, words_of
from kvcalc.importers.config_json.quantisation import OTHERWISE, format_note
from kvcalc.importers.config_json.repeated_keys import SYNONYMS, repeated_keys
from kvcalc.importers.config_json.spellings import respelled
from kvcalc.note import Note, note

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from kvcalc.importers.config import Config
    from kvcalc.importers.imported_layer import ImportedLayer


def _set(names: str) -> frozenset[str]:
    return frozenset(names.split())


_OF_A_CACHE = _set("cache k key kv kv4 kv8 kvcache kvq kvs past v value")
_OF_FORMATS = _set(
    "bits dtype format fp8 int4 int8 kv4 kv8 kvq precision quant quantization quantize quantized scheme storage type"
)
_SAYS_NO_FORMAT = _set("auto default dynamic hybrid model none same static")
_EIGHT_BITS = _set("float8 float8_e4m3fn fp8 fp8_e4m3")
_DTYPES = ("dtype", "torch_dtype")

_KNOWN = _set(
    """
    _name_or_path active_params add_time_instruction alibi architecture auto_map base_channels begin_suppress_tokens
    bf16 block_auto_adjust_ff_dim block_dim block_multiple_of block_size blocksparse_block_size
    blocksparse_triton_kernel_block_size blocksparse_vert_stride candidate_block_size canvas_length causal
    checkpoint_step concat_input conf_reduction_factor context_extension context_len context_length
    context_parallel_size ctx_len d_ff d_model d_rel data_parallel_size datasets date decoder_layerdrop deepnorm
    default_language delay_load dff dim_ff dim_model_base do_pooling do_sample downsample_ratio dspark_markov_rank
    early_stopping elementwise_affine emb_dim enable_pronunciation enable_shape enable_thinking encoder_config
    encoder_layerdrop ep_size eval_steps expansion_ratio faster_token_stride feed_forward_proj ffn_dim
    flex_attention for_llm_compressor force_sample fp16 fp32 function_calling gating gradient_clipping
    hc_magnitude hc_mult hc_sinkhorn_iters hidden_ratio hidden_size hidden_sizes img_processor in_channels
    index_block_size index_skip_topk_offset initial_context_length input_channels input_feat_per_channel
    input_jitter_noise interleaved_qkv interpolate_factor is_causal is_decoder is_llama_config is_prenorm kv_cache
    label2id langs language languages laurel_rank layerdrop learned_pos_emb legacy license logging_steps logit_cap
    mask_feature_length mask_time_length mask_time_min_masks max_ctx max_dynamic_patch max_input_length max_length
    max_new_tokens max_pos max_position max_seq_len max_seq_length max_sequence max_sequence_length
    max_source_positions max_steps max_tokenizer_truncation max_tokens maximum_length median_filter_width
    merged_from mhc min_dynamic_patch min_length modal_type model_parallel model_parallel_size mscale multiple_of
    mup_enabled n_ctx n_gpu n_group n_inner n_params n_positions new_decoder_architecture ngram ngram_size
    num_anchors num_beams num_buckets num_channels num_codebooks num_frames num_ln_in_parallel_attn num_mel_bins
    num_parameters num_return_sequences num_tokens offset_alibi out_hidden_size output_attentions
    output_hidden_states output_past output_scores params patch_size pool_type pooling pos_skipping_range
    position_id_per_seconds pp_size predict_special_tokens pretraining_tp prompt_length prompt_mid_dim prompt_types
    protein_encoder_config reasoning regression rel_extent remove_invalid_values rescale_prenorm_residual
    residual_in_fp32 return_dict return_dict_in_generate ring_attention rmsnorm sample_rate save_steps score_func
    scoring_func self sequence_length sequence_parallel slice_config slice_mode slow_but_exact special_tokens
    split_ngram_parts stagger_local_blocks standardize step summary_proj_to_labels summary_use_proj suppress_tokens
    tags tensor_model_parallel_size tensor_parallel tensor_parallel_degree tensor_parallel_size tf_legacy_loss
    thinking thinking_budget tie_encoder_decoder tie_weights tokenizer tokenizer_class tokens_per_second tokens_seen
    tokens_trained tool_use top_k top_p topk_group topk_method torchscript total_params total_steps tp_size
    trained_tokens transformers.js_config trust_remote_code typical_p use_associative_scan use_beta use_bfloat16
    use_cache use_causal_mask use_cpu_initialization use_dynamic_ntk use_flex_attention use_grouped_topk use_kernels
    use_kv_cache use_logn_attn use_mambapy use_mrope use_parallel_block use_parallel_residual use_pos_enc
    use_pos_skipping use_rel_pos use_ring_attn use_rmsnorm use_sconv validate_runner_input value_head verbose
    vocabulary_map vq_config watermark weight_tying zero_stage
    """
)
"""Names that classes take, or that are in published files, and that change no cache in any family."""

_OF_STATES = _set(
    """
    expand rescale_every time_step_floor time_step_limit time_step_max time_step_min time_step_rank use_mamba_kernels
    """
)
"""The same of families whose layers keep states."""

_MAY_MATTER = _set("drop parallel patch prompt summary weight weights")
"""Words of other things that are no excuse for a name that nobody knows."""
_ABOUT_TRAINING = _set(
    """
    accumulation adam alibi amp autocast checkpointing compile decay deepspeed dpo epoch epochs flash float32 fp16
    fp32 fsdp fused gating gradient grpo learning liger logging longrope mergekit mup neftune ntk onnx optim ppo
    reward sdpa sft thumbnail tokenizer tp unsloth wandb warmup xformers yarn
    """
)
"""Words of training, kernels, rotation and tokens, which excuse one."""

_ABOUT_ELSE = re.compile(r"_.*|.*_(ids?|index|version|name|path|dir|file|token|tokenizer|prob)", re.DOTALL)
_MOST_NAMED = 8

_OF_TEXT = CACHE_KEYS | SYNONYMS.keys() | set(SYNONYMS.values())
_KEPT = _set("gqa kv kvs mqa sharing sliding window windows")
"""Keys of text models, and words of others, without those that wrappers have for their towers."""
_OF_TOWERS = _set(
    """
    acoustic_tokenizer_chunk_size head_dim insert_layer_id is_encoder_decoder latent_query_num max_state_dim
    merge_kernel_size num_heads num_layers seconds_per_chunk select_layer window_size
    """
)
"""Those, and others that only sound so."""


def unread_notes(config: Config, layers: Sequence[ImportedLayer]) -> tuple[Note, ...]:
    """Notes on a text model's keys that nothing reads. Those that are assumed to be null are taken as read.

    Args:
        config: after its family has read it.
        layers: as it has read them.
    """
    read = config.read | (_OF_STATES if "recurrent" in kinds_of(layers) else set())
    unread = {name: value for name, value in config.values.items() if name not in read}
    unknown = sorted(name for name, value in unread.items() if _unknown(name, value))
    dismissed = {name for name, value in config.assumed.items() if value is None and name in unknown}
    config.ignore(*dismissed)
    named = [name for name in unknown if name not in dismissed and not cache_keys({name: unread[name]})]
    return (*_format_notes(config, unread), *_unknown_note(named))


def _unknown_note(names: Sequence[str]) -> tuple[Note, ...]:
    if not names:
        return ()
    named = [one_line(name, MAX_NAME) for name in names]
    shown = ", ".join(named[:_MOST_NAMED]) + (f" and {len(named) - _MOST_NAMED} more" if named[_MOST_NAMED:] else "")
    text = f"config.json has keys that kvcalc does not know, and takes as saying nothing of the cache: {shown}"
    return (note("unknown-keys", text, keys=tuple(named)),)


def _unknown(name: str, value: object) -> bool:
    if isinstance(value, str) or value in (None, False, [], {}) or (isinstance(value, int | float) and value <= 0):
        return False
    if name in _KNOWN | CACHE_KEYS | NOT_OF_THE_CACHE or _ABOUT_ELSE.fullmatch(name) or OTHERWISE.fullmatch(name):
        return False
    words = words_of(name)
    return not (
        words & (HARMLESS - _MAY_MATTER | _ABOUT_TRAINING)
        or (value is True and words & _OF_A_CACHE and words & _OF_FORMATS)
    )


def _format_notes(config: Config, unread: Mapping[str, Any]) -> Iterator[Note]:
    """On keys that ask for a format of keys and values, as a checkpoint's settings of quantisation do."""
    computed = {str(config.values.get(key)).removeprefix("torch.").lower() for key in _DTYPES}
    for name, value in unread.items():
        words, stated = words_of(name), str(value).removeprefix("torch.").lower()
        asks = isinstance(value, str) and stated and stated not in _SAYS_NO_FORMAT | computed
        if (value is True or asks) and words & _OF_A_CACHE and words & _OF_FORMATS:
            yield format_note(
                one_line(name, MAX_NAME), eight=stated in _EIGHT_BITS or (value is True and "fp8" in words)
            )


def around_notes(config: Config, layers: Sequence[ImportedLayer]) -> tuple[Note, ...]:
    """A note on keys beside a text model's part that seem to decide the cache, which only the part does.

    Args:
        config: after its family has read it.
        layers: as it has read them.

    Raises:
        KvcalcError: one is a key that text models have, and the part says otherwise.
    """
    around = config.outer
    if respelled(around, config.model_type) == config.values:
        return ()  # there is no part
    config.ignore(*(name for name, value in config.assumed.items() if value is None and name in cache_keys(around)))
    passed = config.assumed.keys() | repeated_keys(around, layers) | _OF_TOWERS
    unknown = []
    for name in sorted(cache_keys(around) - passed):
        stated, own = around[name], config.values.get(name, config.defaults.get(name))
        if isinstance(stated, dict) or stated == own:
            continue
        if name in _OF_TEXT or words_of(name) & _KEPT:
            says = "says nothing of it" if own is None else f"has {shown_value(own)}"
            what = f"{name} is {shown_value(stated)} beside the text model's part, which {says}"
            raise config.refusal(what, config.without(name) if own is None else config.deciding(name))
        unknown.append(name)
    return _unknown_note(unknown)
