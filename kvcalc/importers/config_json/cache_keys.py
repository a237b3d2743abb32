"""Keys of config.json that decide the cache in some family, and those that only sound as if they did.

A key that its family does not read is judged by its name: no list has every spelling of every publisher.
"""

from __future__ import annotations

import re
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from kvcalc.importers.config_json.named_kinds import kind_named, words_of

if TYPE_CHECKING:
    from collections.abc import Mapping


def _set(names: str) -> frozenset[str]:
    return frozenset(names.split())


CACHE_KEYS = _set(
    """
    add_cross_attention attention_chunk_size attention_other_setting attention_types attn_config
    attn_layer_indices attn_layer_period attn_type_list block_configs block_overrides block_types
    cla_share_factor compress_ratios conv_L_cache cross_attention_layers d_k d_v dense_attention_every_n_layers
    full_attention_interval full_attn_idxs full_attn_mod global_attn_every_n_layers hybrid_override_pattern
    index_head_dim index_topk index_topk_freq index_topk_pattern indexer_types is_encoder_decoder kv_lora_rank
    layer_group_size layer_types layers_block_type linear_attn_config lru_width multi_latent_attention
    multi_query multi_query_attention num_kv_shared_layers per_layer_config q_lora_rank qk_nope_head_dim
    qk_rope_head_dim recent_size sliding_window_pattern sparse_attention_config ssm_cfg start_size
    use_bidirectional_attention use_cla use_mla use_sliding_window use_swa
    """
)
"""Whatever their value, and whatever words they are made of."""

_WORDS = _set(
    """
    attention attentions attn band blocks cache cached chunk chunked cla compress compressed compression conv cross
    cycle cycles delta deltanet depth depths dilation dilations dkv dv evict eviction funnel gdn gla global gqa
    groups gru head heads hgrn hourglass hybrid indexer interleave iterations key kv kvs landmark landmarks latent
    latents layer layers linear local lookback loop looped loops lru lstm mamba mem memories memory merge merging
    mixer mixers mla moba mqa nsa passes qk qkv query recency recent receptive recur recurrence recurrences
    recurrent recursion recursions repeat repeats retention reuse reused rnn rwkv seg segment segments share shared
    sharing shorten sink sinks slide sliding span sparse ssm state states streaming streams swa tome ttt unroll
    unrolled ut value window windowed windows yoco
    """
)
"""A number, a list or a mapping whose name has one of these is about heads, layers, windows, what is kept, or how often
layers are passed (`ut` is the universal transformer)."""

_GLUED = re.compile(r"n?kv(heads?|cache|dim|size|window|layers?)s?|n?heads")
"""The same of words without anything between them."""
_WIDTH = re.compile(r"(k|v|val)_(dim|size|width|channels)|(\w*_)?look_back(_\w*)?")
"""The same of whole names."""

_FLAGS = _set("alternating cla cross latent mla mqa share shared sharing sliding universal window windowed yoco")
_ORDER = _set("arrangement layout pattern spec topology")
_OF_TENSORS = _set("bhsd bshd nchw nhwc sbhd thd")
"""The same of a word: of an order of layers (not of a tensor's axes)."""
_ONE_OF_KV = _set("eq low merge merged one same single tie tied")
"""The same of a flag about keys and values, or about k and v."""
_ATTENTIONS = _set("chunked compressed compressive hybrid linear local recurrent sparse")
"""The same of a flag that is true, the latter where it is one of attention."""

_SHARING = _set("reuse reused share shared sharing tie tied tying")
_LAYERS_OF_ONE = _set("block blocks cache kv kvs layer layers parameter parameters params")
"""A key of both is about layers that are one, whatever its value, and whether it is of weights."""
_FEWER = _set("compress compression compressive evict eviction merge merging prune pruning")
_EVICTION = _set("evict eviction")
_TOKENS = _set("cache kv memory token tokens")
"""The same of tokens that are not kept."""

HARMLESS = _set(
    """
    act activation adapter audio aux batch bias ce classifier clip cls codebook coef coeff connector dense dflash
    draft drop dropout dtype eagle embd embed embedding embeddings engram entropy eps epsilon expert experts fc ffn
    finetune freeze frozen fuse gate image init initializer intermediate invalid label labels layernorm limit limits
    lm logits lora loss lr medusa mlp mm moe mtp multimodal multiplier multipliers nope norm norms openapi optimizer
    pad padding parallel patch pdrop penalty perceiver pipeline pooler precision projector prompt qformer quant
    quantization recompute regularization resampler rope rotary router scalar scale scaling seed softcap softcapping
    softmax spatial speech std stochastic summary swiglu talker target temperature temporal theta tower train
    trainable training upcast version video vision visual vit vocab weight weights world
    """
)
"""A name with one of these is about something else than what a layer keeps."""

_PARTS = _set("dit encoder flow img sam siglip speaker token2wav tokenizer tts vae vq")
"""Mappings of other networks, which have heads and layers of their own."""

_STRONG = _set("gqa kv kvs mqa window windows")
_WEAK = _set("dense embed embedding expert experts lora moe nope quantization rope")
_OF_WEIGHTS = _set("parameters weight weights")
"""A number, a list or a mapping about the former is so even of experts, rotated parts or what is compressed."""

NOT_OF_THE_CACHE = _set(
    """
    L_bp_cycles attention_backend attention_logit_cap attention_sink_size attn_res_block_size candidate_topk_blocks
    chunk_size chunk_size_feed_forward compression_config context_window context_window_size conv_dim conv_dim_out
    cross_attention_hidden_size decoder_sparse_step depth_decoder_config dual_chunk_attention_config
    encoder_no_repeat_ngram_size full_attn_alpha_factor full_attn_beta_factor global_step
    hidden_size_per_layer_input id2label index_topk_blocks linear_a_log_max linear_a_log_min linear_allow_neg_eigval
    linear_attn_alpha_factor linear_attn_beta_factor linear_dt_init_floor linear_dt_max linear_dt_min local_rank
    mamba_chunk_size mamba_dt_rank max_context_window max_window_layers n_layers_per_attn_res_block n_limited_groups
    no_repeat_ngram_size num_beam_groups num_hash_layers num_query_tokens num_random_blocks o_groups
    prefill_chunk_size query_num relative_attention_max_distance relative_attention_num_buckets
    relative_max_distance segment_types share_input_output_layers share_q_dim task_specific_params
    """
)
"""Names made of such words that classes take, and that change no cache: windows of training or of a compiler, widths
of feed-forward networks and embeddings, what is rotated, the tokens that a resampler makes of a picture."""

_SAYS_NOTHING: Mapping[str, Any] = MappingProxyType(
    {"cla_share_factor": 1, "compression_ratio": 1, "full_attn_mod": 1, "use_bidirectional_attention": "vision"}
)
"""Keys with the value at which every layer keeps its own whole cache."""

_OFF: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "use_sliding_window": ("sliding_window", "sliding_window_size"),
        "use_cla": ("cla_share_factor",),
        "use_mla": ("kv_lora_rank", "q_lora_rank", "qk_nope_head_dim", "qk_rope_head_dim", "v_head_dim"),
    }
)
"""Flags, and the keys that mean nothing where the file has false."""

_LAYERS = ("num_hidden_layers", "num_layers", "n_layers", "n_layer", "decoder_layers", "num_decoder_layers")
_FEWEST = 4
"""Layers below which a list of as many members may well be of something else."""


def cache_keys(values: Mapping[str, Any]) -> set[str]:
    """Keys of a file, or of a mapping in it, that seem to decide the cache.

    Args:
        values: of the file or the mapping.
    """
    silenced = {name for flag, names in _OFF.items() if values.get(flag) is False for name in names}
    layers = next((values[key] for key in _LAYERS if type(values.get(key)) is int), 0)
    return {name for name, value in values.items() if name not in silenced and _tells(name, value, layers)}


def _tells(name: str, value: Any, layers: int) -> bool:
    off = value in (None, False, "", [], {}) or (isinstance(value, int | float) and value <= 0)
    if off or (name in _SAYS_NOTHING and _SAYS_NOTHING[name] == value):
        return False
    if name in CACHE_KEYS or not name.isascii():  # a letter that only looks like one of a known key
        return True
    if name in NOT_OF_THE_CACHE:
        return False
    words = words_of(name)
    about = words & HARMLESS
    one = words & _SHARING and words & _LAYERS_OF_ONE and about <= _OF_WEIGHTS
    if one or _WIDTH.fullmatch(name):
        return True
    of_blocks = "blocks" in words and about == {"parallel"}
    excused = about and not of_blocks and not (words & _STRONG and about <= _WEAK and value is not True)
    return not excused and _tells_by_words(words, value, layers)


def _tells_by_words(words: set[str], value: Any, layers: int) -> bool:
    if value is True:
        return _tells_if_true(words)
    if isinstance(value, str) and not value.isdigit():
        of_an_order = words & _ORDER and value.lower() not in _OF_TENSORS
        return bool(of_an_order or words & _EVICTION or kind_named(words, value))
    if words & _WORDS or any(map(_GLUED.fullmatch, words)):
        return True
    of_another = words & _PARTS or not isinstance(value, list | dict)
    return not of_another and (_one_a_layer(value, layers) or any(map(cache_keys, _mappings(value))))


def _tells_if_true(words: set[str]) -> bool:
    of_attention = words & _ATTENTIONS and words & {"attention", "attn"}
    fewer = words & _FEWER and words & _TOKENS
    of_kv = words & _ONE_OF_KV and words & {"kv", "k"}
    return bool(words & _FLAGS or of_attention or fewer or of_kv or kind_named(words, True))


def _one_a_layer(value: list[Any] | dict[str, Any], layers: int) -> bool:
    """Whether it has a member for each layer, or members for numbered ones."""
    if isinstance(value, dict):
        return all(name.isdigit() for name in value)
    return layers >= _FEWEST and len(value) == layers


def _mappings(value: list[Any] | dict[str, Any]) -> list[dict[str, Any]]:
    """The mapping, whose values are looked at in turn, or those of a list."""
    return [value] if isinstance(value, dict) else [each for each in value if isinstance(each, dict)]
