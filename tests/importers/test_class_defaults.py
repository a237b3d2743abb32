"""Keys that a config.json leaves out mean what the model's class takes."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
import written_defaults
from test_round_trip import caches

from kvcalc import KvcalcError
from kvcalc.importers.config_json.defaults import class_defaults
from kvcalc.importers.config_json.families import FAMILIES
from kvcalc.importers.config_json.spellings import BERT

if TYPE_CHECKING:
    from collections.abc import Mapping


@pytest.mark.torch
def test_defaults_are_those_of_the_classes() -> None:
    kept = json.loads(written_defaults.PATH.read_text(encoding="utf-8"))
    assert kept == written_defaults.written(), "python tests/importers/written_defaults.py --write"


@pytest.mark.torch
def test_the_first_layers_are_dense_where_the_class_makes_them_so() -> None:
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING

    asked = [name for name in FAMILIES if class_defaults(name).get("first_k_dense_replace")]
    assert len(asked) > 8
    for name in asked:
        config: Any = CONFIG_MAPPING["deepseek_v3" if name == "kimi_k2" else name]
        if getattr(config, "first_k_dense_replace", None) is None:
            sparse = config(num_hidden_layers=8).mlp_layer_types.index("sparse")
            assert class_defaults(name)["first_k_dense_replace"] == sparse, name


def test_sizes_are_filled_in_within_a_text_config_only() -> None:
    flat: Mapping[str, Any] = class_defaults("llama")
    assert "hidden_size" not in flat
    assert class_defaults("llama", nested=True)["hidden_size"] == 4096
    assert class_defaults("whisper", nested=True)["num_hidden_layers"] == 4


SIZES = [
    "hidden_size",
    "num_hidden_layers",
    "num_attention_heads",
    "num_key_value_heads",
    "vocab_size",
    "d_model",
    "n_embd",
    "n_layer",
    "n_head",
    "d_ff",
    "d_kv",
    "decoder_layers",
    "decoder_attention_heads",
    "num_heads",
    "num_layers",
    "n_layers",
    "n_heads",
    "num_decoder_layers",
    "is_decoder",
    "head_dim",
    "num_decoder_attention_heads",
    "attention_heads",
    "embed_dim",
    "layers",
    "dim_ff",
    "attn_config",
    "layer_types",
    "layers_block_type",
]
"""What a published file has all the same."""

MORE: Mapping[str, Mapping[str, Any]] = {
    **{name: {"head_dim": 128} for name in ("glm4_moe", "glm4v_moe_text", "qwen3_omni_moe_text")},
    **{name: {"is_decoder": True} for name in BERT.split()},
    "bamba": {"attn_layer_indices": [2]},
    "lfm2_moe": {"layer_types": ["conv", "full_attention"] * 16},
    "qwen4_exp_text": {
        "indexer_n_heads": 4,
        "indexer_kv_heads": 1,
        "indexer_head_dim": 256,
        "indexer_budget": 2048,
        "indexer_compress_ratio": 4,
    },
    "mllama_text_model": {"cross_attention_layers": [1]},
}
"""What classes have no default for, or write as null."""


def written_by(name: str, values: Mapping[str, Any]) -> dict[str, Any]:
    """What the class writes of a file."""
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING

    written: dict[str, Any] = json.loads(CONFIG_MAPPING[name](**values).to_json_string(use_diff=False))
    return written


@pytest.mark.torch
def test_a_file_of_sizes_alone_keeps_what_the_class_keeps() -> None:
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING

    read = 0
    for name in FAMILIES:
        if name not in CONFIG_MAPPING or name == "mllama_text_model":
            continue
        own = dict(MORE.get(name, {}))
        default = written_by(name, own)
        sizes = {key: default[key] for key in SIZES if default.get(key) is not None} | own
        whole = {**written_by(name, sizes), **own}
        try:
            found = caches({"model_type": name, **sizes})
        except KvcalcError as error:
            assert "it has no" in str(error)  # noqa: PT017  # it says what is missing
            continue
        read += 1
        assert found == [tuple(each.replace(", state fp32", "") for each in layer) for layer in caches(whole)], name
    assert read > 200
