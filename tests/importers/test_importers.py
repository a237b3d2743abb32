"""config.json: every published file right or refused, each trap of its own, and nothing but a refusal otherwise."""

from __future__ import annotations

import csv
import json
from typing import Any

import pytest
from conftest import DATA, texts
from hypothesis import given, settings
from hypothesis import strategies as st

from kvcalc import KvcalcError, load_model
from kvcalc.catalogue import model_names
from kvcalc.catalogue.validation import validated
from kvcalc.catalogue.yaml_reader import parse_yaml
from kvcalc.importers import ImportedModel, import_config
from kvcalc.importers.config_json import defaults
from kvcalc.importers.config_json.defaults import class_defaults
from kvcalc.importers.config_json.families import FAMILIES
from kvcalc.importers.config_json.wrappers import WRAPPERS
from kvcalc.model.model import Model

PUBLISHED: dict[str, dict[str, Any]] = json.loads((DATA / "configs.json").read_text(encoding="utf-8"))
"""As published, without keys that say nothing of shapes."""

WRITTEN: dict[str, dict[str, Any]] = json.loads((DATA / "configs_written.json").read_text(encoding="utf-8"))
"""As transformers 5.24.0's classes write a checkpoint of the catalogue's shape; five, which have no class, by hand."""

CONFIGS = {**PUBLISHED, **WRITTEN}
FACTS = {
    row["hub_id"]: row for row in csv.DictReader((DATA / "model_facts.csv").read_text(encoding="utf-8").splitlines())
}
CATALOGUE = {hub_id: name for name in model_names() for hub_id in load_model(name).hub_ids}
REFUSED = {
    "deepseek-ai/DeepSeek-V4-Pro": "'deepseek_v4' is a model with compressed key-value entries",
    "stepfun-ai/Step-3.7-Flash": "it has no attention_other_setting",
}


def imported(values: dict[str, Any], **assumed: Any) -> ImportedModel:
    return import_config(json.dumps(values), "config.json", "some-model", assumed)


def labels(model: Model) -> list[tuple[str, ...]]:
    return [tuple(each.label for each in layer) for layer in model.sequence()]


def kinds(values: dict[str, Any], **assumed: Any) -> list[str]:
    return [" ".join(each) for each in labels(imported(values, **assumed).model)]


def refusal(values: dict[str, Any], **assumed: Any) -> str:
    with pytest.raises(KvcalcError) as error:
        imported(values, **assumed)
    return str(error.value)


LLAMA = {
    "model_type": "llama",
    "hidden_size": 4096,
    "num_hidden_layers": 2,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "torch_dtype": "bfloat16",
}


@pytest.mark.parametrize("hub_id", CONFIGS)
def test_a_published_config_gives_the_layers_that_the_catalogue_has(hub_id: str) -> None:
    if hub_id in REFUSED:
        assert REFUSED[hub_id] in refusal(CONFIGS[hub_id])
        return
    assert labels(imported(CONFIGS[hub_id]).model) == labels(load_model(CATALOGUE[hub_id]))


@pytest.mark.parametrize("hub_id", [hub_id for hub_id in CONFIGS if hub_id in FACTS and hub_id not in REFUSED])
def test_a_published_config_adds_up_to_the_facts(hub_id: str) -> None:
    facts = {key: int(value) for key, value in FACTS[hub_id].items() if value.isdigit()}
    model = imported(CONFIGS[hub_id]).model
    whole = sliding = 0
    for layer in model.sequence():
        for each in layer:
            elements = each.attention.elements_per_token
            whole, sliding = (whole, sliding + elements) if each.span else (whole + elements, sliding)
    assert whole == facts["elements_per_token_full"] + facts["index_elements_per_token"]
    assert sliding == facts["elements_per_token_sliding"]
    assert len(model.sequence()) == facts["num_layers"]
    spans = {each.span.tokens for layer in model.sequence() for each in layer if each.span is not None}
    assert spans == ({facts.get("sliding_window", facts.get("chunk"))} - {None} if sliding else set())
    assert model.vocab_size == facts["vocab_size"]


@pytest.mark.parametrize("hub_id", [hub_id for hub_id in CONFIGS if hub_id not in REFUSED])
def test_what_an_import_writes_is_the_same_model_when_read_again(hub_id: str) -> None:
    found = imported(CONFIGS[hub_id])
    again = validated(Model, parse_yaml(found.text, "written.yaml"))
    assert labels(again) == labels(found.model)
    assert {key: getattr(again, key) for key, _ in found.fields} == {key: given.value for key, given in found.fields}
    for line in found.text.splitlines():
        assert (
            "#" in line
            or line.rstrip().endswith((":", "of:"))
            or "count: " in line
            or "repeat: " in line
            or "kind" in line
        )


def test_the_fixtures_are_all_there() -> None:
    assert (len(PUBLISHED), len(WRITTEN)) == (59, 81)
    assert {hub_id for hub_id in CONFIGS if hub_id not in CATALOGUE} == set(REFUSED) - set(CATALOGUE)
    assert {CATALOGUE[hub_id] for hub_id in CONFIGS if hub_id in CATALOGUE} == set(CATALOGUE.values())


FALCON = {"model_type": "falcon", "hidden_size": 4544, "num_hidden_layers": 1, "num_attention_heads": 71}


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


_ABSENT = [
    "num_key_value_heads",
    "head_dim",
    "sliding_window",
    "tie_word_embeddings",
    "q_lora_rank",
    "num_kv_shared_layers",
    "multi_query",
    "first_k_dense_replace",
    "n_shared_experts",
    "num_shared_experts",
]
"""Keys whose absence means something to a family, so that the class's default must be known."""

_UNUSED = {
    "deepseek_v3",
    "deepseek_v32",
    "glm_moe_dsa",
    "glm4_moe_lite",
    "mistral4",
    "youtu",
    "axk1",
    "longcat_flash",
    "kimi_linear",
    "step3p5",
}
"""Families to which head_dim and num_key_value_heads say nothing, or which ask for them."""


_CLASSES = {"qwen2_vl": "qwen2_vl_text", "qwen2_5_vl": "qwen2_5_vl_text"}
"""Flat files of these are read by another class."""

_NO_CLASS = {
    "baichuan",
    "bailing_moe",
    "chatglm",
    "deepseek",
    "hunyuan",
    "internlm2",
    "kimi_k2",
    "mimo",
    "minimax_m1",
    "minimax_text_01",
    "nemotron-nas",
    "openelm",
    "phi-msft",
    "step3_text",
    "step3p7_text",
}
"""Families whose code is published beside their checkpoints, not in transformers 5.24.0."""


@pytest.mark.parametrize("model_type", [each for each in FAMILIES if each not in _NO_CLASS])
@pytest.mark.torch
def test_what_an_absent_key_means_is_what_the_class_says(model_type: str) -> None:
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING  # noqa: PLC0415  # slow, and for this only

    config: Any = CONFIG_MAPPING[_CLASSES.get(model_type, model_type)]
    ours = class_defaults(model_type)
    for key in _ABSENT:
        theirs = getattr(config, key, None)
        if key == "first_k_dense_replace" and theirs is None and ours.get(key):
            theirs = config(num_hidden_layers=8).mlp_layer_types.index("sparse")
        if isinstance(theirs, property) or (model_type in _UNUSED and key in {"head_dim", "num_key_value_heads"}):
            continue
        assert (ours.get(key) or None) == (theirs or None), key


REFUSALS: dict[str, dict[str, Any]] = {
    "model_type 'lama' is not known; did you mean": {**LLAMA, "model_type": "lama"},
    "model_type 'zzz' is not known": {**LLAMA, "model_type": "zzz"},
    "it has no model_type": {k: v for k, v in LLAMA.items() if k != "model_type"},
    "the text_config of 'internvl' has no model_type": {"model_type": "internvl", "text_config": {}},
    "'flamingo' is a model_type that wraps a text_config, and is not known": {
        "model_type": "flamingo",
        "text_config": LLAMA,
    },
    "'glm5_next' is a model whose indexer pools keys": {**LLAMA, "model_type": "glm5_next"},
    "'whisper' is an encoder and a decoder": {**LLAMA, "model_type": "whisper"},
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
    "tie_word_embeddings is neither true nor false": {**LLAMA, "tie_word_embeddings": "yes"},
    "multi_query is 1, neither true nor false": {**FALCON, "multi_query": 1},
    "dtype is bfloat16 in text_config, and float16 around it": {
        "model_type": "gemma3",
        "dtype": "float16",
        "text_config": {**LLAMA, "model_type": "gemma3_text", "torch_dtype": None, "dtype": "bfloat16"},
    },
}


@pytest.mark.parametrize("message", REFUSALS)
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
        ("9" * 5000, "not JSON"),
        ("[" * 100_000, "nested more than 40 deep"),
        ('{"a":' + "[" * 60 + "]" * 60 + "}", "nested more than 40 deep"),
    ],
)
def test_what_is_no_config_is_refused(text: str, message: str) -> None:
    with pytest.raises(KvcalcError, match=message):
        import_config(text, "config.json", "x")


def test_two_names_of_a_dtype_must_agree() -> None:
    assert imported({**LLAMA, "torch_dtype": "bfloat16", "dtype": "bfloat16"}).model.dtype == "bf16"
    both = {**LLAMA, "torch_dtype": "float32", "dtype": "bfloat16"}
    assert 'torch_dtype is "float32" and dtype is "bfloat16"' in refusal(both)
    assert imported(both, dtype="bfloat16").model.dtype == "bf16"


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


def test_a_nested_text_config_leaves_out_what_its_class_knows() -> None:
    llava = {"model_type": "llava", "text_config": {"model_type": "llama", "vocab_size": 32064}}
    assert kinds(llava) == ["mha 32 x 128"] * 32
    assert "it has no num_attention_heads" in refusal({"model_type": "llama", "vocab_size": 32064})
    pixtral = {"model_type": "mistral", "hidden_size": 5120, "head_dim": 128, "num_hidden_layers": 40}
    pixtral |= {"num_key_value_heads": 8, "sliding_window": None}
    assert set(kinds({"model_type": "llava", "text_config": pixtral})) == {"gqa 32/8 x 128"}


@pytest.mark.parametrize("model_type", defaults.NESTED)
@pytest.mark.torch
def test_nested_sizes_are_the_class_s(model_type: str) -> None:
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING  # noqa: PLC0415  # slow, and for this only

    ours = class_defaults(model_type, nested=True)
    assert {key: ours[key] for key in defaults.SIZES} == {
        key: getattr(CONFIG_MAPPING[model_type], key) for key in defaults.SIZES
    }


def test_flags_that_turn_a_mechanism_off() -> None:
    hunyuan = {**LLAMA, "model_type": "hunyuan_v1_moe", "use_mla": False, "kv_lora_rank": 512, "v_head_dim": 128}
    assert set(kinds({**hunyuan, "qk_rope_head_dim": 64})) == {"gqa 32/8 x 128"}
    assert "use_mla is true" in refusal({**hunyuan, "use_mla": True})
    v2 = CONFIGS["deepseek-ai/DeepSeek-V2-Lite"]
    assert "use_mla is False, and this family keeps latents" in refusal({**v2, "use_mla": False})
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


_VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-2, 2),
    st.integers(10**5, 10**30),
    st.floats(),
    st.text(max_size=8),
    st.sampled_from(["full_attention", "sliding_attention", "float32", *FAMILIES]),
    st.lists(st.sampled_from(["full_attention", "linear_attention", 0, 1, None, "mamba", [], {}]), max_size=4),
    st.dictionaries(st.text(max_size=4), st.integers(), max_size=2),
)
_KEYS = sorted({key for values in CONFIGS.values() for key in (*values, *values.get("text_config", {}))})


@settings(max_examples=400, deadline=None)
@given(
    st.sampled_from(sorted(CONFIGS)),
    st.dictionaries(st.sampled_from(_KEYS), _VALUES, max_size=4),
    st.lists(st.sampled_from(_KEYS), max_size=4),
)
def test_a_config_with_anything_in_it_is_a_model_or_a_refusal(
    hub_id: str, changes: dict[str, Any], lost: list[str]
) -> None:
    outer = json.loads(json.dumps(CONFIGS[hub_id]))
    inner = outer.get("text_config", outer)
    inner.update(changes)
    for key in lost:
        inner.pop(key, None)
    try:
        found = imported(outer)
    except KvcalcError:
        return
    again = validated(Model, parse_yaml(found.text, "written.yaml"))
    assert labels(again) == labels(found.model)
    assert {key: getattr(again, key) for key, _ in found.fields} == {key: given.value for key, given in found.fields}


ELSEWHERE: dict[str, tuple[dict[str, Any], str]] = {
    "LoRA": ({"peft_type": "LORA", "r": 8, "base_model_name_or_path": "org/base"}, "the config.json of 'org/base'"),
    "LoRA of nothing": ({"peft_type": "LORA", "base_model_name_or_path": None}, "an adapter's file; its cache is"),
    "diffusers": ({"_class_name": "UNet2DConditionModel", "_diffusers_version": "0.8.0"}, "a diffusion pipeline"),
    "genai": ({"model": {"type": "gpt2", "decoder": {"head_size": 64}}}, "a file of onnxruntime-genai; name the"),
    "params.json": ({"dim": 4096, "n_layers": 32, "n_heads": 32, "n_kv_heads": 8}, "an original checkpoint's list"),
    "named params.json": (
        {"dim": 4096, "n_layers": 32, "n_heads": 32, "model_type": "arcee"},
        "in Hugging Face's format",
    ),
    "scales": ({"model_type": "llama", "kv_cache": {"dtype": "float8_e4m3fn"}}, "a list of scales for a cache in fp8"),
    "index": ({"metadata": {"total_size": 1}, "weight_map": {}}, "an index of safetensors files; name the config.json"),
    "tokenizer": ({"tokenizer_class": "LlamaTokenizer", "added_tokens_decoder": {}}, "a tokenizer's file; name the"),
    "class": (
        {**{k: v for k, v in LLAMA.items() if k != "model_type"}, "architectures": ["Qwen2ForCausalLM"]},
        "it has no model_type; --assume model_type=qwen2 reads it as Qwen2ForCausalLM",
    ),
    "flat wrapper": ({**LLAMA, "model_type": "llava"}, "--assume model_type=llama reads all of it as one"),
    "wrapper": (
        {"model_type": "flamingo", "text_config": LLAMA},
        "--assume model_type=llama takes its text_config for",
    ),
    "alike": ({**LLAMA, "model_type": "xverse"}, "--assume model_type=llama reads it as its like"),
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
    assert kinds(ELSEWHERE["alike"][0], model_type="llama") == plain
    assert kinds(ELSEWHERE["types"][0], layer_types=None) == plain
    assert kinds(ELSEWHERE["no heads"][0], num_attention_heads=32) == ["mha 32 x 128"] * 2
    assert kinds(ELSEWHERE["list"][0], num_hidden_layers=1) == plain[:1]
    assert kinds(ELSEWHERE["list"][0], layer_types=None) == plain


def test_a_text_model_that_was_renamed() -> None:
    text = {**LLAMA, "num_hidden_layers": 4, "sliding_window": 4096, "model_type": "exaone4_5_text"}
    found = kinds({"model_type": "exaone4_5", "text_config": text})
    assert (
        found == kinds({**text, "model_type": "exaone4"}) == ["gqa 32/8 x 128, window 4,096"] * 3 + ["gqa 32/8 x 128"]
    )


def test_a_text_config_may_go_by_its_wrapper_s_name() -> None:
    text = {"model_type": "gemma3n", "hidden_size": 2048, "num_hidden_layers": 5, "num_attention_heads": 8}
    text |= {"num_kv_shared_layers": 0}
    named = {**text, "model_type": "gemma3n_text"}
    found = kinds({"model_type": "gemma3n", "text_config": text})
    assert found == kinds({"model_type": "gemma3n", "text_config": named}) == kinds(named)


@pytest.mark.parametrize("wrapper", [each for each, text_type in WRAPPERS.items() if text_type and each != "maira2"])
@pytest.mark.torch
def test_a_wrapper_s_own_text_model_is_its_class_s(wrapper: str) -> None:
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING  # noqa: PLC0415  # slow, and for this only

    assert CONFIG_MAPPING[wrapper]().text_config.model_type == WRAPPERS[wrapper]
