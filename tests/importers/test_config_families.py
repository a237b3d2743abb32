"""config.json: what each family's files mean, with the traps of each."""

from __future__ import annotations

from typing import Any

import pytest
from config_files import CONFIGS, FALCON, LLAMA, PUBLISHED, REFUSED, WRITTEN, imported, kinds, labels, refusal
from conftest import texts

from kvcalc import load_model


def test_falcon_7b_has_one_head_whatever_num_kv_heads_says() -> None:
    values = {**FALCON, "multi_query": True, "new_decoder_architecture": False, "num_kv_heads": 71}
    assert kinds(values) == ["mqa 71/1 x 64"]
    assert "num_heads: 71" in imported(values).text
    assert "kind: mqa  # multi_query is true and new_decoder_architecture false" in imported(values).text


def test_falcon_and_its_like_take_no_other_heads_and_widths() -> None:
    one = {**FALCON, "multi_query": True}
    assert kinds({**one, "num_key_value_heads": 1, "head_dim": 64}) == ["mqa 71/1 x 64"]
    assert "num_key_value_heads is 8, and this family's class takes 1" in refusal({**one, "num_key_value_heads": 8})
    assert "head_dim is 128, and this family's class takes 64" in refusal({**one, "head_dim": 128})
    bigcode = {**LLAMA, "model_type": "gpt_bigcode", "multi_query": True, "num_key_value_heads": None}
    assert kinds({**bigcode, "num_key_value_heads": 1, "head_dim": 128})[0] == "mqa 32/1 x 128"
    assert "num_key_value_heads is 8, and" in refusal({**bigcode, "num_key_value_heads": 8})
    assert "head_dim is 64, and" in refusal({**bigcode, "head_dim": 64})
    dbrx = {**LLAMA, "model_type": "dbrx", "attn_config": {"kv_n_heads": 8}}
    assert kinds({**dbrx, "head_dim": 128})[0] == "gqa 32/8 x 128"
    assert "num_key_value_heads is 4, and" in refusal({**dbrx, "num_key_value_heads": 4})
    assert "head_dim is 64, and" in refusal({**dbrx, "head_dim": 64})


def test_falcon_40b_has_num_kv_heads_although_multi_query_is_true() -> None:
    values = {**FALCON, "hidden_size": 8192, "num_attention_heads": 128, "multi_query": True}
    values |= {"new_decoder_architecture": True}
    assert kinds({**values, "num_kv_heads": 8}) == ["gqa 128/8 x 64"]
    assert kinds({**values, "n_head_kv": 8}) == ["gqa 128/8 x 64"]
    assert "it has no num_kv_heads or n_head_kv" in refusal(values)


def test_the_first_falcons_go_by_another_type() -> None:
    large = {**FALCON, "model_type": "RefinedWeb", "hidden_size": 8192, "n_head": 128, "n_head_kv": 8}
    del large["num_attention_heads"]
    assert kinds(large) == ["gqa 128/8 x 64"]
    assert kinds({**FALCON, "model_type": "RefinedWebModel", "multi_query": True}) == ["mqa 71/1 x 64"]


def test_omni_models_are_read_through_two_parts() -> None:
    text = {"model_type": "qwen2_5_omni_text", "num_hidden_layers": 2}
    omni = {"model_type": "qwen2_5_omni", "thinker_config": {"model_type": "qwen2_5_omni_thinker", "text_config": text}}
    assert kinds(omni) == ["gqa 28/4 x 128"] * 2
    phi = {**LLAMA, "model_type": "phi3_v", "img_processor": {"name": "clip"}}
    assert kinds(phi) == kinds({**LLAMA, "model_type": "llava_llama"}) == ["gqa 32/8 x 128"] * 2


def test_what_some_families_keep_beside_keys_and_values() -> None:
    reused = {**LLAMA, "model_type": "afm7", "num_layers": 3, "num_kv_reuse_layers": 1}
    del reused["num_hidden_layers"]
    assert kinds(reused) == ["gqa 32/8 x 128"] * 2 + ["shared"]
    ling = {**LLAMA, "model_type": "bailing_moe_linear", "num_hidden_layers": 5, "layer_group_size": 4}
    assert kinds(ling) == ["lightning 32 x 128"] * 3 + ["gqa 32/8 x 128"] * 2
    baichuan = {**LLAMA, "model_type": "baichuan_m1", "sliding_window_layers": [1], "sliding_window": 512}
    full, slides = kinds({**baichuan, "conv_window": 2, "num_swa_key_value_heads": 4})
    assert full == "gqa 32/8 x 128 short_conv 1024, kernel 2 short_conv 1024, kernel 2"
    assert slides.startswith("gqa 32/4 x 128, window 512 short_conv 512, kernel 2")
    fla = {"model_type": "gated_deltanet", "hidden_size": 1024, "num_hidden_layers": 1, "num_heads": 6, "head_dim": 256}
    assert kinds({**fla, "expand_v": 2}) == ["gated_deltanet 6/6 x 256+512, kernel 4"]
    plain = {**fla, "model_type": "delta_net", "num_heads": 8, "head_dim": None, "expand_k": 0.5, "expand_v": 1.0}
    assert kinds(plain) == ["gated_deltanet 8/8 x 64+128, kernel 4"]
    assert "expand_v x head_dim is no whole width" in refusal({**fla, "expand_v": 0.3})
    assert "attn gives some layers attention" in refusal({**fla, "attn": {"layers": [0]}})
    whisper = {"model_type": "whisper", "d_model": 384, "decoder_layers": 1, "decoder_attention_heads": 6}
    assert kinds(whisper) == ["mha 6 x 64 cross 6/6 x 64, 1,500 tokens"]
    t5 = {"model_type": "t5", "d_model": 512, "num_layers": 1, "num_heads": 8, "d_kv": 64}
    assert kinds(t5) == ["mha 8 x 64 cross 8/8 x 64, 512 tokens"]
    speech = {"model_type": "speech_to_text", "d_model": 256, "decoder_attention_heads": 4, "decoder_layers": 1}
    assert kinds({**speech, "max_source_positions": 6000}) == ["mha 4 x 64 cross 4/4 x 64, 1,500 tokens"]
    assert kinds({**speech, "max_source_positions": 15, "num_conv_layers": 3}) == [
        "mha 4 x 64 cross 4/4 x 64, 2 tokens"
    ]
    assert kinds(t5, encoder_context=4096) == ["mha 8 x 64 cross 8/8 x 64, 4,096 tokens"]


def test_falcon_without_either_has_all_heads() -> None:
    assert kinds({**FALCON, "multi_query": False}) == ["mha 71 x 64"]


def test_gemma_3_leaves_out_what_its_class_knows() -> None:
    text = {"model_type": "gemma3_text", "hidden_size": 2560, "num_hidden_layers": 7, "sliding_window": 1024}
    wrapped = {"model_type": "gemma3", "text_config": text, "torch_dtype": "bfloat16"}
    expected = ["gqa 8/4 x 256, window 1,024"] * 5 + ["gqa 8/4 x 256"] + ["gqa 8/4 x 256, window 1,024"]
    assert kinds(wrapped) == expected
    assert (
        kinds({"model_type": "gemma3", "text_config": {k: v for k, v in text.items() if k != "model_type"}}) == expected
    )
    assert "num_kv_heads: 4  # num_key_value_heads is absent: gemma3_text's default" in imported(wrapped).text


def test_deepseek_keeps_a_latent_whatever_its_kv_heads_say() -> None:
    values = CONFIGS["deepseek-ai/DeepSeek-V3"]
    assert values["num_key_value_heads"] == 128
    assert set(kinds(values)) == {"mla 128 heads, 512+64"}


def test_qwen3_next_without_layer_types() -> None:
    values = {k: v for k, v in CONFIGS["Qwen/Qwen3-Next-80B-A3B-Instruct"].items() if k != "layer_types"}
    found = kinds({**values, "num_hidden_layers": 8})
    assert [each.split()[0] for each in found] == ["gated_deltanet"] * 3 + ["gqa"] + ["gated_deltanet"] * 3 + ["gqa"]


def test_qwen2_slides_only_where_it_is_told_to() -> None:
    values = {**LLAMA, "model_type": "qwen2", "num_hidden_layers": 4, "sliding_window": 4096, "max_window_layers": 2}
    assert set(kinds({**values, "use_sliding_window": False})) == {"gqa 32/8 x 128"}
    slides = "gqa 32/8 x 128, window 4,096"
    assert kinds({**values, "use_sliding_window": True}) == ["gqa 32/8 x 128"] * 2 + [slides] * 2
    listed = ["full_attention", "sliding_attention"] * 2
    assert kinds({**values, "layer_types": listed, "use_sliding_window": True}) == ["gqa 32/8 x 128", slides] * 2


def test_mistral_slides_unless_its_window_is_null_or_beyond_the_context() -> None:
    values = {**LLAMA, "model_type": "mistral", "max_position_embeddings": 32768}
    assert set(kinds({**values, "sliding_window": 4096})) == {"gqa 32/8 x 128, window 4,096"}
    assert set(kinds(values)) == {"gqa 32/8 x 128, window 4,096"}  # the class's default
    assert set(kinds({**values, "sliding_window": None})) == {"gqa 32/8 x 128"}
    assert set(kinds({**values, "sliding_window": 262144})) == {"gqa 32/8 x 128"}


def test_exaone_4_reads_letters_and_numbers() -> None:
    values = {**LLAMA, "model_type": "exaone4", "num_hidden_layers": 5, "sliding_window": 4096}
    full, slides = "gqa 32/8 x 128", "gqa 32/8 x 128, window 4,096"
    assert kinds({**values, "sliding_window_pattern": "LLG"}) == [slides, slides, full, slides, slides]
    assert kinds({**values, "sliding_window_pattern": 2}) == [slides, full, slides, full, slides]
    assert kinds(values) == [slides, slides, slides, full, slides]
    assert "not letters L and G" in refusal({**values, "sliding_window_pattern": "LLX"})


def test_llama_4_lists_its_layers_in_three_ways() -> None:
    values = {**LLAMA, "model_type": "llama4_text", "num_hidden_layers": 4, "attention_chunk_size": 8192}
    chunked, full = "gqa 32/8 x 128, chunk 8,192", "gqa 32/8 x 128"
    assert kinds(values) == [chunked] * 3 + [full]
    assert kinds({**values, "no_rope_layers": [1, 0, 1, 0]}) == [chunked, full] * 2
    listed = ["full_attention", "chunked_attention"] * 2
    assert kinds({**values, "layer_types": listed}) == [full, chunked] * 2
    assert "no_rope_layers is not 4 times 0 or 1" in refusal({**values, "no_rope_layers": [1, 2]})


def test_chatglm_and_gpt_bigcode_name_their_heads_otherwise() -> None:
    chatglm = CONFIGS["THUDM/chatglm3-6b"]
    assert set(kinds(chatglm)) == {"gqa 32/2 x 128"}
    assert set(kinds({**chatglm, "multi_query_attention": False})) == {"mha 32 x 128"}
    starcoder = {"model_type": "gpt_bigcode", "n_embd": 6144, "n_head": 48, "n_layer": 1}
    assert kinds({**starcoder, "multi_query": True}) == kinds(starcoder) == ["mqa 48/1 x 128"]
    assert kinds({**starcoder, "multi_query": False}) == ["mha 48 x 128"]


def test_head_dim_wins_over_hidden_size() -> None:
    assert set(kinds({**LLAMA, "head_dim": 80})) == {"gqa 32/8 x 80"}
    assert set(kinds({**LLAMA, "head_dim": None})) == {"gqa 32/8 x 128"}
    assert "4100 / 32 heads is no whole number" in refusal({**LLAMA, "hidden_size": 4100})


def test_no_kv_heads_are_as_many_as_heads() -> None:
    assert set(kinds({**LLAMA, "num_key_value_heads": None})) == {"mha 32 x 128"}
    assert "5 KV heads do not divide 32 heads" in refusal({**LLAMA, "num_key_value_heads": 5})


def test_nemotron_nas_tells_each_block_apart() -> None:
    blocks = [
        {"attention": {"n_heads_in_group": 8, "no_op": False, "replace_with_linear": False}},
        {"attention": {"n_heads_in_group": None, "no_op": True}},
        {"attention": {"n_heads_in_group": 4}},
    ]
    values = {**LLAMA, "model_type": "nemotron-nas", "num_hidden_layers": 3, "num_key_value_heads": None}
    assert kinds({**values, "block_configs": blocks}) == ["gqa 32/4 x 128", "no attention", "gqa 32/8 x 128"]
    assert "block_configs is not a list of 3" in refusal({**values, "block_configs": blocks[:2]})
    assert "block_configs is 5, no mapping" in refusal({**values, "block_configs": [5, 5, 5]})
    odd = [{"attention": {"n_heads_in_group": 5}}] * 3
    assert "n_heads_in_group is 5, of 32 heads" in refusal({**values, "block_configs": odd})


def test_hunyuan_shares_caches_only_with_use_cla() -> None:
    values = {**LLAMA, "model_type": "hunyuan", "num_hidden_layers": 4, "cla_share_factor": 2}
    assert kinds({**values, "use_cla": True}) == ["gqa 32/8 x 128", "shared"] * 2
    assert kinds({**values, "use_cla": False}) == ["gqa 32/8 x 128"] * 4


def test_gemma_3n_shares_its_last_layers() -> None:
    values = {"model_type": "gemma3n_text", "hidden_size": 2048, "num_hidden_layers": 10, "num_attention_heads": 8}
    found = kinds({**values, "num_kv_shared_layers": 3})
    assert (
        found
        == ["gqa 8/2 x 256, window 512"] * 4 + ["gqa 8/2 x 256"] + ["gqa 8/2 x 256, window 512"] * 2 + ["shared"] * 3
    )
    assert "num_kv_shared_layers is 15, of 10 layers" in refusal(values)
    assert "shared" not in kinds({**values, "num_kv_shared_layers": 0})


def test_step_takes_its_sliding_heads_from_the_other_setting() -> None:
    values = PUBLISHED["stepfun-ai/Step-3.7-Flash"]
    other = {"attention_type": "sliding_attention", "num_attention_heads": 96, "num_attention_groups": 8}
    found = kinds({**values, "attention_other_setting": {**other, "head_dim": 128}})
    assert found == kinds(values, attention_other_setting={**other, "head_dim": 128})
    assert found == [" ".join(each) for each in labels(load_model("step-3.7-flash"))]
    assert found == kinds({**values, "attention_other_setting": {**other, "head_dim": 128, "attention_type": None}})
    assert "not of the sliding layers" in refusal(
        {**values, "attention_other_setting": {**other, "attention_type": "full_attention"}}
    )


def test_openelm_has_lists() -> None:
    values = {"model_type": "openelm", "model_dim": 512, "num_transformer_layers": 2, "head_dim": 64}
    values |= {"num_query_heads": [12, 16], "num_kv_heads": [3, 16]}
    assert kinds(values) == ["gqa 12/3 x 64", "mha 16 x 64"]
    assert "have not 2 entries each" in refusal({**values, "num_kv_heads": [3]})
    assert "num_kv_heads is 3, not a list of whole numbers" in refusal({**values, "num_kv_heads": 3})


def test_hybrids_without_lists_follow_their_rules() -> None:
    lfm2 = {**LLAMA, "model_type": "lfm2", "num_hidden_layers": 3, "full_attn_idxs": [1]}
    assert [each.split()[0] for each in kinds(lfm2)] == ["short_conv", "gqa", "short_conv"]
    minimax = {**LLAMA, "model_type": "minimax_text_01", "attn_type_list": [0, 1], "head_dim": 128}
    assert [each.split()[0] for each in kinds(minimax)] == ["lightning", "gqa"]
    ling = {
        k: v for k, v in WRITTEN["inclusionAI/Ling-3.0-flash"].items() if k not in {"layer_types", "linear_head_dim"}
    }
    assert kinds({**ling, "head_dim": 128}) == [" ".join(each) for each in labels(load_model("ling-3.0-flash"))]
    letters = dict(PUBLISHED["nvidia/NVIDIA-Nemotron-3-Ultra-550B-A55B-BF16"])
    del letters["layers_block_type"]
    found = kinds({**letters, "hybrid_override_pattern": "M-*E"})
    assert [each.split()[0] for each in found] == ["mamba2", "no", "gqa", "no"]
    assert "other letters than" in refusal({**letters, "hybrid_override_pattern": "MX"})


def test_mamba_heads_may_be_auto() -> None:
    falcon = WRITTEN["tiiuae/Falcon-H1-34B-Instruct"]
    assert kinds({**falcon, "mamba_d_head": "auto"}) == kinds(falcon)
    assert "are not the inner width" in refusal({**falcon, "mamba_d_head": 64})


def test_an_encoder_decoder_is_refused() -> None:
    assert "is_encoder_decoder is true, which this family's" in refusal({**LLAMA, "is_encoder_decoder": True})


def test_a_nested_text_config_leaves_out_what_its_class_knows() -> None:
    llava = {"model_type": "llava", "text_config": {"model_type": "llama", "vocab_size": 32064}}
    assert kinds(llava) == ["mha 32 x 128"] * 32
    assert "it has no num_attention_heads" in refusal({"model_type": "llama", "vocab_size": 32064})
    pixtral = {"model_type": "mistral", "hidden_size": 5120, "head_dim": 128, "num_hidden_layers": 40}
    pixtral |= {"num_key_value_heads": 8, "sliding_window": None}
    assert set(kinds({"model_type": "llava", "text_config": pixtral})) == {"gqa 32/8 x 128"}


def test_flags_that_turn_a_mechanism_off() -> None:
    hunyuan = {**LLAMA, "model_type": "hunyuan_v1_moe", "use_mla": False, "kv_lora_rank": 512, "v_head_dim": 128}
    assert set(kinds({**hunyuan, "qk_rope_head_dim": 64})) == {"gqa 32/8 x 128"}
    assert "use_mla is true" in refusal({**hunyuan, "use_mla": True})
    v2 = CONFIGS["deepseek-ai/DeepSeek-V2-Lite"]
    v3 = CONFIGS["deepseek-ai/DeepSeek-V3"]
    assert "use_mla is False, and this family keeps latents" in refusal({**v3, "use_mla": False})
    heads = {
        **v2,
        "use_mla": False,
        "kv_lora_rank": None,
        "qk_nope_head_dim": 0,
        "qk_rope_head_dim": 0,
        "v_head_dim": 0,
    }
    assert set(kinds(heads)) == {"mha 16 x 128"}  # DeepSeek-VL2's smaller models
    assert kinds({**v2, "use_mla": True}) == kinds(v2)
    assert "it has no kv_lora_rank" in refusal({**v2, "kv_lora_rank": None})
    m2 = PUBLISHED["MiniMaxAI/MiniMax-M2.5"]
    assert kinds({**m2, "attn_type_list": [1] * 62}) == kinds(m2)
    assert "attn_type_list has layers that are not full" in refusal({**m2, "attn_type_list": [0] + [1] * 61})


def test_dots_slides_from_a_layer_on() -> None:
    values = {**LLAMA, "model_type": "dots1", "num_hidden_layers": 3, "max_window_layers": 1, "sliding_window": 4096}
    full, slides = "gqa 32/8 x 128", "gqa 32/8 x 128, window 4,096"
    assert kinds(values) == [full, slides, slides]
    assert kinds({**values, "sliding_window": None}) == [full] * 3
    listed = ["sliding_attention", "full_attention", "full_attention"]
    assert kinds({**values, "layer_types": listed}) == [slides, full, full]


def test_nothing_is_repeated_once() -> None:
    for hub_id, values in CONFIGS.items():
        if hub_id not in REFUSED:
            assert "repeat: 1\n" not in imported(values).text


def test_other_names_of_a_width_may_stand_beside_it() -> None:
    for other in ("kv_channels", "attention_head_dim"):
        assert set(kinds({**LLAMA, other: 128})) == {"gqa 32/8 x 128"}
        assert f"{other} is 64, which this family's" in refusal({**LLAMA, other: 64})


def test_a_window_that_is_null_slides_nowhere() -> None:
    for model_type in ("exaone4", "gemma2", "cohere2", "olmo3"):
        assert set(kinds({**LLAMA, "model_type": model_type, "head_dim": 128, "sliding_window": None})) == {
            "gqa 32/8 x 128"
        }


def test_keys_that_a_class_would_not_look_at_are_refused() -> None:
    opt = {**LLAMA, "model_type": "opt"}
    assert "num_key_value_heads is 8, and this family's class takes 32 whatever it says" in refusal(opt)
    assert set(kinds({**opt, "num_key_value_heads": 32, "head_dim": 128})) == {"mha 32 x 128"}
    assert "head_dim is 64, and" in refusal({**opt, "num_key_value_heads": None, "head_dim": 64})
    gemma2 = {**LLAMA, "model_type": "gemma2", "sliding_window_pattern": 3}
    assert "sliding_window_pattern is 3, which this family's layers do not have" in refusal(gemma2)
    gemma4 = dict(PUBLISHED["google/gemma-4-31B-it"]["text_config"])
    full = {**gemma4, "layer_types": ["full_attention"] * 60, "sliding_window_pattern": 6}
    assert set(kinds(full)) == {"gqa 32/4 x 512"}
    gemma4["layer_types"] = [*gemma4["layer_types"][:-1], "sliding_attention"]
    assert "the last of layer_types slides" in refusal(gemma4)


def test_qwen3_moe_slides_everywhere_or_nowhere() -> None:
    values = {**LLAMA, "model_type": "qwen3_moe", "sliding_window": 4096, "max_window_layers": 1}
    assert set(kinds({**values, "use_sliding_window": True})) == {"gqa 32/8 x 128, window 4,096"}
    assert set(kinds(values)) == {"gqa 32/8 x 128"}


def test_mimo_slides_over_its_window_and_the_last_token() -> None:
    values = PUBLISHED["XiaomiMiMo/MiMo-V2-Flash"]
    assert "gqa 64/8 x 192+128, window 129" in kinds(values)
    assert "gqa 64/8 x 192+128, window 128" in kinds({k: v for k, v in values.items() if k != "sliding_window_size"})
    assert "attention_chunk_size is 256, and sliding_window 128" in refusal({**values, "attention_chunk_size": 256})
    newer = {**values, "model_type": "mimo_v2", "vision_config": {"depth": 28}, "audio_config": {"channels": 20}}
    assert kinds(newer) == kinds(values)
    assert imported(newer).model.parameters is None
    own = {key: value for key, value in values.items() if key not in {"sliding_window", "attention_chunk_size"}}
    assert "gqa 64/8 x 192+128, window 33" in kinds({**own, "sliding_window_size": 32})


def test_assumptions_are_told() -> None:
    assert "assumed: head_dim = 64" in texts(imported(LLAMA, head_dim=64).notes)


def test_longcat_counts_layers_of_two_blocks() -> None:
    values = WRITTEN["meituan-longcat/LongCat-Flash-Chat"]
    assert imported(values).model.num_layers == 28
    assert "num_hidden_layers is 56 and num_layers is 28" in refusal({**values, "num_hidden_layers": 56})
    assert imported({**values, "num_hidden_layers": 56}, num_hidden_layers=28).model.num_layers == 28
    without = {key: value for key, value in values.items() if key != "num_layers"}
    assert "it has no num_layers" in refusal({**without, "num_hidden_layers": 56})


@pytest.mark.parametrize("part", ["text_config", "llm_config", "language_config"])
def test_a_text_model_s_part_has_several_names(part: str) -> None:
    vision = {"hidden_size": 1024, "num_attention_heads": 16, "num_hidden_layers": 24}
    values = {"model_type": "internvl_chat", part: LLAMA, "vision_config": vision, "torch_dtype": "bfloat16"}
    assert kinds(values) == ["gqa 32/8 x 128"] * 2
    found = imported(values)
    assert (found.model.parameters, found.model.modalities) == (None, ("text", "image"))
    assert "what vision_config describes is not known" in texts(found.notes)[0]
    assert f"{part} is no mapping" in refusal({**values, part: [1]})
    untyped = {key: value for key, value in LLAMA.items() if key != "model_type"}
    assert "the text model of 'internvl_chat' has no model_type" in refusal({**values, part: untyped})


def test_a_text_model_s_file_may_have_a_part_by_a_rarer_name() -> None:
    assert kinds({**LLAMA, "language_config": {"model_type": "gpt2"}}) == ["gqa 32/8 x 128"] * 2


def test_flat_files_of_models_that_see_and_of_their_own_code() -> None:
    flat = {**LLAMA, "query_num": 64}
    assert kinds({**flat, "model_type": "minicpmv"}) == ["gqa 32/8 x 128"] * 2
    assert kinds({**LLAMA, "model_type": "glm4v"}) == ["gqa 32/8 x 128"] * 2
    for code in ("molmo", "telechat"):
        assert kinds({**LLAMA, "model_type": code}) == ["gqa 32/8 x 128"] * 2
    assert kinds({"model_type": "llava_llama", "hidden_size": 2560, "llm_cfg": LLAMA}) == ["gqa 32/8 x 128"] * 2
    assert (
        kinds({"model_type": "vibevoice", "decoder_config": {**LLAMA, "model_type": "qwen2"}}) == ["gqa 32/8 x 128"] * 2
    )
    text = {**LLAMA, "model_type": "qwen3_asr_text"}
    thinker = {"model_type": "qwen3_asr_thinker", "audio_config": {}, "text_config": text}
    assert kinds({"model_type": "qwen3_asr", "thinker_config": thinker}) == ["gqa 32/8 x 128"] * 2


def test_ratios_beyond_the_layers_are_of_drafts() -> None:
    file = next(values for values in PUBLISHED.values() if values.get("model_type") == "deepseek_v4")
    longer = {**file, "compress_ratios": [*file["compress_ratios"], 0, 0]}
    assert kinds(longer) == kinds(file)
    assert "compress_ratios is a list of" in refusal({**file, "compress_ratios": [*file["compress_ratios"], 4]})


DOTS: dict[str, Any] = {
    "model_type": "dots3_note_text",
    "num_hidden_layers": 3,
    "num_attention_heads": 128,
    "hidden_size": 5120,
    "layer_types": ["full_attention", "sliding_attention", "full_attention"],
}
SLIDES = "mla 64 heads, 1024+64, window 512"
CHOOSES = "mla 128 heads, 512+64, index 128, top 2,048"


@pytest.mark.parametrize(
    ("keys", "first", "second"),
    [
        ({}, CHOOSES, SLIDES),  # transformers' class has other latents in layers with a window
        ({"swa_kv_lora_rank": 256, "swa_num_attention_heads": 32}, CHOOSES, "mla 32 heads, 256+64, window 512"),
        ({"swa_head_dim": 224, "sliding_window": 16}, CHOOSES, "mla 64 heads, 1024+32, window 16"),
        ({"use_dsa": False}, "mla 128 heads, 512+64", SLIDES),
        (
            {"per_layer_config": {"1": {"kv_lora_rank": 64}}},
            "mla 128 heads, 512+64",
            "mla 128 heads, 64+64, window 512",
        ),
    ],
)
def test_layers_of_dots_note_have_the_widths_of_their_kind(keys: dict[str, Any], first: str, second: str) -> None:
    assert kinds({**DOTS, **keys}) == [first, second, first]


@pytest.mark.parametrize(("stated", "window"), [({}, 64), ({"local_attention": 32}, 16), ({"sliding_window": 8}, 8)])
def test_a_window_of_modernbert_is_half_of_local_attention_or_what_the_file_states(
    stated: dict[str, int], window: int
) -> None:
    found = kinds({**LLAMA, "model_type": "modernbert-decoder", "num_key_value_heads": 32, **stated})
    assert found[1].endswith(f", window {window}")


def test_the_decoder_of_byt5_is_less_deep_than_its_encoder() -> None:
    byt5 = {"model_type": "t5", "d_model": 1536, "d_kv": 64, "num_heads": 12, "num_layers": 18, "num_decoder_layers": 6}
    assert kinds(byt5) == ["mha 12 x 64 cross 12/12 x 64, 512 tokens"] * 6
    assert len(kinds({**byt5, "num_decoder_layers": None})) == 18


def test_stacks_of_hrm_text_are_passed_several_times() -> None:
    legacy = {**LLAMA, "model_type": "hrm_text", "num_key_value_heads": 32, "num_hidden_layers": 3, "L_cycles": 2}
    assert kinds(legacy) == ["mha 32 x 128"] * 18
    assert kinds({**legacy, "num_layers_per_stack": 3, "num_hidden_layers": 18}) == ["mha 32 x 128"] * 18
    assert "6 passes of 3 layers are 18" in refusal({**legacy, "num_layers_per_stack": 3})
    assert "beyond the limit" in refusal({**legacy, "H_cycles": 10_000})


@pytest.mark.parametrize(
    ("model_type", "why"),
    [
        ("csm", "a speech model of two decoders"),
        ("colqwen2", "a retriever, which embeds whole texts and keeps no cache"),
        ("zaya", "made of attention that convolves its keys"),
        ("xlstm", "made of gated recurrences"),
        ("seamless_m4t", "an encoder and a decoder"),
    ],
)
def test_a_family_that_is_not_read_says_why(model_type: str, why: str) -> None:
    assert f"'{model_type}' is {why}" in refusal({**LLAMA, "model_type": model_type})
