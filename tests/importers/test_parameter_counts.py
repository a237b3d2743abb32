"""Parameters counted from config.json: equal to what building the models' classes counts, or not known."""

from __future__ import annotations

import csv
import json
from typing import Any

import pytest
from built_classes import built_parameters, configuration, configuration_class
from conftest import DATA
from each import for_each

from kvcalc import load_model
from kvcalc.catalogue import model_names
from kvcalc.importers import import_config
from kvcalc.importers.config_json.parameters.anatomies import ANATOMIES
from kvcalc.model.model import Model

CONFIGS: dict[str, dict[str, Any]] = {
    **json.loads((DATA / "configs.json").read_text(encoding="utf-8")),
    **json.loads((DATA / "configs_written.json").read_text(encoding="utf-8")),
}
FACTS = {
    # Of the text model: a flat config.json has no towers.
    row["hub_id"]: int(row["parameters"]) - int(row["tower_parameters"] or 0)
    for name in ("model_facts.csv", "compressed_facts.csv")
    for row in csv.DictReader((DATA / name).read_text(encoding="utf-8").splitlines())
    if row["parameters"]
}
LACKS_WIDTHS = {"inclusionAI/Ling-1T"}
FLAT = {
    hub_id: values for hub_id, values in CONFIGS.items() if "text_config" not in values and hub_id not in LACKS_WIDTHS
}
ONE_OF_EACH = {values["model_type"]: hub_id for hub_id, values in FLAT.items() if values["model_type"] in ANATOMIES}
CATALOGUE = {each: name for name in model_names() for each in load_model(name).hub_ids}
ELSEWHERE = {"bailing_moe", "deepseek", "deepseek_v41_text", "internlm", "mimo", "nemotron-nas", "qwen"}
NO_CLASS = {*ELSEWHERE, "baichuan", "chatglm", "dbrx", "internlm2", "phi-msft"}
"""Families that transformers 5.24.0 has no class for, or one that cannot be built (DBRX's): only their totals are
compared, of some in test_parameter_totals.py."""

DEFAULTS = {
    *("afmoe", "apertus", "arcee", "bamba", "codegen", "ernie4_5", "exaone", "exaone_moe", "falcon_mamba"),
    *("gemma3n_text", "gemma4_text", "glm", "glm4", "gpt_neox", "granitemoe", "helium", "hunyuan_v1_dense"),
    *("kimi_k2", "laguna", "llama4_text", "mamba2", "minimax_m1", "minimax_text_01", "ministral"),
    *("muse_glimmer_text", "nanochat", "olmo", "persimmon", "phi", "qwen2_moe", "qwen2_vl_text", "qwen2_5_vl_text"),
    *("apertus1p5_text", "aria_text", "biogpt", "cosmos3_edge_text", "cwm", "emu3_text_model", "flex_olmo", "flint"),
    *(
        "gemma4_unified_text",
        "glm5_next_text",
        "glm4v_moe_text",
        "glm4v_text",
        "glm_ocr_text",
        "gpt_neo",
        "granite4_vision_text",
    ),
    *("granite_docling_text", "granite_swa", "granitemoe_swa", "granitemoeshared", "hunyuan_vl_text", "hyperclovax"),
    *("iquestcoder", "jais2", "kolibri1", "mellum", "minicpm3", "paddleocr_vl_text", "qwen2_5_omni_text"),
    *("qwen3_omni_moe_text", "qwen4_exp_text", "sarvam_mla", "sarvam_moe", "xglm"),
    *("qwen3_vl_text", "qwen3_vl_moe_text", "qwen3_5_text", "qwen3_5_moe_text", "stablelm", "vaultgemma", "youtu"),
}
"""Families without such a file here: the class's own default shape is taken."""

SHAPES: dict[str, dict[str, Any]] = {
    "bamba": {"attn_layer_indices": [9, 18, 27]},
    "qwen4_exp_text": {
        "indexer_n_heads": 4,
        "indexer_kv_heads": 1,
        "indexer_head_dim": 256,
        "indexer_budget": 2048,
        "indexer_compress_ratio": 4,
    },
    **{key: {"head_dim": 128} for key in ("ministral", "hunyuan_v1_dense", "hunyuan_vl_text")},
    **{key: {"head_dim": 128} for key in ("qwen3_omni_moe_text", "glm4v_moe_text")},
}
"""What classes' default shapes lack."""

TIES_NOTHING = {"kimi_linear", "bailing_hybrid", "nemotron_h"}
"""Families whose class has an output head of its own, whatever is asked: a file that ties it is not counted."""


def imported(values: dict[str, Any]) -> Model:
    plain = {key: value for key, value in values.items() if key != "quantization_config"}
    return import_config(json.dumps(plain), "config.json", "some-model").model


def counted(values: dict[str, Any]) -> int | None:
    return imported(values).parameters


@for_each("hub_id", [hub_id for hub_id in FLAT if FLAT[hub_id]["model_type"] in ANATOMIES])
def test_a_count_is_the_published_one(hub_id: str) -> None:
    assert counted(CONFIGS[hub_id]) == FACTS[hub_id]
    catalogue = load_model(CATALOGUE[hub_id])
    if catalogue.active_parameters is not None:
        text = catalogue.active_parameters - (catalogue.tower_parameters or 0)
        assert imported(CONFIGS[hub_id]).active_parameters == text


def test_so_many_are_counted() -> None:
    assert sum(values["model_type"] in ANATOMIES for values in FLAT.values()) == 120
    assert set(ANATOMIES) - set(ONE_OF_EACH) == DEFAULTS | ELSEWHERE


@pytest.mark.parametrize(
    "hub_id", [hub_id for hub_id in CONFIGS if len(CONFIGS[hub_id].get("vision_config") or ()) == 1]
)
def test_towers_of_unknown_sizes_are_not_counted_so_nothing_is(hub_id: str) -> None:
    assert counted(CONFIGS[hub_id]) is None


UNCOUNTED = [
    ("facebook/opt-13b", {"word_embed_proj_dim": 512}),
    ("facebook/opt-13b", {"do_layer_norm_before": False}),
    ("mosaicml/mpt-7b", {"no_bias": False}),
    ("mosaicml/mpt-7b", {"expansion_ratio": 8}),
    ("mosaicml/mpt-7b", {"attn_config": {"qk_ln": True}}),
    ("mosaicml/mpt-7b", {"attn_config": {"alibi": False}}),
    ("THUDM/chatglm3-6b", {"add_bias_linear": True}),
    ("microsoft/phi-2", {"qk_layernorm": True}),
    ("internlm/internlm2_5-7b-chat", {"bias": True}),
    ("XiaomiMiMo/MiMo-V2-Flash", {"add_full_attention_sink_bias": True}),
    ("MiniMaxAI/MiniMax-M2.5", {"use_qk_norm": False}),
    ("meta-llama/Llama-2-7b-hf", {"vocab_size": None}),
    ("meituan-longcat/LongCat-Flash-Chat", {"router_bias": True}),
    ("databricks/dbrx-instruct", {"ffn_config": None}),
    ("meta-llama/Llama-2-7b-hf", {"output_vocab_size": 512}),
    ("meta-llama/Llama-2-7b-hf", {"hidden_act": "xielu"}),
    ("deepseek-ai/DeepSeek-V4-Pro", {"n_shared_experts": 2}),
]


@pytest.mark.parametrize(("hub_id", "change"), UNCOUNTED)
def test_what_changes_the_parameters_otherwise_is_not_counted(hub_id: str, change: dict[str, Any]) -> None:
    assert counted(CONFIGS[hub_id]) is not None
    assert counted({**CONFIGS[hub_id], **change}) is None


def test_falcon_11b_has_one_norm_for_attention_and_feed_forward() -> None:
    of_40b = CONFIGS["tiiuae/falcon-40b"]
    both = 2 * of_40b["hidden_size"] * of_40b["num_hidden_layers"]  # a norm has a bias
    for norms, difference in ((1, both), (2, 0), (None, 0)):
        assert counted({**of_40b, "num_ln_in_parallel_attn": norms}) == FACTS["tiiuae/falcon-40b"] - difference


def test_the_first_file_of_falcon_40b_has_a_norm_for_each_too() -> None:
    first = {"model_type": "RefinedWeb", "hidden_size": 8192, "n_head": 128, "n_head_kv": 8, "n_layer": 60}
    first |= {"parallel_attn": True, "bias": False, "alibi": False, "vocab_size": 65_024}
    assert counted(first) == FACTS["tiiuae/falcon-40b"] == (83_671_941_120 - 2 * 65_024 * 8192) // 2


def test_mpt_says_how_it_was_initialised() -> None:
    told = {
        "init_config": {"name": "kaiming_normal_", "init_std": 0.02},
        "attn_config": {"alibi": True, "qk_ln": False},
    }
    assert counted({**CONFIGS["mosaicml/mpt-7b"], **told}) == FACTS["mosaicml/mpt-7b"] == 6_649_286_656


def test_lfm2_has_other_names() -> None:
    values = {key: value for key, value in CONFIGS["LiquidAI/LFM2-1.2B"].items() if key != "intermediate_size"}
    assert counted({**values, "block_ff_dim": 12288}) == FACTS["LiquidAI/LFM2-1.2B"]
    del values["tie_word_embeddings"]
    assert counted({**values, "block_ff_dim": 12288, "tie_embedding": True}) == FACTS["LiquidAI/LFM2-1.2B"]


BIASES = ("attention_bias", "mlp_bias", "use_bias", "bias", "attention_out_bias", "enable_bias")
FLIPS: dict[str, dict[str, Any]] = {
    "tied or not": {"tie_word_embeddings": None},
    "with biases": dict.fromkeys(BIASES, True),
    "without biases": dict.fromkeys(
        ("attention_bias", "mlp_bias", "use_bias", "bias", "attention_out_bias", "enable_bias"), False
    ),
    "with other flags": {"use_qk_norm": True, "qkv_bias": False, "conv_bias": True, "mamba_conv_bias": False},
    "with other norms": {
        "qk_layernorm": None,
        "use_parallel_residual": None,
        "num_ln_in_parallel_attn": 1,
        "use_qkv_bias": True,
        "attention_k_eq_v": True,
        "num_kv_shared_layers": 3,
        "use_double_wide_mlp": True,
        "hidden_size_per_layer_input": 0,
        "gating": "per-element",
    },
    "with projections' biases": {"mamba_proj_bias": True, "projectors_bias": True, "use_conv_bias": False},
    "with more": {"num_key_value_heads": None, "lm_head_bias": True, "mamba_rms_norm": False, "parallel_attn": False},
    "in other widths": {"block_auto_adjust_ff_dim": False, "decoder_sparse_step": 2, "expert_layer_offset": 0},
}

TURNED = {"tie_word_embeddings", "qk_layernorm", "use_parallel_residual"}
"""Flags that are the other way round than the class has them."""


@pytest.mark.parametrize("model_type", [each for each in ANATOMIES if each not in NO_CLASS])
@pytest.mark.torch
def test_a_count_is_what_building_the_class_counts(model_type: str) -> None:
    """Once in all its layers; in other widths in a few, since building a class takes as long as it has layers."""
    whole, keys = shape_of(model_type), _keys(model_type)
    values = shallow(whole)
    config = configuration(values)
    for flip, changes in FLIPS.items():
        known = {key: value for key, value in changes.items() if key in keys}
        for key in TURNED & known.keys():
            known[key] = not getattr(config, key, False)
        if model_type in TIES_NOTHING and flip == "tied or not":
            assert counted({**values, **known}) is None
        elif known:
            assert_counted({**values, **known})
    assert_counted(whole)


FEW_LAYERS = 12


def shallow(values: dict[str, Any]) -> dict[str, Any]:
    """The same with its first layers alone, of a file that tells of layers by their number or by lists of them."""
    layers = values.get("num_hidden_layers")
    if not isinstance(layers, int) or layers <= FEW_LAYERS or values["model_type"] in NAMES_LAYERS:
        return values
    lists = {key: each[:FEW_LAYERS] for key, each in values.items() if isinstance(each, list) and len(each) == layers}
    return {**values, **lists, "num_hidden_layers": FEW_LAYERS}


NAMES_LAYERS = {"gemma3n_text", "gemma4_text", "gemma4_unified_text", "deepseek_v4", "kimi_linear"}
"""Families whose files name single layers by their number, or whose last layers are not as the first."""


def assert_counted(values: dict[str, Any]) -> None:
    assert counted(values) == built_parameters(values)


def shape_of(model_type: str) -> dict[str, Any]:
    if model_type in ONE_OF_EACH:
        return dict(FLAT[ONE_OF_EACH[model_type]])
    own = configuration_class(model_type)().to_dict()
    own = {key: value for key, value in own.items() if key != "dtype" and value is not None}
    return {**own, "model_type": model_type, **SHAPES.get(model_type, {})}


def _keys(model_type: str) -> set[str]:
    keys = set(configuration_class(model_type)().to_dict())
    return keys - ({"num_key_value_heads"} if model_type not in {"llama", "granite", "olmo2"} else set())
