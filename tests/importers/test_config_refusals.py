"""config.json: what is not understood is refused, with a step that works, and assumptions decide."""

from __future__ import annotations

import json
from typing import Any

import pytest
from config_files import FALCON, LLAMA, imported, kinds, refusal
from conftest import texts
from each import for_each

from kvcalc import KvcalcError
from kvcalc.catalogue.validation import validated
from kvcalc.catalogue.yaml_reader import parse_yaml
from kvcalc.importers import import_config
from kvcalc.model.model import Model

V41: dict[str, Any] = {
    **LLAMA,
    "model_type": "deepseek_v41_text",
    "head_dim": 64,
    "sliding_window": 16,
    "q_lora_rank": 32,
    "qk_rope_head_dim": 16,
    "index_head_dim": 16,
    "index_n_heads": 2,
    "index_topk": 4,
    "compress_ratios": [2, 2],
    "kv_source_layer_ids": [0],
    "index_source_layer_ids": [0],
}

REFUSALS: dict[str, dict[str, Any]] = {
    "model_type 'lama' is not known; did you mean": {**LLAMA, "model_type": "lama"},
    "model_type 'zzz' is not known": {**LLAMA, "model_type": "zzz"},
    "model_type 'llama_ref' is not known; --assume model_type=llama reads it as LlamaForCausalLM": {
        **LLAMA,
        "model_type": "llama_ref",
        "architectures": ["LlamaForCausalLM"],
    },
    "it has no model_type": {k: v for k, v in LLAMA.items() if k != "model_type"},
    "the text model of 'internvl' has no model_type": {"model_type": "internvl", "text_config": {}},
    "'flamingo' is a model_type that wraps a text_config, and is not known": {
        "model_type": "flamingo",
        "text_config": LLAMA,
    },
    "'step5' is a model whose indexer pools keys": {**LLAMA, "model_type": "step5"},
    "compress_ratios has 4, and DeepSeek-V4.1 knows ratios of 1 and 2": {**V41, "compress_ratios": [4, 0]},
    "kv_source_layer_ids has layers that index_source_layer_ids lacks": {**V41, "index_source_layer_ids": [1]},
    "layer 1 has compress_ratio 1, and no layer of kv_source_layer_ids is": {**V41, "compress_ratios": [2, 1]},
    "layer 0 is a source, and has compress_ratio 0": {**V41, "compress_ratios": [0, 0]},
    "compress_ratios has 2, and its class knows ratios of 4 and 128": {
        **LLAMA,
        "model_type": "deepseek_v4",
        "compress_ratios": [4, 2],
    },
    "compress_ratios is a list of 1, for 2 layers": {**LLAMA, "model_type": "deepseek_v4", "compress_ratios": [4]},
    "sparse_disable_index_value has layers whose indexer keeps values": {
        **LLAMA,
        "model_type": "minimax_m3",
        "sparse_attention_config": {"sparse_attention_freq": [0, 1], "sparse_disable_index_value": [1, 0]},
    },
    "it has no num_key_value_heads": {
        **{key: value for key, value in LLAMA.items() if key != "num_key_value_heads"},
        "model_type": "minimax_m3",
        "sparse_attention_config": {"sparse_attention_freq": [0, 1], "sparse_index_dim": 128},
        "index_n_heads": 4,
        "index_block_size": 128,
        "index_topk_blocks": 16,
    },
    "'t5gemma' is an encoder and a decoder": {**LLAMA, "model_type": "t5gemma"},
    "a file of onnxruntime-genai without the sizes": {"model": {"decoder": {"num_hidden_layers": 2, "inputs": 3}}},
    "num_hidden_layers is 2 and n_layer is 3": {**LLAMA, "n_layer": 3},
    "num_attention_heads is 32 and n_head is 16": {**LLAMA, "n_head": 16},
    "hidden_size is 4096 and d_model is 2048": {**LLAMA, "d_model": 2048},
    "text_config is no mapping": {**LLAMA, "text_config": 5},
    "it has no num_hidden_layers": {k: v for k, v in LLAMA.items() if k != "num_hidden_layers"},
    "20,000 layers are beyond the limit": {**LLAMA, "num_hidden_layers": 20000},
    "num_attention_heads is true": {**LLAMA, "num_attention_heads": True},
    "num_attention_heads is 32.5": {**LLAMA, "num_attention_heads": 32.5},
    "num_attention_heads is -32": {**LLAMA, "num_attention_heads": -32},
    "num_attention_heads is Infinity": {**LLAMA, "num_attention_heads": float("inf")},
    "head_dim is 0": {**LLAMA, "head_dim": 0},
    "head_dim is 10000000, not a whole number from 1 to 1,000,000": {**LLAMA, "head_dim": 10**7},
    "num_key_value_heads is [8]": {**LLAMA, "num_key_value_heads": [8]},
    "sliding_window is 4096, which this family's layers do not have": {**LLAMA, "sliding_window": 4096},
    "kv_lora_rank is 512, which this family's": {**LLAMA, "kv_lora_rank": 512},
    "num_kv_shared_layers is 3, which this": {**LLAMA, "num_kv_shared_layers": 3},
    "layer_types has 'linear_attention', which is not one of full_attention": {
        **LLAMA,
        "layer_types": ["full_attention", "linear_attention"],
    },
    "layer_types is a list of 1, for 2 layers": {**LLAMA, "layer_types": ["full_attention"]},
    "layer_types is 7, not a list of words": {**LLAMA, "layer_types": 7},
    "layer_types has 'local'": {**LLAMA, "model_type": "gemma2", "layer_types": ["local", "local"]},
    'torch_dtype is "int8", not one of float32': {**LLAMA, "torch_dtype": "int8"},
    "head_dim is 1, which is odd": {**LLAMA, "head_dim": 1},
    "head_dim is 3, which is odd": {**LLAMA, "hidden_size": 96},
    "qk_rope_head_dim is 1, which is odd": {
        **LLAMA,
        "model_type": "deepseek_v3",
        "kv_lora_rank": 16,
        "qk_rope_head_dim": 1,
        "qk_nope_head_dim": 8,
        "v_head_dim": 8,
    },
    "intermediate_size is an empty list": {**LLAMA, "intermediate_size": []},
    "max_position_embeddings is an empty list": {**LLAMA, "max_position_embeddings": []},
    "'unlimited_ocr' is made of windows that keep the whole prompt": {
        "model_type": "unlimited_ocr",
        "text_config": LLAMA,
    },
    "tie_word_embeddings is neither true nor false": {**LLAMA, "tie_word_embeddings": "yes"},
    "multi_query is 1, neither true nor false": {**FALCON, "multi_query": 1},
    "dtype is bfloat16 in text_config, and float16 around it": {
        "model_type": "gemma3",
        "dtype": "float16",
        "text_config": {**LLAMA, "model_type": "gemma3_text", "torch_dtype": None, "dtype": "bfloat16"},
    },
}


@for_each("message", REFUSALS)
def test_what_is_not_understood_is_refused(message: str) -> None:
    said = refusal(REFUSALS[message])
    assert message in said
    assert said.startswith("config.json: ")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "not JSON"),
        ("[1]", "expected keys and values"),
        ('{"model_type": "llama", "model_type": "qwen2"}', "key 'model_type' is given twice"),
        ('{"a": {"a": 1, "b": 2, "b": 3}}', "key 'b' is given twice"),
        ("9" * 5000, "not JSON: a number has thousands of digits"),
        (" \n", "not JSON: it is empty"),
        ("<!doctype html>", "not JSON: a web page"),
        ("version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "not JSON: a pointer of Git LFS; git lfs pull"),
        ("[" * 100_000, "nested more than 40 deep"),
        ('{"a":' + "[" * 60 + "]" * 60 + "}", "nested more than 40 deep"),
    ],
)
def test_what_is_no_config_is_refused(text: str, message: str) -> None:
    with pytest.raises(KvcalcError, match=message):
        import_config(text, "config.json", "x")


def test_odd_heads_that_are_not_rotated_are_read() -> None:
    plain = {"model_type": "gpt2", "n_embd": 2, "n_head": 2, "n_layer": 2}  # sshleifer/tiny-gpt2
    assert set(kinds(plain)) == {"mha 2 x 1"}
    assert set(kinds({**LLAMA, "model_type": "phi", "head_dim": 5, "partial_rotary_factor": 0.5})) == {"gqa 32/8 x 5"}


def test_two_names_of_a_dtype_must_agree() -> None:
    assert imported({**LLAMA, "torch_dtype": "bfloat16", "dtype": "bfloat16"}).model.dtype == "bf16"
    both = {**LLAMA, "torch_dtype": "float32", "dtype": "bfloat16"}
    assert 'torch_dtype is "float32" and dtype is "bfloat16"' in refusal(both)
    assert imported(both, dtype="bfloat16").model.dtype == "bf16"


@pytest.mark.parametrize(
    ("word", "meant"),
    [("torch.bfloat16", "bf16"), ("half", "fp16"), ("float", "fp32"), ("auto", None), ("torch.float16", "fp16")],
)
def test_words_for_a_dtype(word: str, meant: str | None) -> None:
    assert imported({**LLAMA, "torch_dtype": word}).model.dtype == meant


def test_a_word_that_models_do_not_compute_in_is_decided() -> None:
    strange = {**LLAMA, "torch_dtype": "float8_e4m3fn"}
    assert "--assume torch_dtype=bfloat16 decides it, or =null takes it as absent" in refusal(strange)
    assert imported(strange, torch_dtype="bfloat16").model.dtype == "bf16"
    assert imported(strange, torch_dtype=None).model.dtype is None


def test_infinity_is_read() -> None:
    values = {**LLAMA, "time_step_limit": [0.0, float("inf")]}
    assert "Infinity" in json.dumps(values)
    assert imported(values).model.num_layers == 2


def test_assumptions_decide() -> None:
    assert set(kinds({**LLAMA, "model_type": "unheard_of"}, model_type="llama")) == {"gqa 32/8 x 128"}
    assert set(kinds(LLAMA, head_dim=64)) == {"gqa 32/8 x 64"}
    assert set(kinds({**LLAMA, "sliding_window": 512}, sliding_window=None, model_type="mistral")) == {"gqa 32/8 x 128"}
    assert "head_dim: 64  # head_dim (assumed by --assume)" in imported(LLAMA, head_dim=64).text
    both = REFUSALS["dtype is bfloat16 in text_config, and float16 around it"]
    assert imported(both, dtype="bfloat16").model.dtype == "bf16"


def test_a_key_that_the_family_lacks_is_assumed_away() -> None:
    windowed = {**LLAMA, "sliding_window": 4096}
    assert "--assume sliding_window=null takes it as absent" in refusal(windowed)
    found = imported(windowed, sliding_window=None)
    assert {each.label for layer in found.model.sequence() for each in layer} == {"gqa 32/8 x 128"}
    assert texts(found.notes) == ("assumed: sliding_window = null",)
    assert "which this family's layers do not have" in refusal(windowed, sliding_window=0)
    assert "nothing of llama depends on it" in refusal(LLAMA, no_such_key=None)


def test_an_assumption_that_nothing_reads_is_refused() -> None:
    assert "--assume head_dimm: nothing of llama depends on it; did you mean 'head_dim'" in refusal(LLAMA, head_dimm=64)
    assert 'num_attention_heads is "many"' in refusal(LLAMA, num_attention_heads="many")


def test_a_quantised_checkpoint_says_so_in_notes() -> None:
    values = {**LLAMA, "quantization_config": {"quant_method": "fp8", "kv_cache_scheme": {"num_bits": 8}}}
    notes = texts(imported(values).notes)
    assert any("quantised (fp8)" in note for note in notes)
    assert "the checkpoint asks for a cache in fp8: --cache-dtype fp8" in notes
    values["quantization_config"] = {"quant_method": "evil\n\x1b[31m", "kv_cache_quant_algo": "NVFP4"}
    said = "".join(texts(imported(values).notes))
    assert "a method without a name" in said
    assert "a format of its own" in said


def test_names_that_yaml_would_take_for_something_else_are_quoted() -> None:
    for name in ("1.5", "true", "null", "~", "a: b", "#x", "Ünïcode/../x", ""):
        found = import_config(json.dumps(LLAMA), "config.json", name)
        assert validated(Model, parse_yaml(found.text, "written.yaml")).name == found.model.name


ELSEWHERE: dict[str, tuple[dict[str, Any], str]] = {
    "LoRA": (
        {"peft_type": "LORA", "r": 8, "base_model_name_or_path": "org/base"},
        "an adapter of 'org/base'",
    ),
    "LoRA of nothing": (
        {"peft_type": "LORA", "base_model_name_or_path": None},
        "an adapter of a model that",
    ),
    "diffusers": ({"_class_name": "UNet2DConditionModel", "_diffusers_version": "0.8.0"}, "a diffusion pipeline"),
    "genai": (
        {"model": {"type": "gpt2", "decoder": {"head_size": 64}}},
        "onnxruntime-genai without the sizes",
    ),
    "mamba's params.json": (
        {"dim": 4096, "n_layers": 64, "n_heads": 32, "model_type": "mamba"},
        "an original checkpoint's list of sizes; name the config.json of the same model in Hugging Face's format",
    ),
    "scales": ({"model_type": "llama", "kv_cache": {"dtype": "float8_e4m3fn"}}, "a list of scales for a cache in fp8"),
    "index": ({"metadata": {"total_size": 1}, "weight_map": {}}, "an index of safetensors files; name the config.json"),
    "tokenizer": ({"tokenizer_class": "LlamaTokenizer", "added_tokens_decoder": {}}, "a tokenizer's file; name the"),
    "class": (
        {**{k: v for k, v in LLAMA.items() if k != "model_type"}, "architectures": ["Qwen2ForCausalLM"]},
        "it has no model_type; --assume model_type=qwen2 reads it as Qwen2ForCausalLM",
    ),
    "flat wrapper": ({**LLAMA, "model_type": "idefics3"}, "--assume model_type=llama reads all of it as one"),
    "wrapper": (
        {"model_type": "flamingo", "text_config": LLAMA},
        "--assume model_type=llama takes its text_config for",
    ),
    "types": ({**LLAMA, "layer_types": ["conv"] * 2}, "--assume layer_types=null takes it as absent"),
    "unknown": ({**LLAMA, "model_type": "unheard_of"}, "--assume model_type=NAME reads it as a family"),
    "no heads": ({k: v for k, v in LLAMA.items() if "heads" not in k}, "--assume num_attention_heads=VALUE decides it"),
    "list": ({**LLAMA, "layer_types": ["full_attention"]}, "--assume num_hidden_layers=1 takes the list's"),
    "linear": ({"model_type": "gla", "hidden_size": 1024}, "of flash-linear-attention"),
}


@pytest.mark.parametrize("case", ELSEWHERE)
def test_a_refusal_names_a_step_that_works(case: str) -> None:
    values, said = ELSEWHERE[case]
    assert said in refusal(values)


def test_the_steps_that_refusals_name_do_work() -> None:
    plain = ["gqa 32/8 x 128"] * 2
    assert kinds(ELSEWHERE["class"][0], model_type="qwen2") == plain
    assert kinds(ELSEWHERE["flat wrapper"][0], model_type="llama") == plain
    assert kinds(ELSEWHERE["wrapper"][0], model_type="llama") == plain
    assert kinds(ELSEWHERE["types"][0], layer_types=None) == plain
    assert kinds(ELSEWHERE["no heads"][0], num_attention_heads=32) == ["mha 32 x 128"] * 2
    assert kinds(ELSEWHERE["list"][0], num_hidden_layers=1) == plain[:1]
    assert kinds(ELSEWHERE["list"][0], layer_types=None) == plain


def test_kinds_that_are_no_words_are_not_read_as_dense_layers() -> None:
    moe = {**LLAMA, "model_type": "glm4_moe", "n_routed_experts": 8, "num_experts_per_tok": 2}
    moe |= {"moe_intermediate_size": 64, "mlp_layer_types": [{}, ["sparse"]]}
    assert imported(moe).model.first_k_dense is None
