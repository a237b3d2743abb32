"""Parameters counted from config.json: equal to what building the models' classes counts, or not known."""

from __future__ import annotations

import csv
import json
from typing import Any

import pytest
from conftest import DATA

from kvcalc import load_model
from kvcalc.catalogue import model_names
from kvcalc.importers import import_config
from kvcalc.importers.config_json.parameters.anatomy import ANATOMIES
from kvcalc.model.model import Model

CONFIGS: dict[str, dict[str, Any]] = {
    **json.loads((DATA / "configs.json").read_text(encoding="utf-8")),
    **json.loads((DATA / "configs_written.json").read_text(encoding="utf-8")),
}
FACTS = {
    # Of the text model: a flat config.json has no towers.
    row["hub_id"]: int(row["parameters"]) - int(row["tower_parameters"] or 0)
    for row in csv.DictReader((DATA / "model_facts.csv").read_text(encoding="utf-8").splitlines())
    if row["parameters"]
}
FLAT = {hub_id: values for hub_id, values in CONFIGS.items() if "text_config" not in values}
ONE_OF_EACH = {values["model_type"]: hub_id for hub_id, values in FLAT.items() if values["model_type"] in ANATOMIES}
CATALOGUE = {each: name for name in model_names() for each in load_model(name).hub_ids}
NO_CLASS = {"chatglm", "internlm2", "phi-msft"}
"""Families that transformers 5.24.0 has no class for: only their totals are compared."""

DEFAULTS = {"arcee", "helium", "kimi_k2", "mamba2", "phi", "qwen2_moe", "qwen3_5_text", "qwen3_5_moe_text"}
"""Families without such a file here: the class's own default shape is taken."""


def imported(values: dict[str, Any]) -> Model:
    plain = {key: value for key, value in values.items() if key != "quantization_config"}
    return import_config(json.dumps(plain), "config.json", "some-model").model


def counted(values: dict[str, Any]) -> int | None:
    return imported(values).parameters


@pytest.mark.parametrize("hub_id", [hub_id for hub_id in FLAT if FLAT[hub_id]["model_type"] in ANATOMIES])
def test_a_count_is_the_published_one(hub_id: str) -> None:
    assert counted(CONFIGS[hub_id]) == FACTS[hub_id]
    catalogue = load_model(CATALOGUE[hub_id])
    if catalogue.active_parameters is not None:
        text = catalogue.active_parameters - (catalogue.tower_parameters or 0)
        assert imported(CONFIGS[hub_id]).active_parameters == text


def test_so_many_are_counted() -> None:
    assert sum(values["model_type"] in ANATOMIES for values in FLAT.values()) == 113
    assert set(ANATOMIES) - set(ONE_OF_EACH) == DEFAULTS


@pytest.mark.parametrize("hub_id", [hub_id for hub_id in CONFIGS if hub_id not in FLAT])
def test_towers_are_not_counted_so_nothing_is(hub_id: str) -> None:
    assert counted(CONFIGS[hub_id]) is None


UNCOUNTED = [
    ("facebook/opt-13b", {"word_embed_proj_dim": 512}),
    ("facebook/opt-13b", {"do_layer_norm_before": False}),
    ("tiiuae/falcon-40b", {"num_ln_in_parallel_attn": 1}),
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
]


@pytest.mark.parametrize(("hub_id", "change"), UNCOUNTED)
def test_what_changes_the_parameters_otherwise_is_not_counted(hub_id: str, change: dict[str, Any]) -> None:
    assert counted(CONFIGS[hub_id]) is not None
    assert counted({**CONFIGS[hub_id], **change}) is None


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
    "with projections' biases": {"mamba_proj_bias": True, "projectors_bias": True, "use_conv_bias": False},
    "with more": {"num_key_value_heads": None, "lm_head_bias": True, "mamba_rms_norm": False, "parallel_attn": False},
    "in other widths": {"block_auto_adjust_ff_dim": False, "decoder_sparse_step": 2, "expert_layer_offset": 0},
}


@pytest.mark.parametrize("model_type", [each for each in ANATOMIES if each not in NO_CLASS])
@pytest.mark.torch
def test_a_count_is_what_building_the_class_counts(model_type: str) -> None:
    values, keys = shape_of(model_type), _keys(model_type)
    tied = built(values).config.tie_word_embeddings
    for flip, changes in FLIPS.items():
        known = {key: value for key, value in changes.items() if key in keys}
        if "tie_word_embeddings" in known:
            known["tie_word_embeddings"] = not tied
        if known and (model_type, flip) != ("kimi_linear", "tied or not"):  # its class ties nothing, whatever is asked
            assert_counted({**values, **known})
    assert_counted(values)


def assert_counted(values: dict[str, Any]) -> None:
    assert counted(values) == sum(parameter.numel() for parameter in built(values).parameters())


def shape_of(model_type: str) -> dict[str, Any]:
    if model_type in ONE_OF_EACH:
        return dict(FLAT[ONE_OF_EACH[model_type]])
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING  # noqa: PLC0415  # slow to import

    own = CONFIG_MAPPING[_class_of(model_type)]().to_dict()
    return {key: value for key, value in own.items() if key != "dtype"} | {"model_type": model_type}


def _keys(model_type: str) -> set[str]:
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING  # noqa: PLC0415  # slow to import

    keys = set(CONFIG_MAPPING[_class_of(model_type)]().to_dict())
    return keys - ({"num_key_value_heads"} if model_type not in {"llama", "granite", "olmo2"} else set())


def _class_of(model_type: str) -> str:
    return {"kimi_k2": "deepseek_v3"}.get(model_type, model_type)


def built(values: dict[str, Any]) -> Any:
    import torch  # noqa: PLC0415  # slow to import
    from transformers import AutoModelForCausalLM  # noqa: PLC0415  # only here
    from transformers.initialization import no_init_weights  # noqa: PLC0415  # only here
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING  # noqa: PLC0415  # only here

    own = {k: v for k, v in values.items() if k not in {"model_type", "quantization_config", "torch_dtype", "dtype"}}
    with torch.device("meta"), no_init_weights():
        config = CONFIG_MAPPING[_class_of(values["model_type"])](**own)
        model = AutoModelForCausalLM.from_config(config)  # type: ignore[no-untyped-call]  # untyped there
        model.tie_weights()  # left out with the initial values
        return model
