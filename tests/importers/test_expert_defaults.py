"""Files that leave out what a family's class knows of experts: as the class has it, or not known, never dense."""

from __future__ import annotations

import json
import warnings
from typing import Any

import pytest
from built_classes import built_parameters, configuration_class

from kvcalc import KvcalcError
from kvcalc.importers import import_config
from kvcalc.importers.config_json import read as reader
from kvcalc.importers.config_json.expert_defaults import EXPERT_DEFAULTS
from kvcalc.importers.config_json.parameters.anatomies import ANATOMIES
from kvcalc.model.model import Model

NO_CLASS = {"bailing_moe", "dbrx", "deepseek", "deepseek_v41_text", "minimax_m1", "minimax_text_01"}
"""Families without a class in transformers, or one that cannot be built (DBRX's): they have no defaults here."""

COUNTED = [each for each in EXPERT_DEFAULTS if each in ANATOMIES and each not in NO_CLASS]

NUMBERS = ("num_local_experts", "n_routed_experts", "num_experts", "moe_num_experts")
PER_TOKEN = ("num_experts_per_tok", "moe_topk", "moe_k", "num_experts_per_token")
SHAPES: dict[str, dict[str, Any]] = {
    "deepseek_v2": {"num_experts_per_tok": 6, "n_group": 1, "topk_group": 1},
    "dots1": {"n_routed_experts": 8, "num_experts_per_tok": 2, "n_shared_experts": 2},
    **{name: {"head_dim": 128} for name in ("glm4_moe", "glm4v_moe_text", "qwen3_omni_moe_text")},
    "hunyuan_v1_moe": {"num_experts": 8, "moe_topk": 2, "head_dim": 128},
    "lfm2_moe": {"layer_types": ["conv", "full_attention", "conv", "conv"]},
    "kimi_linear": {
        "linear_attn_config": {
            "full_attn_layers": [4],
            "kda_layers": [1, 2, 3],
            "head_dim": 128,
            "num_heads": 32,
            "short_conv_kernel_size": 4,
        }
    },
    "mimo_v2_flash": {
        "hybrid_layer_pattern": [0, 1, 1, 1],
        "layer_types": None,
        "swa_num_attention_heads": 64,
        "swa_num_key_value_heads": 8,
        "swa_head_dim": 192,
        "swa_v_head_dim": 128,
        "add_swa_attention_sink_bias": True,
        "add_full_attention_sink_bias": False,
    },
    "qwen4_exp_text": {
        "indexer_n_heads": 4,
        "indexer_kv_heads": 1,
        "indexer_head_dim": 256,
        "indexer_budget": 2048,
        "indexer_compress_ratio": 4,
    },
}
"""What classes have no default for, or would not write."""


def shape_of(model_type: str) -> dict[str, Any]:
    own = SHAPES.get(model_type, {})
    config = configuration_class(model_type)(num_hidden_layers=4, **own)
    written = json.loads(config.to_json_string(use_diff=False))
    return {**written, **own, "model_type": model_type, "architectures": None, "dtype": "bfloat16"}


def built(values: dict[str, Any]) -> int | None:
    """Parameters of the class; None where it cannot be built."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch has one for layers without experts
        try:
            return built_parameters(values)
        except Exception:  # noqa: BLE001  # whatever classes raise where a key is missing
            return None


def imported(values: dict[str, Any]) -> Model | None:
    try:
        return import_config(json.dumps(values), "config.json", "some-model").model
    except KvcalcError:
        return None


@pytest.mark.parametrize("model_type", COUNTED)
@pytest.mark.torch
def test_an_absent_key_means_what_the_class_takes(model_type: str, monkeypatch: pytest.MonkeyPatch) -> None:
    read: set[str] = set()
    monkeypatch.setattr(reader, "refuse_unread_keys", lambda config, *_: read.update(config.read))
    values = shape_of(model_type)
    whole = imported(values)
    assert whole is not None
    assert whole.parameters == built(values)
    keys = sorted(read & set(values) - {"model_type", "architectures"})
    assert len(keys) >= 12
    for key in keys:
        without = {name: value for name, value in values.items() if name != key}
        found = imported(without)
        if found is not None and found.parameters is not None:
            assert built(without) in (None, found.parameters), key


@pytest.mark.parametrize("model_type", COUNTED)
@pytest.mark.torch
def test_a_number_of_experts_means_what_the_class_builds(model_type: str) -> None:
    values = shape_of(model_type)
    key = next(name for name in NUMBERS if values.get(name))
    for number in (None, 0, 1):
        changed: dict[str, Any] = {**values, **{name: 1 for name in PER_TOKEN if name in values}, key: number}
        found = imported(changed)
        assert found is not None
        assert found.parameters in (None, built(changed)), number
    assert imported({**values, key: None}).parameters is None  # type: ignore[union-attr]  # it is one


MIXTRAL = {
    "model_type": "mixtral",
    "hidden_size": 4096,
    "intermediate_size": 14336,
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "vocab_size": 32_000,
    "torch_dtype": "bfloat16",
}


def test_mixtral_without_its_number_of_experts_has_eight() -> None:
    found = import_config(json.dumps(MIXTRAL), "config.json", "some-model")
    assert (found.model.parameters, found.model.active_parameters) == (46_702_792_704, 12_879_925_248)  # 8x7B's
    assert (found.model.num_experts, found.model.num_experts_per_tok) == (8, 2)
    assert "num_experts: 8  # num_local_experts is absent: mixtral's default" in found.text


def test_a_dense_family_with_experts_is_not_counted() -> None:
    dense = {**MIXTRAL, "model_type": "llama"}
    assert imported(dense).parameters == 7_241_732_096  # type: ignore[union-attr]  # Mistral-7B's
    for key, value in (("num_experts", 8), ("n_experts", 8), ("moe_layers", [1, 3]), ("num_local_experts", 4)):
        assert imported({**dense, key: value}).parameters is None  # type: ignore[union-attr]  # it is one
    for key, none in (("num_experts", 0), ("num_experts", 1), ("num_experts_per_tok", None)):
        assert imported({**dense, key: none}).parameters == 7_241_732_096  # type: ignore[union-attr]  # it is one


def test_nemotron_h_of_dense_blocks_has_no_experts() -> None:
    """As Nemotron-H-8B: the class states 8 experts, which a pattern without E never builds."""
    values = {
        "model_type": "nemotron_h",
        "hidden_size": 4096,
        "mamba_num_heads": 128,
        "mamba_head_dim": 64,
        "ssm_state_size": 128,
        "num_attention_heads": 32,
    }
    dense, sparse = (
        import_config(json.dumps({**values, "hybrid_override_pattern": pattern}), "config.json", "nemotron-h").model
        for pattern in ("M-M*-", "MEM*E")
    )
    assert (dense.num_experts, dense.num_experts_per_tok) == (None, None)
    assert (sparse.num_experts, sparse.num_experts_per_tok) == (8, 2)
