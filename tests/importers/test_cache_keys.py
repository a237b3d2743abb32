"""Keys that nobody reads: refused where they sound like a cache, passed over where they are about other things."""

from __future__ import annotations

import json
from itertools import product
from typing import Any

import pytest
from conftest import DATA
from each import for_each

from kvcalc import KvcalcError
from kvcalc.importers import import_config

LLAMA: dict[str, Any] = {
    "model_type": "llama",
    "hidden_size": 4096,
    "num_hidden_layers": 2,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "max_position_embeddings": 8192,
    "torch_dtype": "bfloat16",
}
PLAIN = ["gqa 32/8 x 128"] * 2


def labels(values: dict[str, Any], **assumed: Any) -> list[str]:
    model = import_config(json.dumps(values), "config.json", "some-model", assumed).model
    return [" ".join(each.label for each in layer) for layer in model.sequence()]


def labels_or_refusal(values: dict[str, Any]) -> list[str]:
    try:
        return labels(values)
    except KvcalcError as error:
        return [str(error)]


SOUNDING: dict[str, Any] = {
    "n_kv_heads": 4,
    "num_kv_heads": 4,
    "kv_n_heads": 4,
    "kvHeads": 4,
    "n_local_heads": "4",
    "d_k": 64,
    "num_query_groups": 4,
    "n_query_groups": 4,
    "multi_query_group_num": 2,
    "num_attention_groups": 4,
    "head_size": 64,
    "kv_channels": 64,
    "d_kv": 64,
    "attention_window": 512,
    "attention_window_size": 512,
    "max_attention_window_size": [512, 8192],
    "local_attention_size": 512,
    "window_size": 512,
    "window_layers": [0],
    "layer_windows": [512, 0],
    "sliding_window": 512,
    "sliding_window_pattern": "LG",
    "per_layer_config": {"0": {"num_key_value_heads": 2}},
    "block_configs": [{"attention": {"no_op": True}}] * 2,
    "layer_overrides": {"0": {}},
    "skip_layers": [1],
    "kv_sharing_map": {"1": 0},
    "kv_source_layers": [0, 0],
    "total_ut_steps": 4,
    "loop_num": 2,
    "num_recursions": 3,
    "cross_layer_share": 2,
    "num_memory_slots": 16,
    "attention_sinks": 4,
    "cache_compression": 4,
    "latent_dim": 512,
    "kv_lora_rank": 512,
    "q_lora_rank": 1536,
    "d_state": 128,
    "ssm_config": {"d_state": 128},
    "recurrent_state_size": 128,
    "linear_num_heads": 16,
    "attn": {"layers": [0], "num_heads": 16},
    "num_sink_tokens": 4,
    "layer_pattern": "MMAM",
    "use_swa": True,
    "use_linear_attention": True,
    "use_latent_attention": True,
    "use_sliding_window_attention": True,
    "share_kv_across": True,
    "use_mla": True,
    "multi_latent_attention": True,
    "use_bidirectional_attention": True,
    "is_encoder_decoder": True,
    # in words that no family's class has
    "numKVHeads": 4,
    "kvheads": 4,
    "num_groups": 4,
    "qk_dim": 64,
    "mem_len": 128,
    "depth": 12,
    "num_repeats": 2,
    "band_width": 1024,
    "interleave": 4,
    "nsa": {"block": 64},
    "token_mixer": ["attention", "mamba"],
    "tie_kv": True,
    "k_eq_v": True,
    "k_dim": 64,
    "max_look_back": 512,
    "context_span": 512,
    "streaming_llm": {"start": 4, "recent": 1000},
    "mixture_of_depths": {"capacity": 0.5},
    "windowed_attention": True,
    "yoco": True,
    "attn_type": "mla",
    "mixer": "mamba2",
    "layer_spec": "AAMM",
    "block_layout": "MMMA",
    # beside a word that would excuse it
    "dense_kv_heads": 4,
    "rope_window": 1024,
    "kv_embed_dim": 256,
    "kv_lora_dim": 512,
    "kv_cache_quantization": {"bits": 4},
    # in mappings, or for single layers
    "overrides": {"num_key_value_heads": 4},
    "extra": {"model": {"sliding_window": 512}},
    "stages": [{"n_kv_heads": 4}, {"n_kv_heads": 8}],
    "tokens_of": {"0": 512, "1": 0},
    # layers that are one, whatever excuses the rest of the name
    "weight_sharing_layers": [0, 0],
    "parallel_blocks": 2,
    "tie_layers": True,
    "parameter_sharing": "cycle",
    "H_cycles": 2,
    "layer_reuse": 2,
    # tokens that are dropped or joined
    "token_merge": True,
    "merge_ratio": 0.5,
    "eviction_policy": "h2o",
    "start_size": 4,
    "compress_kv": True,
    # kinds of layers, as flags and in words
    "use_mamba": True,
    "hybrid": True,
    "use_gated_delta": True,
    "arch": "hybrid",
    "backbone": "mamba2",
    "attention_class": "GatedDeltaNet",
}


@for_each("name", SOUNDING)
def test_what_sounds_like_a_cache_is_refused_unless_it_is_assumed_away(name: str) -> None:
    values = {**LLAMA, name: SOUNDING[name]}
    with pytest.raises(KvcalcError) as error:
        labels(values)
    assert f"llama: {name} is " in str(error.value)
    assert f"--assume {name}=null takes it as absent" in str(error.value)
    assert labels(values, **{name: None}) == PLAIN


@for_each(("name", "nothing"), product(SOUNDING, [None, False, 0, -1, [], {}, ""]))
def test_what_is_off_says_nothing(name: str, nothing: Any) -> None:
    assert labels({**LLAMA, name: nothing}) == PLAIN


HARMLESS: dict[str, Any] = {
    "qkv_layout": "thd",
    "repeat_penalty": 1.1,
    "spec_version": "1.0",
    "stochastic_depth": 0.1,
    "train_iterations": 1000,
    # rotation, scaling, dropout, norms, initialisation
    "rope_parameters": {"full_attention": {"rope_theta": 1e6}, "sliding_attention": {"rope_theta": 1e4}},
    "rope_local_base_freq": 1e4,
    "layer_rope_theta": [1e4, 1e6],
    "no_rope_layers": [1, 0],
    "no_rope_layer_interval": 4,
    "nope_layer_interval": 4,
    "swa_rope_theta": 1e4,
    "attention_dropout": 0.1,
    "attn_pdrop": 0.1,
    "attention_probs_dropout_prob": 0.1,
    "layer_norm_eps": 1e-5,
    "layer_norm_epsilon": 1e-5,
    "layernorm_full_attention_alpha": 3.5565588200778455,
    "layer_scale_init_value": 1e-5,
    "attention_multiplier": 0.0078125,
    "key_multiplier": 0.5,
    "ssm_multipliers": [0.35, 0.25],
    "attn_logit_softcapping": 50.0,
    "query_pre_attn_scalar": 256,
    "attn_temperature_tuning": 4,
    "attention_value_scale": 0.707,
    "scale_attn_weights": True,
    "attention_softmax_in_fp32": True,
    "apply_query_key_layer_scaling": True,
    "compression_ratio": 1.0,
    # experts and other feed-forward networks
    "mlp_only_layers": [0],
    "mlp_layer_types": ["dense", "sparse"],
    "moe_layer_freq": 2,
    "is_moe_layer": [False, True],
    "expert_layer_period": 2,
    "decoder_sparse_step": 2,
    "num_dense_layers": 1,
    "interleave_moe_layer_step": 2,
    "shared_expert_intermediate_size": 1024,
    "shared_intermediate_size": 1024,
    "share_expert_dim": 1280,
    "share_q_dim": 2048,
    "hidden_size_per_layer_input": 256,
    "vocab_size_per_layer_input": 262144,
    "activation_sparsity_pattern": [0.95, 0.0],
    # towers, projectors and tokens
    "vision_feature_layer": -2,
    "vision_num_cross_attention_layers": 8,
    "mm_vision_select_layer": -2,
    "num_query_tokens": 64,
    "image_token_index": 7,
    "lm_head_multiplier": 2.0,
    # draft heads
    "num_target_layers": 36,
    "target_layer_ids": [1, 9, 17],
    "eagle_aux_hidden_state_layer_ids": [2, 18, 33],
    "mtp_num_layers": 1,
    "mtp_layer_types": ["full_attention"],
    "medusa_num_heads": 4,
    "block_size": 16,
    # training, compilers, serving, quantisation
    "chunk_size_feed_forward": 64,
    "prefill_chunk_size": 2048,
    "context_window_size": 4096,
    "context_window": 4096,
    "num_freeze_layers": 2,
    "ce_chunk_size": 1024,
    "attention_sink_size": 4,
    "local_rank": 1,
    "recompute_num_layers": 1,
    "num_layers_in_first_pipeline_stage": 1,
    "num_beam_groups": 2,
    "loss_chunk_size": 1024,
    "use_cache": True,
    "cache_implementation": "hybrid",
    "_attn_implementation": "flash_attention_2",
    "attention_backend": "flex_attention",
    "compression_config": {"format": "pack-quantized"},
    "fuse_cross_entropy": True,
    "use_embedding_sharing": True,
    "max_window_layers": 21,
    "name": "local-llama",
    "type": "sliding puzzles",
    "attn_type": "softmax",
    # what classes of earlier versions wrote in every file
    "id2label": {"0": "LABEL_0", "1": "LABEL_1"},
    "no_repeat_ngram_size": 3,
    "encoder_no_repeat_ngram_size": 3,
    "task_specific_params": {"summarization": {"no_repeat_ngram_size": 3}},
    # networks beside the text model
    "tts_config": {"num_attention_heads": 12},
    "spatial_merge_size": 2,
    "use_conv": True,
    "attn_impl": "flash_attention_2",
    "img_processor": {"num_img_tokens": 144, "layer_idx": -2},
    "speaker_encoder": {"num_hidden_layers": 4},
}


def test_keys_of_trainers_and_mergers_are_neither_refused_nor_told() -> None:
    """Of files by Unsloth, mergekit, Axolotl, LLaVA, MiniCPM-V and ChatGLM."""
    published = {"unsloth_fixed": True, "neftune_noise_alpha": 5, "merge_method": "slerp", "merged_from": ["a", "b"]}
    published |= {"pruning_method": "wanda", "pruning_ratio": 0.5, "weight_decay": 0.1, "gradient_checkpointing": True}
    published |= {"faster_token_stride": 10, "pos_skipping_range": 4096, "slice_config": {"max_slice_nums": 9}}
    published |= {"fp32_residual_connection": True, "interleaved_qkv": True, "use_flash_attn": True, "n_gpu": 8}
    published |= {"delay_load": True, "do_sample": True, "learning_rate": 1e-5, "num_parameters": 7, "use_mrope": True}
    published |= {"trust_remote_code": True, "sequence_length": 2048, "tensor_parallel": True, "cache_type": "dynamic"}
    published |= {"hc_mult": 4, "hc_magnitude": 2.0}  # Hunyuan V4's
    notes = import_config(json.dumps({**LLAMA, **published}), "config.json", "m").notes
    assert "cache-format-of-checkpoint" not in {each.code for each in notes}
    assert [each.data.get("keys") for each in notes if each.code == "unknown-keys"] == [("pruning_ratio",)]


def test_a_key_that_nobody_knows_is_told() -> None:
    unknown = {"n_rep": 4, "mod_every": 2, "drop_blocks": [1], "snapkv": True, "canon_kernel": 4}
    values = {**LLAMA, **unknown, "use_cache": True, "rope_theta": 1e6, "date": "today", "n_off": 0}
    found = import_config(json.dumps(values), "config.json", "m")
    (told,) = found.notes
    assert dict(told.data)["keys"] == tuple(sorted(unknown))
    assert labels(values) == PLAIN
    silenced = import_config(json.dumps(values), "config.json", "m", dict.fromkeys(unknown))
    assert {each.code for each in silenced.notes} == {"assumed"}


@for_each(
    ("name", "value", "asked"),
    [
        ("kv_cache_dtype", "fp8", "fp8"),
        ("kv_dtype", "torch.float8_e4m3fn", "fp8"),
        ("fp8_kv_cache", True, "fp8"),
        ("kv_precision", "int8", None),
        ("use_cache_quantization", True, None),
        ("kv_cache_dtype", "auto", "nothing"),
        ("kv_cache_dtype", "bfloat16", "nothing"),
    ],
)
def test_a_key_that_asks_for_a_format_of_the_cache_is_told(name: str, value: Any, asked: str | None) -> None:
    notes = import_config(json.dumps({**LLAMA, name: value}), "config.json", "m").notes
    assert [each.data["format"] for each in notes] == ([] if asked == "nothing" else [asked])
    assert all(f"({name})" in each.text for each in notes)


def test_kinds_that_were_read_may_be_named() -> None:
    mistral = {**LLAMA, "model_type": "mistral", "sliding_window": 4096}
    assert labels({**mistral, "attn_kind": "sliding"}) == ["gqa 32/8 x 128, window 4,096"] * 2
    with pytest.raises(KvcalcError, match="attn_kind is "):
        labels({**mistral, "attn_kind": "mamba"})


def test_keys_of_text_models_beside_their_part_must_agree_with_it() -> None:
    wrapped = {"model_type": "llava", "text_config": LLAMA}
    assert labels({**wrapped, "num_key_value_heads": 8, "select_layer": 3, "head_dim": 80}) == PLAIN
    for name, value in (("sliding_window", 512), ("num_key_value_heads", 4), ("kv_sharing_map", [0, 0])):
        with pytest.raises(KvcalcError, match=f"{name} is .* beside the text model's part, which (has 8|says nothing)"):
            labels({**wrapped, name: value})
        assert labels({**wrapped, name: value}, **{name: value if name == "num_key_value_heads" else None})
    notes = import_config(json.dumps({**wrapped, "layer_reuse": 2}), "config.json", "m").notes
    assert notes[-1].data["keys"] == ("layer_reuse",)


def test_a_mapping_is_looked_through_once_however_deep_it_is() -> None:
    deep: dict[str, Any] = {"n_kv_heads": 4}
    for _ in range(30):
        deep = {"x": deep}
    with pytest.raises(KvcalcError, match="extra is "):
        labels({**LLAMA, "extra": deep})


def test_a_list_with_a_member_for_each_layer_is_about_layers() -> None:
    values = {**LLAMA, "num_hidden_layers": 8, "schedule": [512, 0] * 4}
    with pytest.raises(KvcalcError, match="schedule is "):
        labels(values)
    assert labels(values, schedule=None) == labels({**values, "schedule": [512, 0]}) == PLAIN[:1] * 8
    assert labels({**values, "schedule": None, "rope_kinds": ["a", "b"] * 4}) == PLAIN[:1] * 8


@for_each("name", HARMLESS)
def test_what_only_sounds_like_a_cache_is_passed_over(name: str) -> None:
    assert labels({**LLAMA, name: HARMLESS[name]}) == PLAIN


PUBLISHED: dict[str, dict[str, Any]] = json.loads((DATA / "configs.json").read_text(encoding="utf-8"))


@for_each("hub_id", PUBLISHED)
def test_a_file_is_read_whether_or_not_its_parameters_are_counted(hub_id: str) -> None:
    """No key is refused that only the count of parameters reads."""
    values = {**PUBLISHED[hub_id], "architectures": ["Unknown"]}
    assert labels_or_refusal(values) == labels_or_refusal(PUBLISHED[hub_id])


def test_another_spelling_that_agrees_may_stand_beside_the_one_that_is_read() -> None:
    for name in ("n_kv_heads", "num_query_groups", "multi_query_group_num", "num_attention_groups"):
        assert labels({**LLAMA, name: 8}) == PLAIN
        assert labels({**LLAMA, name: 4}, num_key_value_heads=4) == ["gqa 32/4 x 128"] * 2
    assert labels({**LLAMA, "n_head_kv": 8}) == PLAIN
    with pytest.raises(KvcalcError, match="num_key_value_heads is 8 and n_head_kv is 4"):
        labels({**LLAMA, "n_head_kv": 4})
    for name in ("head_size", "kv_channels", "attention_head_dim"):
        assert labels({**LLAMA, name: 128}) == PLAIN
    gemma2 = {**LLAMA, "model_type": "gemma2", "head_dim": 128, "sliding_window": 4096}
    assert labels({**gemma2, "sliding_window_size": 4096}) == ["gqa 32/8 x 128, window 4,096", "gqa 32/8 x 128"]
    with pytest.raises(KvcalcError, match="sliding_window_size is 2048"):
        labels({**gemma2, "sliding_window_size": 2048})


def test_a_spelling_that_is_refused_names_the_key_that_is_read() -> None:
    without = {key: value for key, value in LLAMA.items() if key != "num_key_value_heads"}
    for name, key, value, said in (
        ("n_kv_heads", "num_key_value_heads", 8, "gqa 32/8 x 128"),
        ("num_query_groups", "num_key_value_heads", 4, "gqa 32/4 x 128"),
        ("kv_channels", "head_dim", 64, "mha 32 x 64"),
    ):
        with pytest.raises(KvcalcError, match=f"--assume {key}={value} reads it so, --assume {name}=null takes it as"):
            labels({**without, name: value})
        assert labels({**without, name: value}, **{key: value}) == [said] * 2
    with pytest.raises(KvcalcError, match="; --assume window_size=null takes it as absent"):
        labels({**LLAMA, "window_size": 512})


def test_a_flag_that_is_false_silences_its_keys() -> None:
    assert labels({**LLAMA, "use_sliding_window": False, "sliding_window": 32768, "max_window_layers": 28}) == PLAIN
    assert labels({**LLAMA, "use_cla": False, "cla_share_factor": 2}) == PLAIN
    for said in ({}, {"use_sliding_window": None}, {"use_sliding_window": True}):
        with pytest.raises(KvcalcError, match="sliding_window is "):
            labels({**LLAMA, **said, "sliding_window": 32768})


def test_keys_inside_a_mapping_are_looked_at_too() -> None:
    mpt = {"model_type": "mpt", "d_model": 4096, "n_layers": 2, "n_heads": 32}
    usual = {"attn_type": "grouped_query_attention", "kv_n_heads": 8, "clip_qkv": 8, "attn_pdrop": 0.1}
    assert labels({**mpt, "attn_config": {**usual, "sliding_window_size": -1}}) == PLAIN
    with pytest.raises(KvcalcError, match=r"sliding_window_size is 512.*--assume attn_config=null takes all of"):
        labels({**mpt, "attn_config": {**usual, "sliding_window_size": 512}})
    blocks = [{"attention": {"n_heads_in_group": 4}}, {"attention": {"n_heads_in_group": 4, "window_length": 512}}]
    with pytest.raises(KvcalcError, match="window_length is 512"):
        labels({**LLAMA, "model_type": "nemotron-nas", "num_key_value_heads": None, "block_configs": blocks})


def test_published_keys_of_single_families() -> None:
    elm = {"model_type": "openelm", "model_dim": 512, "num_transformer_layers": 2, "head_dim": 64}
    elm |= {"num_query_heads": [12, 16], "num_kv_heads": [3, 4], "num_gqa_groups": 4, "qkv_multipliers": [0.5, 1.0]}
    assert labels({**elm, "share_input_output_layers": True}) == ["gqa 12/3 x 64", "gqa 16/4 x 64"]
    cohere2 = {**LLAMA, "model_type": "cohere2", "sliding_window": 4096, "sliding_window_pattern": 2, "layer_switch": 2}
    assert labels(cohere2) == ["gqa 32/8 x 128, window 4,096", "gqa 32/8 x 128"]
    lfm2 = {**LLAMA, "model_type": "lfm2", "full_attn_idxs": [1], "num_heads": 32, "conv_dim": 4096, "block_dim": 4096}
    assert labels(lfm2)[1] == "gqa 32/8 x 128"
    granite = {**LLAMA, "model_type": "granitemoehybrid", "mamba_n_heads": 128, "mamba_d_head": "auto"}
    granite |= {"mamba_d_state": 128, "mamba_n_groups": 1, "mamba_d_conv": 4, "mamba_expand": 2}
    assert labels({**granite, "layers_block_type": ["mamba", "attention"]})[1] == "gqa 32/8 x 128"


def test_attention_of_an_encoder_alone_changes_no_cache() -> None:
    """google/bigbird-pegasus-large-arxiv: its decoder's class reads no attention_type (transformers 5.24.0)."""
    shape = {"d_model": 1024, "decoder_layers": 16, "decoder_attention_heads": 16, "vocab_size": 96_103}
    file = {"model_type": "bigbird_pegasus", "max_position_embeddings": 4096, **shape}
    assert labels({**file, "attention_type": "block_sparse", "num_random_blocks": 3}) == labels(file)


def test_kv_heads_that_do_not_divide_name_their_key() -> None:
    for values, key in (
        ({**LLAMA, "num_key_value_heads": 5}, "num_key_value_heads"),
        (
            {**LLAMA, "model_type": "step3_text", "num_key_value_heads": None, "num_attention_groups": 5},
            "num_attention_groups",
        ),
        ({**LLAMA, "model_type": "dbrx", "num_key_value_heads": None, "attn_config": {"kv_n_heads": 5}}, "kv_n_heads"),
    ):
        with pytest.raises(KvcalcError, match=rf"5 KV heads do not divide 32 heads \({key}; num_attention_heads\)"):
            labels(values)


COUNTED = {**LLAMA, "intermediate_size": 14336, "vocab_size": 128256}


def test_a_tie_that_the_wrapper_s_class_fills_in_is_left_open() -> None:
    """transformers writes its default, true, around a text model that says false; no byte of a cache depends on it."""
    text = {**LLAMA, "model_type": "mistral", "sliding_window": None, "tie_word_embeddings": False}
    values = {"model_type": "mistral3", "tie_word_embeddings": True, "text_config": text}
    model = import_config(json.dumps(values), "config.json", "some-model").model
    assert model.tie_word_embeddings is None
    assert {layer.label for layer in model.distinct()} == {"gqa 32/8 x 128"}


def test_a_pattern_that_the_class_never_reads_must_agree_with_the_one_it_takes() -> None:
    gemma = {**LLAMA, "model_type": "gemma3_text", "sliding_window": 512, "head_dim": 256, "num_hidden_layers": 6}
    agreeing = import_config(json.dumps({**gemma, "_sliding_window_pattern": 6}), "config.json", "some-model").model
    assert [block.label for layer in agreeing.sequence() for block in layer] == [
        *["gqa 32/8 x 256, window 512"] * 5,
        "gqa 32/8 x 256",
    ]
    with pytest.raises(KvcalcError, match="--assume _sliding_window_pattern=null"):
        import_config(json.dumps({**gemma, "_sliding_window_pattern": 4}), "config.json", "some-model")


@pytest.mark.parametrize("key", ["dual_chunk_attention_config", "peft_config", "speculative_config"])
def test_what_no_layer_keeps_leaves_the_parameters_counted(key: str) -> None:
    """How positions are rotated, adapters, how a server drafts."""
    values = {**COUNTED, "model_type": "qwen2" if key.startswith("dual") else "llama", key: {"chunk_size": 262_144}}
    plain = {name: value for name, value in values.items() if name != key}
    with_key, without = (import_config(json.dumps(each), "config.json", "m").model for each in (values, plain))
    assert with_key == without
    assert with_key.parameters


def test_a_mapping_that_is_assumed_away_leaves_the_parameters_counted() -> None:
    values = {**COUNTED, "strange_layers_config": {"num_layers": 3}}
    model = import_config(json.dumps(values), "config.json", "m", {"strange_layers_config": None}).model
    assert model.parameters


def test_a_prefix_that_sees_all_of_itself_is_kept_like_any_other() -> None:
    gemma = {**LLAMA, "model_type": "gemma", "head_dim": 256, "use_bidirectional_attention": True}
    wrapped = import_config(json.dumps({"model_type": "paligemma", "text_config": gemma}), "config.json", "m").model
    assert {layer.label for layer in wrapped.distinct()} == {"gqa 32/8 x 256"}
    with pytest.raises(KvcalcError, match="use_bidirectional_attention"):
        import_config(json.dumps(gemma), "config.json", "m")


def test_step_s_heads_are_128_wide_where_a_file_leaves_it_out() -> None:
    step = {"model_type": "step3p5", "num_hidden_layers": 2, "hidden_size": 4096, "num_attention_heads": 64}
    step |= {"num_attention_groups": 8, "layer_types": ["full_attention"] * 2, "vocab_size": 1000}
    model = import_config(json.dumps(step), "config.json", "m").model
    assert {layer.label for layer in model.distinct()} == {"gqa 64/8 x 128"}


MISSPELT = {
    "hed_dim": "head_dim",  # a letter left out, put for another, put in, and two the other way round
    "heed_dim": "head_dim",
    "heaad_dim": "head_dim",
    "haed_dim": "head_dim",
    "vocab_szie": "vocab_size",
}


@for_each("name", MISSPELT)
def test_a_key_that_is_a_letter_from_a_missing_one_is_refused(name: str) -> None:
    meant = MISSPELT[name]
    values = {key: value for key, value in LLAMA.items() if key != meant} | {name: 64}
    with pytest.raises(KvcalcError, match=f"llama: {name} is 64, which nothing reads, and {meant} is missing"):
        labels(values)
    assert labels(values, **{name: None}) == PLAIN
    assert labels({**values, meant: LLAMA.get(meant, 128)}) == PLAIN


def test_letters_that_look_like_others_are_refused() -> None:
    for name in ("he\u0430d_dim", "hidden_siz\u0435", "\u217cayer_type"):
        with pytest.raises(KvcalcError, match="is 64, which this family's layers do not have; write the model as YAML"):
            labels({**LLAMA, name: 64})
        assert labels({**LLAMA, name: None}) == PLAIN
